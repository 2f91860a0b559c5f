// The vocabulary of a GGUF file, with what llama.cpp adds to it when it loads one
// (llama-vocab.cpp): defaults that files leave out because of it, and repairs of what old
// converters wrote.
#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "model/quoted.h"
#include "model/vocabulary_reader.h"

namespace mlxd {
namespace {

enum TokenType : std::int32_t { kNormal = 1, kUnknown, kControl, kUserDefined };

// The pre-tokenisers of byte-pair models that begin a text with BOS unless their file denies it,
// and those that do whatever it says (the first files of Gemma 4 deny it wrongly).
constexpr std::array<std::string_view, 11> kBeginWithBos = {
    "llama3",   "llama-v3", "llama-bpe",    "falcon3", "falcon-h1", "pixtral",
    "midm-2.0", "lfm2",     "jina-v5-nano", "tekken",  "chameleon"};
constexpr std::array<std::string_view, 2> kAlwaysBeginWithBos = {"gemma4",
                                                                 "granite-embed-multi-311m"};

// Texts that end a generation wherever a vocabulary has them.
constexpr std::array<std::string_view, 22> kEndTexts = {"<|eot_id|>",
                                                        "<|im_end|>",
                                                        "<|end|>",
                                                        "<|return|>",
                                                        "<|call|>",
                                                        "<|flush|>",
                                                        "<|calls|>",
                                                        "<end_of_turn>",
                                                        "<|endoftext|>",
                                                        "</s>",
                                                        "<|eom_id|>",
                                                        "<EOT>",
                                                        "_<EOT>",
                                                        "[EOT]",
                                                        "[EOS]",
                                                        "<|end_of_text|>",
                                                        "<end_of_utterance>",
                                                        "<eos>",
                                                        "<turn|>",
                                                        "<|tool_response>",
                                                        "[e~[",
                                                        "<｜end▁of▁sentence｜>"};

// The tokens of fill-in-the-middle: a key that may name one, the texts that it has otherwise, and
// whether it ends a generation (what comes after it is another file).
struct FillToken {
  const char* key;
  std::array<std::string_view, 8> texts;
  bool ends;
};
constexpr std::array<FillToken, 6> kFillTokens = {{
    {"tokenizer.ggml.fim_pre_token_id",
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
      "<|code_prefix|>", "<|prefix|>"},
     false},
    {"tokenizer.ggml.fim_suf_token_id",
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
      "<|code_suffix|>", "<|suffix|>"},
     false},
    {"tokenizer.ggml.fim_mid_token_id",
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
      "<|code_middle|>", "<|middle|>"},
     false},
    {"tokenizer.ggml.fim_pad_token_id",
     {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"},
     true},
    {"tokenizer.ggml.fim_rep_token_id",
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"},
     true},
    {"tokenizer.ggml.fim_sep_token_id", {"<|file_sep|>"}, true},
}};

template <class Texts>
bool contains(const Texts& texts, std::string_view text) {
  return !text.empty() && std::find(texts.begin(), texts.end(), text) != texts.end();
}

int token_id(const GgufFile& file, std::string_view key, const Vocabulary& vocabulary,
             int otherwise = -1) {
  const auto last = static_cast<std::int64_t>(vocabulary.tokens.size()) - 1;
  const auto stated = file.integer(key, 0, last);
  if (stated) return static_cast<int>(*stated);
  return otherwise <= last ? otherwise : -1;
}

template <class T>
void check_size(const GgufFile& file, const char* key, const std::vector<T>& values,
                const Vocabulary& vocabulary) {
  if (values.size() != vocabulary.tokens.size()) {
    file.fail(in_quotes(key),
              fmt::format("has {} entries for {} tokens", values.size(), vocabulary.tokens.size()));
  }
}

// Ids by text; the last of a text that comes twice. Views the vocabulary's tokens.
class TokenIndex {
 public:
  explicit TokenIndex(const Vocabulary& vocabulary) {
    ids_.reserve(vocabulary.tokens.size());
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
      ids_[vocabulary.tokens[id]] = static_cast<int>(id);
    }
  }
  // -1: none.
  int find(std::string_view text) const {
    const auto found = text.empty() ? ids_.end() : ids_.find(text);
    return found == ids_.end() ? -1 : found->second;
  }
  bool has(std::string_view text) const { return find(text) >= 0; }

 private:
  std::unordered_map<std::string_view, int> ids_;
};

bool is_byte_pair(const Vocabulary& vocabulary) {
  return vocabulary.model == "gpt2" || vocabulary.model == "gemma4";
}

void read_arrays(const GgufFile& file, Vocabulary& vocabulary) {
  const auto tokens = file.strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty()) file.fail("\"tokenizer.ggml.tokens\"", "is missing or empty");
  vocabulary.tokens.assign(tokens->begin(), tokens->end());
  if (auto scores = file.numbers("tokenizer.ggml.scores")) {
    check_size(file, "tokenizer.ggml.scores", *scores, vocabulary);
    vocabulary.scores = *std::move(scores);
  }
  vocabulary.types.assign(vocabulary.tokens.size(), kNormal);
  if (const auto types = file.integers("tokenizer.ggml.token_type", 0, 6)) {
    check_size(file, "tokenizer.ggml.token_type", *types, vocabulary);
    vocabulary.types.assign(types->begin(), types->end());
  }
  const auto merges = file.strings("tokenizer.ggml.merges");
  if (merges) vocabulary.merges.assign(merges->begin(), merges->end());
  if (!merges && is_byte_pair(vocabulary)) {
    file.fail("\"tokenizer.ggml.merges\"",
              "is missing; without its merges a byte-pair vocabulary cuts every text into single "
              "characters. Convert the model again");
  }
}

// Its Unigram is XLM-R's: <s> and </s> go around a text unless the file denies it.
void read_unigram(const GgufFile& file, Vocabulary& vocabulary) {
  for (const auto byte : file.integers("tokenizer.ggml.precompiled_charsmap", -128, 255)
                             .value_or(std::vector<std::int64_t>{})) {
    vocabulary.charsmap.push_back(static_cast<char>(byte));
  }
  vocabulary.add_bos = file.boolean("tokenizer.ggml.add_bos_token").value_or(true);
  vocabulary.add_eos = file.boolean("tokenizer.ggml.add_eos_token").value_or(true);
  if (vocabulary.bos < 0)
    vocabulary.bos = token_id(file, "tokenizer.ggml.cls_token_id", vocabulary);
  if (vocabulary.eos < 0) {
    vocabulary.eos = token_id(file, "tokenizer.ggml.seperator_token_id", vocabulary);
  }
  if (vocabulary.unknown >= 0) {
    vocabulary.types[static_cast<std::size_t>(vocabulary.unknown)] = kUnknown;
  }
}

// [CLS] and [SEP] go around a text. Files give them under these names, under those of BOS and EOS,
// or leave out BERT's own.
void read_bert_ids(const GgufFile& file, Vocabulary& vocabulary) {
  vocabulary.add_bos = vocabulary.add_eos = true;
  vocabulary.bos = token_id(file, "tokenizer.ggml.cls_token_id", vocabulary,
                            vocabulary.bos >= 0 ? vocabulary.bos : 101);
  vocabulary.eos = token_id(file, "tokenizer.ggml.seperator_token_id", vocabulary,
                            vocabulary.eos >= 0 ? vocabulary.eos : 102);
}

// The ids that end a generation. A token that ends one, or that belongs to fill-in-the-middle, is a
// control token whatever type it was written with.
void read_ends(const GgufFile& file, const TokenIndex& index, Vocabulary& vocabulary) {
  const auto make_control = [&](int id) {
    vocabulary.types[static_cast<std::size_t>(id)] = kControl;
  };
  add_stop_id(vocabulary, vocabulary.eos);
  add_stop_id(vocabulary, token_id(file, "tokenizer.ggml.eot_token_id", vocabulary));
  add_stop_id(vocabulary, token_id(file, "tokenizer.ggml.eom_token_id", vocabulary));
  for (const FillToken& token : kFillTokens) {
    int id = token_id(file, token.key, vocabulary);
    for (const std::string_view text : token.texts) {
      if (id >= 0) break;
      id = index.find(text);
      if (id >= 0) make_control(id);
    }
    if (token.ends) add_stop_id(vocabulary, id);
  }
  // gpt-oss and Solar end a message with <|end|>, and a turn with others.
  const bool calls = index.has("<|call|>") || index.has("<|calls|>");
  const bool end_is_of_messages = calls && (index.has("<|return|>") || index.has("<|flush|>"));
  // Where a vocabulary ends its texts with another token, "</s>" is a piece of HTML (Gemma, Qwen).
  // llama.cpp knows that of Gemma 4 and PLaMo alone.
  const int s = index.find("</s>");
  const bool s_is_text = s >= 0 && vocabulary.eos >= 0 && vocabulary.eos != s &&
                         vocabulary.types[static_cast<std::size_t>(s)] != kControl;
  for (const std::string_view text : kEndTexts) {
    const int id = index.find(text);
    if (id < 0 || (text == "</s>" && s_is_text)) continue;
    make_control(id);
    if (text != "<|end|>" || !end_is_of_messages) add_stop_id(vocabulary, id);
  }
}

// Which tokens take white space with them is in no key: llama.cpp goes by the model.
void read_strips(const GgufFile& file, const TokenIndex& index, Vocabulary& vocabulary) {
  std::string name(file.string("general.name").value_or(""));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto has = [](std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
  };
  const auto strip_before = [&](std::string_view mask) {
    const int id = index.find(mask);
    if (id >= 0) vocabulary.left_stripped.push_back(static_cast<std::uint32_t>(id));
  };
  const std::string& pre = vocabulary.pre_tokenizer;
  if (pre == "jina-v2-de" || pre == "jina-v2-es" || pre == "jina-v2-code") {
    strip_before("<mask>");
  } else if (has(name, "phi-3") || has(name, "phi3")) {
    constexpr std::array<std::string_view, 3> kKeep = {"<unk>", "<s>", "<|endoftext|>"};
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
      const std::int32_t type = vocabulary.types[id];
      const bool added = type == kControl || type == kUserDefined || type == kUnknown;
      if (added && !contains(kKeep, vocabulary.tokens[id])) {
        vocabulary.right_stripped.push_back(static_cast<std::uint32_t>(id));
      }
    }
  } else if (has(name, "modern-bert")) {
    strip_before("[MASK]");
  }
}

}  // namespace

Vocabulary read_gguf_vocabulary(const GgufFile& file) {
  Vocabulary vocabulary;
  vocabulary.source = file.name();
  const auto model = file.string("tokenizer.ggml.model");
  if (!model) file.fail("\"tokenizer.ggml.model\"", "is missing");
  vocabulary.model = *model;
  // This model's own pre-tokeniser, whatever the file calls it.
  vocabulary.pre_tokenizer =
      vocabulary.model == "gemma4" ? "gemma4" : file.string("tokenizer.ggml.pre").value_or("");
  read_arrays(file, vocabulary);

  const bool sentence_piece = vocabulary.model == "llama";
  const bool begins_with_bos = sentence_piece || contains(kBeginWithBos, vocabulary.pre_tokenizer);
  vocabulary.add_space_prefix =
      file.boolean("tokenizer.ggml.add_space_prefix").value_or(sentence_piece);
  vocabulary.add_bos = file.boolean("tokenizer.ggml.add_bos_token").value_or(begins_with_bos);
  if (contains(kAlwaysBeginWithBos, vocabulary.pre_tokenizer)) vocabulary.add_bos = true;
  vocabulary.add_eos = file.boolean("tokenizer.ggml.add_eos_token").value_or(false);

  // Llama's own ids are SentencePiece's defaults. (llama.cpp's 11 for byte-level vocabularies is
  // Falcon's and would be a comma of the others.)
  const auto id_of = [&](const char* key, int llama) {
    return token_id(file, key, vocabulary, sentence_piece ? llama : -1);
  };
  vocabulary.bos = id_of("tokenizer.ggml.bos_token_id", 1);
  vocabulary.eos = id_of("tokenizer.ggml.eos_token_id", 2);
  vocabulary.unknown = id_of("tokenizer.ggml.unknown_token_id", 0);
  if (vocabulary.model == "bert") read_bert_ids(file, vocabulary);
  if (vocabulary.model == "t5") read_unigram(file, vocabulary);
  const TokenIndex index(vocabulary);
  read_ends(file, index, vocabulary);
  read_strips(file, index, vocabulary);

  const auto name_token = [&](const char* name, int id) {
    if (id >= 0) vocabulary.special_tokens[name] = vocabulary.tokens[static_cast<std::size_t>(id)];
  };
  name_token("bos_token", vocabulary.bos);
  name_token("eos_token", vocabulary.eos);
  name_token("unk_token", vocabulary.unknown);
  name_token("pad_token", id_of("tokenizer.ggml.padding_token_id", -1));
  name_token("sep_token", id_of("tokenizer.ggml.seperator_token_id", -1));
  name_token("cls_token", id_of("tokenizer.ggml.cls_token_id", -1));
  name_token("mask_token", id_of("tokenizer.ggml.mask_token_id", -1));
  vocabulary.bos_token = vocabulary.special_tokens["bos_token"];
  vocabulary.eos_token = vocabulary.special_tokens["eos_token"];
  vocabulary.chat_template = file.string("tokenizer.chat_template").value_or("");
  vocabulary.tool_use_template = file.string("tokenizer.chat_template.tool_use").value_or("");
  return vocabulary;
}

}  // namespace mlxd
