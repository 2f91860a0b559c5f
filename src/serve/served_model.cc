#include "serve/served_model.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "serve/encode_prompt.h"
#include "serve/engine_generation.h"
#include "serve/stops.h"

namespace mlxd {
namespace {

Result<std::unique_ptr<TokenConstraint>> constraint_of(const ServedModel& model,
                                                       const RequestedGrammar& grammar,
                                                       bool is_chat, bool in_reasoning) {
  if (!model.grammars) {
    return Error{.code = "unsupported_grammar",
                 .param = grammar.param,
                 .message =
                     "This model's files name no token that ends an answer, so that its "
                     "answers cannot be held to a grammar."};
  }
  auto constraint = model.grammars->constraint(grammar.source);
  if (!constraint) {
    Error error = constraint.error();
    error.param = grammar.param;
    return error;
  }
  if (!is_chat || model.reasoning_tokens.end < 0) return constraint;
  return after_reasoning(*std::move(constraint), model.reasoning_tokens, model.stop_ids,
                         in_reasoning);
}

}  // namespace

Result<std::vector<int>> ServedModel::tokens_of(const Prompt& prompt) const {
  auto encoded = encode_prompt(*this, prompt);
  if (!encoded) return encoded.error();
  return std::move(encoded->tokens);
}

Result<std::unique_ptr<Generation>> ServedModel::start(GenerateRequest request,
                                                       std::function<void()> on_ready) {
  Result<EncodedPrompt> prompt = encode_prompt(*this, request.prompt);
  if (!prompt) return prompt.error();
  if (request.text.calls.must) {
    return Error{.code = "unsupported_parameter",
                 .param = request.text.calls.param,
                 .message = "Calls cannot be forced yet; let the model choose."};
  }
  GenerateJob job = std::move(request.job);
  const auto limit = token_limit(*this, request.prompt, prompt->tokens.size(),
                                 request.text.cut_to_fit ? kAsManyAsFit : job.max_tokens);
  if (!limit) return limit.error();
  job.borders = prompt_borders(*this, request.prompt, prompt->tokens);
  job.prompt = std::move(prompt->tokens);
  Stops stops = read_stops(*tokenizer, request.text.stop);
  std::erase_if(stops.ids, [this](int stop) { return stop >= info().vocab_size; });
  if (!job.ignore_eos) job.stop_ids = stop_ids;
  // What the client stops at counts even where the model's own ends are ignored.
  job.ignore_eos = job.ignore_eos && stops.ids.empty();
  job.stop_ids.insert(job.stop_ids.end(), stops.ids.begin(), stops.ids.end());
  request.text.stop = std::move(stops.strings);
  if (request.text.grammar) {
    auto constraint =
        constraint_of(*this, *request.text.grammar,
                      std::holds_alternative<ChatPrompt>(request.prompt), prompt->in_reasoning);
    if (!constraint) return constraint.error();
    job.constraint = *std::move(constraint);
  }
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

}  // namespace mlxd
