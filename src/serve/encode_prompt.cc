#include "serve/encode_prompt.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/format.h>

namespace mlxd {
namespace {

// How a prompt and its lengths are named in an error.
const char* param_of(const Prompt& prompt) {
  return std::holds_alternative<ChatPrompt>(prompt) ? "messages" : "prompt";
}

// Clients know an overflow, after which they shorten what they send, by these words: "maximum
// context length is N tokens" at the beginning, or "prompt is too long".
Error context_exceeded(const char* param, int context, const std::string& asked,
                       std::string_view why = ": the prompt is too long") {
  return {.code = "context_length_exceeded",
          .param = param,
          .message = fmt::format("This model's maximum context length is {} tokens, but {}{}. "
                                 "Shorten the {} or ask for fewer tokens.",
                                 context, asked, why, param)};
}

// A text that is too long by any count is refused before it costs time.
Result<void> check_text_size(const Tokenizer& tokenizer, std::string_view text, const char* param,
                             int context) {
  const std::size_t longest = tokenizer.longest_token_bytes();
  if (longest == 0 || text.size() / longest <= static_cast<std::size_t>(context)) return {};
  return context_exceeded(param, context,
                          fmt::format("your {} take at least {}", param, text.size() / longest));
}

// As ChatTemplate::render takes it.
std::string document_of(const ChatPrompt& prompt, bool tools_in_words) {
  std::string document =
      fmt::format(R"({{"messages":{},"add_generation_prompt":{},"continue_final_message":{},)"
                  R"("tools_in_words":{})",
                  prompt.messages_json, prompt.add_generation_prompt, prompt.continue_final_message,
                  tools_in_words);
  const auto add = [&](std::string_view key, const std::string& json) {
    if (!json.empty()) document += fmt::format(R"(,"{}":{})", key, json);
  };
  add("tools", prompt.tools_json);
  add("documents", prompt.documents_json);
  add("chat_template_kwargs", prompt.template_arguments_json);
  return document + '}';
}

bool ends_with(std::string_view text, std::string_view mark) {
  const std::size_t last = text.find_last_not_of(" \n");
  return !mark.empty() && last != std::string_view::npos &&
         text.substr(0, last + 1).ends_with(mark);
}

Result<EncodedPrompt> encoded(Result<std::vector<int>> tokens, bool in_reasoning = false) {
  if (!tokens) return tokens.error();
  return EncodedPrompt{*std::move(tokens), in_reasoning};
}

Result<EncodedPrompt> encode(const ServedModel& model, const ChatPrompt& prompt,
                             std::optional<std::uint64_t> salt) {
  Result<RenderedChat> chat = render_chat(model, prompt);
  if (!chat) return chat.error();
  const Tokenizer& tokenizer = *model.tokenizer;
  const int context = model.info().context_length;
  if (const auto fits = check_text_size(tokenizer, chat->text, "messages", context); !fits) {
    return fits.error();
  }
  const bool in_reasoning = ends_with(chat->text, model.reasoning_mark);
  return encoded(model.encoded_chats ? model.encoded_chats->encode(*std::move(chat), salt)
                                     : tokenizer.encode_chat(*chat),
                 in_reasoning);
}

Result<EncodedPrompt> encode(const ServedModel& model, const TextPrompt& prompt,
                             std::optional<std::uint64_t> /*salt*/) {
  const int context = model.info().context_length;
  const auto fits = check_text_size(*model.tokenizer, prompt.text, "prompt", context);
  if (!fits) return fits.error();
  return encoded(model.tokenizer->encode(prompt.text, true, true));
}

Result<EncodedPrompt> encode(const ServedModel& model, const TokenPrompt& prompt,
                             std::optional<std::uint64_t> /*salt*/) {
  const int vocabulary = model.info().vocab_size;
  for (const int token : prompt.tokens) {
    if (token < 0 || token >= vocabulary) {
      return Error{
          .code = "invalid_token_id",
          .param = "prompt",
          .message = fmt::format("The prompt holds the token id {}; this model's ids are 0 "
                                 "to {}.",
                                 token, vocabulary - 1)};
    }
  }
  return EncodedPrompt{prompt.tokens};
}

// How many tokens a prompt begins with that the template writes of a history as well, in which no
// answer is begun. None where it does not take such a history.
std::optional<int> common_tokens(const ServedModel& model, ChatPrompt history,
                                 std::span<const int> tokens, std::uint64_t salt) {
  history.add_generation_prompt = history.continue_final_message = false;
  const auto encoded = encode(model, history, salt);
  if (!encoded) return std::nullopt;
  const auto parting = std::ranges::mismatch(encoded->tokens, tokens);
  return static_cast<int>(parting.in1 - encoded->tokens.begin());
}

}  // namespace

Result<RenderedChat> render_chat(const ServedModel& model, const ChatPrompt& prompt) {
  if (!model.chat_template) {
    return Error{.code = "no_chat_template",
                 .param = "model",
                 .message = fmt::format("{} is a base model without a chat template; use "
                                        "/v1/completions.",
                                        model.id)};
  }
  return model.chat_template->render(document_of(prompt, model.tools_in_words),
                                     !prompt.tools_json.empty());
}

Result<EncodedPrompt> encode_prompt(const ServedModel& model, const Prompt& prompt,
                                    std::optional<std::uint64_t> salt) {
  auto encoded = std::visit([&](const auto& given) { return encode(model, given, salt); }, prompt);
  if (!encoded) {
    Error error = encoded.error();
    if (error.param.empty() && error.status < 500) error.param = param_of(prompt);
    return error;
  }
  if (encoded->tokens.empty()) {
    return Error{.code = "empty_prompt",
                 .param = param_of(prompt),
                 .message = fmt::format("{} gives no tokens; write at least one character.",
                                        param_of(prompt))};
  }
  return encoded;
}

std::vector<int> prompt_borders(const ServedModel& model, const Prompt& prompt,
                                std::span<const int> tokens, std::uint64_t salt) {
  const auto* chat = std::get_if<ChatPrompt>(&prompt);
  if (chat == nullptr || model.info().state_bytes == 0) return {};
  const auto border = common_tokens(model, *chat, tokens, salt);
  return border ? std::vector<int>{*border} : std::vector<int>();
}

std::vector<HeldPrefix> held_prefixes(const ServedModel& model, const Prompt& prompt,
                                      std::span<const int> tokens, std::span<const KeepRule> rules,
                                      std::uint64_t salt) {
  std::vector<HeldPrefix> holds;
  const auto* chat = std::get_if<ChatPrompt>(&prompt);
  for (const KeepRule& rule : rules) {
    holds.push_back({std::numeric_limits<int>::max(), rule.time});
    if (chat == nullptr || rule.upto == KeepRule::kAll) continue;
    ChatPrompt history = *chat;
    history.messages_json = history.messages_json.substr(0, rule.upto) + ']';
    holds.back().tokens = common_tokens(model, std::move(history), tokens, salt)
                              .value_or(static_cast<int>(tokens.size()));
  }
  return holds;
}

Result<int> token_limit(const ServedModel& model, const Prompt& prompt, std::size_t prompt_tokens,
                        int max_tokens) {
  const int context = model.info().context_length;
  const int held = model.engine->longest_sequence();  // at most the context
  const char* const param = param_of(prompt);
  const auto length = static_cast<std::int64_t>(prompt_tokens);
  if (max_tokens < 0 && length < held) return static_cast<int>(held - length);
  if (max_tokens >= 0 && length + std::max(max_tokens, held < context ? 1 : 0) <= held) {
    return max_tokens;
  }
  const std::string asked =
      max_tokens < 0
          ? fmt::format("your {} take {} of them and leave no room for an answer", param, length)
          : fmt::format("you asked for {} ({} in the {} and {} to generate)", length + max_tokens,
                        length, param, max_tokens);
  const bool in_context = length + std::max(max_tokens, 1) <= context;
  const int most = in_context ? held : context;
  const bool too_long = max_tokens < most;  // else no prompt is short enough
  Error error = context_exceeded(param, most, asked, too_long ? ": the prompt is too long" : "");
  if (in_context) {
    error.code = "kv_cache_exceeded";
    error.message += fmt::format(" (The context is {} tokens; the KV cache holds no more than {}.)",
                                 context, held);
  }
  return error;
}

}  // namespace mlxd
