#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/utf8.h"
#include "text/textkit_string.h"

namespace mlxd {
namespace {

struct FreeTokenizer {
  void operator()(textkit_tokenizer* tokenizer) const { textkit_tokenizer_free(tokenizer); }
};
using TextkitTokenizer = std::unique_ptr<textkit_tokenizer, FreeTokenizer>;

Error unreadable(std::string_view param, const std::string& why) {
  return {.code = "invalid_text",
          .param = std::string(param),
          .message = fmt::format("The text cannot be tokenised: {}.", why)};
}

std::vector<textkit_range> ranges_of(std::span<const ByteRange> client) {
  std::vector<textkit_range> ranges;
  ranges.reserve(client.size());
  for (const ByteRange& range : client) ranges.push_back({range.begin, range.end});
  return ranges;
}

class LoadedTokenizer final : public Tokenizer {
 public:
  explicit LoadedTokenizer(TextkitTokenizer tokenizer)
      : tokenizer_(std::move(tokenizer)), joining_(textkit_joining(tokenizer_.get())) {}

  Result<std::vector<int>> encode_marked(std::string_view text, std::span<const ByteRange> client,
                                         bool add_special, bool parse_special) const override {
    const std::vector<textkit_range> ranges = ranges_of(client);
    textkit_ids ids{};
    TextkitText error;
    if (!textkit_encode(tokenizer_.get(), view_of(text), add_special, parse_special, ranges.data(),
                        ranges.size(), &ids, error.out())) {
      return unreadable("", error.str());
    }
    std::vector<int> tokens(ids.data, ids.data + ids.size);
    textkit_ids_free(ids);
    return tokens;
  }

  Result<void> continue_chat(const RenderedChat& chat, std::size_t from, std::vector<int>& tokens,
                             std::vector<ChatBorder>& borders) const override {
    const std::vector<textkit_range> ranges = ranges_of(chat.client);
    textkit_ids ids{};
    textkit_borders found{};
    TextkitText error;
    if (!textkit_encode_chat(tokenizer_.get(), view_of(chat.text), from, ranges.data(),
                             ranges.size(), &ids, &found, error.out())) {
      return unreadable("", error.str());
    }
    const std::size_t before = tokens.size();
    tokens.insert(tokens.end(), ids.data, ids.data + ids.size);
    textkit_ids_free(ids);
    for (const textkit_border& border : std::span(found.data, found.size)) {
      borders.push_back({border.at, border.settled, before + border.tokens});
    }
    textkit_borders_free(found);
    return {};
  }

  std::string_view token_bytes(int id, bool show_special) const override {
    if (id < 0) return {};
    const textkit_view bytes =
        textkit_token_bytes(tokenizer_.get(), static_cast<std::uint32_t>(id), show_special);
    return {bytes.data, bytes.size};
  }

  int vocab_size() const override { return static_cast<int>(textkit_vocab_size(tokenizer_.get())); }
  bool is_special(int id) const override {
    return id >= 0 && textkit_is_special(tokenizer_.get(), static_cast<std::uint32_t>(id));
  }
  int token_id(std::string_view token) const override {
    return textkit_token_id(tokenizer_.get(), view_of(token));
  }
  std::size_t longest_token_bytes() const override {
    return textkit_longest_token(tokenizer_.get());
  }
  bool strips_leading_space() const override { return joining_.strips_leading_space; }
  bool strips_trailing_space() const override { return joining_.strips_trailing_space; }
  bool merges_repeats() const override { return joining_.merges_repeats; }
  const textkit_tokenizer* handle() const override { return tokenizer_.get(); }

 private:
  const TextkitTokenizer tokenizer_;
  const textkit_joining_rules joining_;
};

void check_sizes(const Vocabulary& vocabulary) {
  const auto check_list = [&](const char* name, std::size_t size) {
    if (size != 0 && size != vocabulary.tokens.size()) {
      throw LoadError(fmt::format("{}: the vocabulary has {} {} for {} tokens", vocabulary.source,
                                  size, name, vocabulary.tokens.size()));
    }
  };
  check_list("token types", vocabulary.types.size());
  check_list("scores", vocabulary.scores.size());
}

std::vector<textkit_view> views_of(const std::vector<std::string>& texts) {
  std::vector<textkit_view> views;
  views.reserve(texts.size());
  for (const std::string& text : texts) views.push_back(view_of(text));
  return views;
}

textkit_tokenizer* from_arrays(const Vocabulary& vocabulary, int prefix, int suffix,
                               TextkitText& error) {
  constexpr std::array<std::string_view, 5> kModels = {"gpt2", "gemma4", "llama", "bert", "t5"};
  if (std::ranges::count(kModels, vocabulary.model) == 0) {
    throw LoadError(fmt::format(
        "{}: tokenizer.ggml.model is \"{}\"; supported are \"gpt2\" and \"gemma4\" (BPE), "
        "\"llama\" (SentencePiece), \"t5\" (Unigram) and \"bert\" (WordPiece)",
        vocabulary.source, vocabulary.model));
  }
  check_sizes(vocabulary);
  const std::vector<textkit_view> tokens = views_of(vocabulary.tokens);
  const std::vector<textkit_view> merges = views_of(vocabulary.merges);
  const textkit_vocabulary arrays{
      .sentencepiece = vocabulary.model == "llama",
      .wordpiece = vocabulary.model == "bert",
      .unigram = vocabulary.model == "t5",
      .pre_tokenizer = view_of(vocabulary.pre_tokenizer),
      .charsmap = view_of(vocabulary.charsmap),
      .add_space_prefix = vocabulary.add_space_prefix,
      .tokens = tokens.data(),
      .types = vocabulary.types.empty() ? nullptr : vocabulary.types.data(),
      .scores = vocabulary.scores.empty() ? nullptr : vocabulary.scores.data(),
      .token_count = tokens.size(),
      .merges = merges.data(),
      .merge_count = merges.size(),
      .left_stripped = vocabulary.left_stripped.data(),
      .left_stripped_count = vocabulary.left_stripped.size(),
      .right_stripped = vocabulary.right_stripped.data(),
      .right_stripped_count = vocabulary.right_stripped.size(),
  };
  return textkit_tokenizer_from_vocabulary(&arrays, prefix, suffix, error.out());
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::load(const Vocabulary& vocabulary) {
  const int prefix = vocabulary.add_bos ? vocabulary.bos : -1;
  const int suffix = vocabulary.add_eos ? vocabulary.eos : -1;
  TextkitText error;
  TextkitTokenizer tokenizer(vocabulary.tokenizer_json.empty()
                                 ? from_arrays(vocabulary, prefix, suffix, error)
                                 : textkit_tokenizer_from_json(view_of(vocabulary.tokenizer_json),
                                                               view_of(vocabulary.added_tokens),
                                                               prefix, suffix, error.out()));
  if (!tokenizer) {
    throw LoadError(
        fmt::format("{}: the tokeniser cannot be used: {}", vocabulary.source, error.str()));
  }
  return std::make_shared<LoadedTokenizer>(std::move(tokenizer));
}

// Of a tokeniser that knows no borders.
Result<void> Tokenizer::continue_chat(const RenderedChat& chat, std::size_t /*from*/,
                                      std::vector<int>& tokens,
                                      std::vector<ChatBorder>& /*borders*/) const {
  const auto all = encode_chat(chat);
  if (!all) return all.error();
  tokens.insert(tokens.end(), all->begin(), all->end());
  return {};
}

std::string_view Tokenizer::shown_bytes(int id, int& previous) const {
  if (!merges_repeats()) return token_bytes(id);
  if (is_special(id) || id == previous) return {};
  previous = id;
  return token_bytes(id);
}

std::string Tokenizer::decode(std::span<const int> tokens) const {
  std::string bytes;
  int previous = -1;
  for (const int token : tokens) bytes += shown_bytes(token, previous);
  if (strips_leading_space() && bytes.starts_with(' ')) bytes.erase(0, 1);
  if (strips_trailing_space() && bytes.ends_with(' ')) bytes.pop_back();
  return replace_invalid_utf8(bytes);
}

}  // namespace mlxd
