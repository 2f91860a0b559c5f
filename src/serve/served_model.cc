#include "serve/served_model.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "base/utf8.h"
#include "serve/embed.h"
#include "serve/encode_prompt.h"
#include "serve/engine_generation.h"
#include "serve/lazy_calls.h"
#include "serve/reasoning_budget.h"
#include "serve/stops.h"

namespace mlxd {
namespace {

using Constraint = std::unique_ptr<TokenConstraint>;

Error cannot_constrain(std::string param) {
  return {.code = "unsupported_grammar",
          .param = std::move(param),
          .message =
              "This model's files name no token that ends an answer, so that its answers "
              "cannot be held to a grammar."};
}

// In the client's words: what of the request asked for it.
Error of(Error error, std::string param) {
  error.param = std::move(param);
  return error;
}

// What comes after the reasoning of a chat.
Constraint after_reasoning_of(const ServedModel& model, Constraint then, bool in_reasoning) {
  if (model.reasoning_tokens.end < 0) return then;
  return after_reasoning(std::move(then), model.reasoning_tokens, model.stop_ids, in_reasoning);
}

Result<Constraint> constraint_of_calls(const ServedModel& model, const DeclaredTools& tools,
                                       const GenerateRequest& request, bool in_reasoning) {
  const TextOptions& text = request.text;
  const std::uint64_t salt = request.job.cache_salt;
  const GrammarSource* answer = text.grammar ? &text.grammar->source : nullptr;
  CallConstraint calls = model.constrain_calls(tools, text.calls, answer);
  const std::string param = text.grammar ? text.grammar->param : "tools";
  if (calls.openers.empty()) {
    auto constraint = model.grammars->constraint(calls.grammar, salt);
    if (!constraint) return of(constraint.error(), param);
    return after_reasoning_of(model, *std::move(constraint), in_reasoning);
  }
  auto state = model.grammars->state(calls.grammar, salt);
  if (!state) return of(state.error(), param);
  auto shared = std::make_shared<LazyCalls::Shared>();
  shared->tokenizer = model.tokenizer;
  shared->openers = std::move(calls.openers);
  shared->reasoning = model.reasoning_tokens;
  shared->calls = *std::move(state);
  return Constraint(std::make_unique<LazyCalls>(std::move(shared), in_reasoning));
}

// With a bound on its reasoning.
Result<Constraint> bounded_reasoning(const ServedModel& model, const ReasoningBudget& budget,
                                     Constraint then, bool in_reasoning) {
  const ReasoningTokens& marks = model.reasoning_tokens;
  const bool has_marks = marks.begin >= 0 && marks.end >= 0 && marks.end < model.info().vocab_size;
  if (has_marks) return reasoning_budget(std::move(then), marks, budget.tokens, in_reasoning);
  // There is nothing to bound where a model does not reason.
  if (!model.card.reasons || budget.param.empty()) return then;
  return Error{.code = "unsupported_parameter",
               .param = budget.param,
               .message = fmt::format("This model writes no tokens around its reasoning, so that "
                                      "'{}' cannot end it; leave it out.",
                                      budget.param)};
}

// What the text of an answer is held to; null: to nothing.
Result<Constraint> constraint_of_text(const ServedModel& model, const GenerateRequest& request,
                                      bool in_reasoning) {
  const TextOptions& text = request.text;
  const auto* chat = std::get_if<ChatPrompt>(&request.prompt);
  const bool calls = chat != nullptr && chat->tools && model.constrain_calls;
  if (text.calls.must && (!calls || !model.grammars)) {
    Error error = cannot_constrain(text.calls.param);
    if (!calls) {
      error.code = "unsupported_parameter";
      error.message =
          "This model's answers are not read for calls (--tool-parser none), so that "
          "none can be asked for.";
    }
    return error;
  }
  if (calls && model.grammars)
    return constraint_of_calls(model, *chat->tools, request, in_reasoning);
  if (!text.grammar) return Constraint();
  if (!model.grammars) return cannot_constrain(text.grammar->param);
  auto constraint = model.grammars->constraint(text.grammar->source, request.job.cache_salt);
  if (!constraint) return of(constraint.error(), text.grammar->param);
  if (chat == nullptr) return constraint;
  return after_reasoning_of(model, *std::move(constraint), in_reasoning);
}

Result<Constraint> constraint_of(const ServedModel& model, const GenerateRequest& request,
                                 bool in_reasoning) {
  auto constraint = constraint_of_text(model, request, in_reasoning);
  const bool reasons = std::holds_alternative<ChatPrompt>(request.prompt) && request.text.reasoning;
  if (!constraint || !reasons) return constraint;
  return bounded_reasoning(model, *request.text.reasoning, *std::move(constraint), in_reasoning);
}

}  // namespace

Result<std::vector<int>> ServedModel::tokens_of(const Prompt& prompt) const {
  auto encoded = encode_prompt(*this, prompt);
  if (!encoded) return encoded.error();
  return std::move(encoded->tokens);
}

Result<std::vector<int>> ServedModel::encode(std::string_view text, bool add_special,
                                             bool parse_special) const {
  return tokenizer->encode(text, add_special, parse_special);
}

std::string ServedModel::decode(std::span<const int> tokens) const {
  std::string bytes;
  for (const int token : tokens) bytes += tokenizer->token_bytes(token, true);
  if (tokenizer->strips_leading_space() && bytes.starts_with(' ')) bytes.erase(0, 1);
  if (tokenizer->strips_trailing_space() && bytes.ends_with(' ')) bytes.pop_back();
  return replace_invalid_utf8(bytes);
}

std::string ServedModel::bytes_of(int token) const {
  return std::string(tokenizer->token_bytes(token, true));
}

Result<std::string> ServedModel::render(const ChatPrompt& chat) const {
  auto rendered = render_chat(*this, chat);
  if (!rendered) return rendered.error();
  return std::move(rendered->text);
}

Result<std::unique_ptr<Generation>> ServedModel::start(GenerateRequest request,
                                                       std::function<void()> on_ready) {
  if (!card.generates) return cannot_generate(*this);
  Result<EncodedPrompt> prompt = encode_prompt(*this, request.prompt, request.job.cache_salt);
  if (!prompt) return prompt.error();
  GenerateJob job = std::move(request.job);
  const auto limit = token_limit(*this, request.prompt, prompt->tokens.size(),
                                 request.text.cut_to_fit ? kAsManyAsFit : job.max_tokens);
  if (!limit) return limit.error();
  job.borders = prompt_borders(*this, request.prompt, prompt->tokens, job.cache_salt);
  job.holds =
      held_prefixes(*this, request.prompt, prompt->tokens, request.text.keep, job.cache_salt);
  job.prompt = std::move(prompt->tokens);
  Stops stops = read_stops(*tokenizer, request.text.stop);
  std::erase_if(stops.ids, [this](int stop) { return stop >= info().vocab_size; });
  if (!job.ignore_eos) job.stop_ids = stop_ids;
  // What the client stops at counts even where the model's own ends are ignored.
  job.ignore_eos = job.ignore_eos && stops.ids.empty();
  job.stop_ids.insert(job.stop_ids.end(), stops.ids.begin(), stops.ids.end());
  request.text.stop = std::move(stops.strings);
  auto constraint = constraint_of(*this, request, prompt->in_reasoning);
  if (!constraint) return constraint.error();
  job.constraint = *std::move(constraint);
  const bool cut = job.max_tokens < 0 || *limit < job.max_tokens;
  job.max_tokens = cut ? *limit : job.max_tokens;
  job.min_tokens = std::min(job.min_tokens, job.max_tokens);
  auto generation = std::make_unique<EngineGeneration>(*this, request, job, prompt->in_reasoning);
  request.prompt.emplace<TokenPrompt>();  // a submit may wait for the disk
  Result<RequestHandle> handle = engine->submit(std::move(job), std::move(on_ready));
  if (!handle) return handle.error();
  generation->begin(*std::move(handle));
  return std::unique_ptr<Generation>(std::move(generation));
}

Result<std::unique_ptr<Generation>> ServedModel::embed(EmbedRequest request,
                                                       std::function<void()> on_ready) {
  auto texts = encode_texts(*this, request);
  if (!texts) return texts.error();
  GenerateJob job = std::move(request.job);
  job.texts = *std::move(texts);
  job.samples = 1;
  job.max_tokens = 0;
  const VectorForm form{*card.pooled, request.dimensions};
  auto generation = std::make_unique<EmbeddedTexts>(form, static_cast<int>(job.prompt_tokens()));
  request.inputs.clear();
  Result<RequestHandle> handle = engine->submit(std::move(job), std::move(on_ready));
  if (!handle) return handle.error();
  generation->begin(*std::move(handle));
  return std::unique_ptr<Generation>(std::move(generation));
}

}  // namespace mlxd
