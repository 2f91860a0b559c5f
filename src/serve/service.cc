#include "serve/service.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "serve/stops.h"

namespace mlxd {
namespace {

// A prompt, and how its lengths are named in an error.
struct Prompt {
  std::vector<int> tokens;
  bool chat = false;
  const char* param() const { return chat ? "messages" : "prompt"; }
};

Error context_exceeded(const char* param, int context, const std::string& requested) {
  return {.code = "context_length_exceeded",
          .param = param,
          .message = fmt::format("This model's context holds {} tokens, but {}. Shorten the {} or "
                                 "ask for fewer tokens.",
                                 context, requested, param)};
}

// A text that is too long by any count is refused before it costs time.
Result<void> check_text_size(const Tokenizer& tokenizer, std::string_view text, const char* param,
                             int context) {
  const std::size_t longest = tokenizer.longest_token_bytes();
  if (longest == 0 || text.size() / longest <= static_cast<std::size_t>(context)) return {};
  return context_exceeded(param, context,
                          fmt::format("your {} take at least {}", param, text.size() / longest));
}

Result<std::vector<int>> chat_prompt(const ServedModel& model, const std::string& messages_json) {
  if (!model.chat_template) {
    return Error{.code = "no_chat_template",
                 .param = "model",
                 .message = fmt::format("{} is a base model without a chat template; use "
                                        "/v1/completions.",
                                        model.id)};
  }
  const Tokenizer& tokenizer = *model.tokenizer;
  const Result<RenderedChat> chat =
      model.chat_template->render(fmt::format(R"({{"messages":{}}})", messages_json));
  if (!chat) return chat.error();
  const int context = model.engine->info().context_length;
  if (const auto fits = check_text_size(tokenizer, chat->text, "messages", context); !fits) {
    return fits.error();
  }
  return tokenizer.encode_chat(*chat);
}

Result<std::vector<int>> token_prompt(const ServedModel& model, const std::vector<int>& tokens) {
  const int vocabulary = model.engine->info().vocab_size;
  for (const int token : tokens) {
    if (token < 0 || token >= vocabulary) {
      return Error{
          .code = "invalid_token_id",
          .param = "prompt",
          .message = fmt::format("The prompt holds the token id {}; this model's ids are 0 "
                                 "to {}.",
                                 token, vocabulary - 1)};
    }
  }
  return tokens;
}

Result<Prompt> make_prompt(const ServedModel& model, const GenerateRequest& request) {
  Prompt prompt;
  prompt.chat = !request.messages_json.empty();
  Result<std::vector<int>> tokens = [&]() -> Result<std::vector<int>> {
    if (prompt.chat) return chat_prompt(model, request.messages_json);
    if (!request.prompt_tokens.empty()) return token_prompt(model, request.prompt_tokens);
    const int context = model.engine->info().context_length;
    const auto fits = check_text_size(*model.tokenizer, request.prompt_text, "prompt", context);
    if (!fits) return fits.error();
    return model.tokenizer->encode(request.prompt_text, true, true);
  }();
  if (!tokens) {
    Error error = tokens.error();
    if (error.param.empty()) error.param = prompt.param();
    return error;
  }
  if (tokens->empty()) {
    return Error{.code = "empty_prompt",
                 .param = prompt.param(),
                 .message = fmt::format("{} gives no tokens; write at least one character.",
                                        prompt.param())};
  }
  prompt.tokens = *std::move(tokens);
  return prompt;
}

// How many tokens each sample may have. What exceeds the KV cache is left for the engine to refuse.
Result<int> token_limit(const Prompt& prompt, int max_tokens, const Engine& engine) {
  const int context = engine.info().context_length;
  const auto length = static_cast<std::int64_t>(prompt.tokens.size());
  const std::int64_t left = context - length;
  if (max_tokens < 0) {
    const std::int64_t held = engine.longest_sequence() - length;
    if (left > 0) return static_cast<int>(std::max<std::int64_t>(std::min(left, held), 1));
    return context_exceeded(prompt.param(), context,
                            fmt::format("your {} take {} of them and leave no room for an answer",
                                        prompt.param(), length));
  }
  if (max_tokens <= left) return max_tokens;
  return context_exceeded(prompt.param(), context,
                          fmt::format("you asked for {} ({} in the {} and {} to generate)",
                                      length + max_tokens, length, prompt.param(), max_tokens));
}

}  // namespace

Result<Generation> Service::start(const GenerateRequest& request,
                                  std::function<void()> on_ready) const {
  Result<Prompt> prompt = make_prompt(model_, request);
  if (!prompt) return prompt.error();
  const Result<int> max_tokens = token_limit(*prompt, request.max_tokens, *model_.engine);
  if (!max_tokens) return max_tokens.error();

  GenerateJob job;
  job.id = request.id;
  job.prompt = prompt->tokens;
  job.sampling = request.sampling;
  job.samples = request.samples;
  job.max_tokens = *max_tokens;
  job.min_tokens = std::min(request.min_tokens, *max_tokens);
  Stops stops = read_stops(*model_.tokenizer, request.stop);
  std::erase_if(stops.ids, [&](int stop) { return stop >= model_.engine->info().vocab_size; });
  // What the client stops at counts even where the model's own ends are ignored.
  job.ignore_eos = request.ignore_eos && stops.ids.empty();
  if (!request.ignore_eos) job.stop_ids = model_.stop_ids;
  job.stop_ids.insert(job.stop_ids.end(), stops.ids.begin(), stops.ids.end());
  job.prompt_logprobs = request.echo ? request.echo_logprobs : -1;
  job.priority = request.priority;
  job.caller = request.caller;
  job.cache_salt = request.cache_salt;
  job.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                    std::chrono::duration<double>(request.timeout_seconds));

  Generation::Options options;
  options.stop = std::move(stops.strings);
  options.echo = request.echo;
  options.echo_text = request.prompt_text;
  options.prompt_details = job.prompt_logprobs >= 0;
  options.token_details = request.sampling.logprobs;
  options.continues_prompt = !prompt->chat;

  Result<RequestHandle> handle = model_.engine->submit(std::move(job), std::move(on_ready));
  if (!handle) return handle.error();
  return Generation(*std::move(handle), model_.tokenizer, std::move(options),
                    std::move(prompt->tokens), request.samples);
}

}  // namespace mlxd
