#include "serve/engine_generation.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "serve/text_offsets.h"

namespace mlxd {

EngineGeneration::EngineGeneration(const ServedModel& model, const GenerateRequest& request,
                                   const GenerateJob& job, bool in_reasoning)
    : tokenizer_(model.tokenizer), prompt_tokens_(static_cast<int>(job.prompt.size())) {
  const auto* const chat = std::get_if<ChatPrompt>(&request.prompt);
  AnswerContext context{std::make_shared<const DeclaredTools>(), in_reasoning};
  if (chat != nullptr && chat->tools) {
    context.tools = chat->tools;
    context.calls_are_held = job.constraint != nullptr;
    context.all_is_calls = request.text.calls.must;
  }
  SampleText::Options options;
  const bool begins = chat != nullptr && !chat->continue_final_message;
  options.begin = begins ? Detokenizer::Begin::text : Detokenizer::Begin::continuation;
  options.one_call = request.text.calls.at_most_one;
  options.details = job.sampling.logprobs;
  if (request.text.echo) {
    begin_echo(request, job);
    options.first_offset = count_characters(echo_->delta.text);
    if (job.prompt_logprobs < 0) ready_.push_back(*std::exchange(echo_, std::nullopt));
  }
  for (const std::string& stop : request.text.stop) {
    const int id = tokenizer_->token_id(stop);
    if (tokenizer_->is_special(id)) stop_tokens_.emplace_back(id, stop);
  }
  samples_.reserve(static_cast<std::size_t>(job.samples));
  for (options.choice = 0; options.choice < job.samples; ++options.choice) {
    auto parser = chat != nullptr ? model.make_parser(context) : make_content_parser();
    samples_.push_back({{tokenizer_, std::move(parser), request.text.stop, options}});
  }
}

// A text comes back as it was sent; tokens as what they say.
void EngineGeneration::begin_echo(const GenerateRequest& request, const GenerateJob& job) {
  const auto* text = std::get_if<TextPrompt>(&request.prompt);
  echo_.emplace();
  echo_->delta.text = text != nullptr ? text->text : tokenizer_->decode(job.prompt);
}

std::optional<GenerationEvent> EngineGeneration::pop() {
  if (ready_.empty()) return std::nullopt;
  GenerationEvent event = std::move(ready_.front());
  ready_.pop_front();
  return event;
}

std::optional<GenerationEvent> EngineGeneration::try_next() {
  while (ready_.empty()) {
    std::optional<TokenEvent> event = handle_->try_next();
    if (!event) return std::nullopt;
    std::visit([this](auto& e) { take(e); }, *event);
  }
  return pop();
}

std::optional<GenerationEvent> EngineGeneration::next_until(TimePoint limit) {
  while (ready_.empty()) {
    std::optional<TokenEvent> event = handle_->next_until(limit);
    if (!event) return std::nullopt;
    std::visit([this](auto& e) { take(e); }, *event);
  }
  return pop();
}

void EngineGeneration::take(PromptToken& token) {
  if (!echo_) return;
  TextDelta& delta = echo_->delta;
  delta.details.push_back(detail_of(*tokenizer_, token.token, token.logprob, token.top));
  delta.details.back().has_logprob = token.has_logprob;
  if (delta.details.size() < static_cast<std::size_t>(prompt_tokens_)) return;
  delta.offsets = prompt_offsets(delta.text, delta.details,
                                 [this](int id) { return tokenizer_->is_special(id); });
  ready_.push_back(*std::exchange(echo_, std::nullopt));
}

void EngineGeneration::take(SampledToken& token) {
  Sample& sample = samples_.at(static_cast<std::size_t>(token.sample));
  if (sample.ended) return;
  ++sample.tokens;
  std::vector<TextDelta> deltas;
  const bool stopped = sample.text.push(token, deltas);
  send(sample, std::move(deltas));
  if (!stopped) return;
  handle_->stop_sample(token.sample);
  end(token.sample, FinishReason::stop, sample.text.stop());
}

void EngineGeneration::take(SampleFinished& finished) {
  Sample& sample = samples_.at(static_cast<std::size_t>(finished.sample));
  if (sample.ended) return;
  if (finished.reason == FinishReason::stop) ++sample.tokens;  // the one that said so
  std::vector<TextDelta> deltas;
  const bool stopped = sample.text.finish(deltas);
  send(sample, std::move(deltas));
  // A call that breaks off is no call that can be made.
  const bool cut = !stopped && sample.text.in_call();
  const auto token =
      std::ranges::find(stop_tokens_, finished.token, &std::pair<int, std::string>::first);
  const bool by_token = !stopped && !cut && token != stop_tokens_.end();
  end(finished.sample,
      cut       ? FinishReason::length
      : stopped ? FinishReason::stop
                : finished.reason,
      by_token ? token->second : sample.text.stop());
}

void EngineGeneration::take(RequestFinished& finished) {
  GenerationEnd last;
  last.outcome = finished.outcome;
  last.error = std::move(finished.error);
  last.queue_seconds = finished.queue_seconds;
  last.usage.prompt_tokens = prompt_tokens_;
  last.usage.cached_prompt_tokens = finished.cached_prompt_tokens;
  for (const Sample& sample : samples_) {
    last.usage.completion_tokens += sample.tokens;
    last.usage.reasoning_tokens += sample.text.reasoning_tokens();
  }
  ready_.push_back(std::move(last));
}

void EngineGeneration::send(const Sample& sample, std::vector<TextDelta> deltas) {
  for (TextDelta& delta : deltas) {
    delta.tokens = sample.tokens;
    ready_.push_back(std::move(delta));
  }
}

void EngineGeneration::end(int index, FinishReason reason, std::string stop) {
  Sample& sample = samples_[static_cast<std::size_t>(index)];
  sample.ended = true;
  TextDelta delta;
  delta.choice = index;
  delta.finish = reason;
  delta.tokens = sample.tokens;
  delta.stop = std::move(stop);
  ready_.push_back(std::move(delta));
}

}  // namespace mlxd
