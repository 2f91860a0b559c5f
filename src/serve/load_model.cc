#include "serve/load_model.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

namespace mlxd {
namespace {

// How the model families write the end of a turn, and the end of a text. Only a name that is also a
// control token of the vocabulary counts.
constexpr std::array<std::string_view, 11> kTurnEnds = {
    "<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|eom_id|>",         "<|end|>",
    "<|return|>", "<|call|>",      "<turn|>",    "<end_of_utterance>", "<|END_OF_TURN_TOKEN|>",
    "<EOT>"};
constexpr std::array<std::string_view, 4> kTextEnds = {"<|endoftext|>", "<|end_of_text|>", "<eos>",
                                                       "</s>"};

long unix_time_of(const std::filesystem::path& path) {
  std::error_code failed;
  const auto written = std::filesystem::last_write_time(path, failed);
  if (failed) return 0;
  // file_clock's epoch is the library's own, so measure from now.
  const auto age = std::filesystem::file_time_type::clock::now() - written;
  const auto then = std::chrono::system_clock::now() -
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(age);
  return static_cast<long>(std::chrono::system_clock::to_time_t(then));
}

ModelCard card_of(const ModelFiles& files) {
  const Vocabulary& vocabulary = files.vocabulary;
  ModelCard card;
  card.summary = summarize(files);
  card.chat_template = vocabulary.chat_template;
  card.generates = !files.plan.encoder;
  card.pooled = files.plan.pooled;
  card.special_tokens = vocabulary.special_tokens;
  card.special_tokens.try_emplace("bos_token", vocabulary.bos_token);
  card.special_tokens.try_emplace("eos_token", vocabulary.eos_token);
  std::erase_if(card.special_tokens, [](const auto& token) { return token.second.empty(); });
  return card;
}

}  // namespace

std::vector<int> stop_ids_of(const Vocabulary& vocabulary, const Tokenizer& tokenizer) {
  std::vector<int> ids = vocabulary.stop_ids;
  const auto add = [&](std::string_view name) {
    const int id = tokenizer.token_id(name);
    if (tokenizer.is_special(id)) ids.push_back(id);
  };
  // gpt-oss ends each message of a turn with <|end|>, and the turn with others.
  const bool ends_messages = tokenizer.is_special(tokenizer.token_id("<|return|>")) &&
                             tokenizer.is_special(tokenizer.token_id("<|call|>"));
  for (const std::string_view name : kTurnEnds) {
    if (name == "<|end|>" && ends_messages) continue;
    if (vocabulary.chat_template.find(name) != std::string::npos) add(name);
  }
  for (const std::string_view name : kTextEnds) add(name);
  // A token that no file gives an id is known to the tokeniser alone.
  add(vocabulary.eos_token);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

ServedModel make_served_model(const ModelFiles& files, std::string id, std::string_view version,
                              std::string_view backend, const ParserNames& parsers) {
  ServedModel model;
  model.id = std::move(id);
  model.fingerprint = fmt::format("mlxd-{}-{}-{}", version, files.fingerprint, backend);
  model.created = unix_time_of(files.path);
  model.card = card_of(files);
  model.tokenizer = Tokenizer::load(files.vocabulary);
  model.encoded_chats = std::make_unique<EncodedChats>(model.tokenizer);
  model.chat_template = ChatTemplate::load(files.vocabulary);
  // A template for tools says more of how they are called.
  const std::string& shows = files.vocabulary.tool_use_template.empty()
                                 ? files.vocabulary.chat_template
                                 : files.vocabulary.tool_use_template;
  const AnswerFormat format = answer_format_of(shows, parsers);
  model.tools_in_words = format.tools != nullptr && format.tools->name == kFormatInWords;
  model.card.reasons = format.reasoning != nullptr;
  if (format.reasoning != nullptr) {
    model.reasoning_mark = format.reasoning->marks.open;
    model.reasoning_mark += format.reasoning->marks.word;
    model.reasoning_tokens = {model.tokenizer->token_id(format.reasoning->marks.open),
                              model.tokenizer->token_id(format.reasoning->marks.close)};
  }
  model.make_parser = [format, tokenizer = model.tokenizer](const AnswerContext& context) {
    return make_answer_parser(format, tokenizer, context);
  };
  if (format.tools != nullptr) {
    model.constrain_calls = [&tools = *format.tools, tokenizer = model.tokenizer](
                                const DeclaredTools& declared, const CallRule& rule,
                                const GrammarSource* answer) {
      return constrain_calls(tools, *tokenizer, declared, rule, answer);
    };
  }
  model.stop_ids = stop_ids_of(files.vocabulary, *model.tokenizer);
  // A tokeniser may know tokens that the model has no rows for and never draws.
  if (!model.card.generates) return model;
  const std::int64_t rows = files.plan.head.weight.weight.rows;
  std::erase_if(model.stop_ids, [rows](int stop) { return stop >= rows; });
  if (!model.stop_ids.empty()) {
    model.grammars =
        std::make_unique<Grammars>(model.tokenizer, static_cast<int>(rows), model.stop_ids);
  }
  return model;
}

}  // namespace mlxd
