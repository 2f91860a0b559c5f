#include "engine/delivery.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace mlxd {
namespace {

using Outcome = RequestFinished::Outcome;

void set_logit_range(Sequence& sequence) {
  const Request& request = *sequence.request;
  sequence.logits_from = request.wants_prompt_logprobs()
                             ? std::max(request.prompt_tokens_sent, 1) - 1
                             : sequence.length() - 1;
  const bool none = request.job.max_tokens == 0 && !sequence.pooled;
  sequence.logits_to = none ? sequence.length() - 1 : sequence.length();
}

}  // namespace

Delivery::Delivery(EngineShared& shared, const RunnerInfo& info, Scheduler& scheduler,
                   Drafter& drafter, EngineStats& stats, std::function<void()> publish)
    : shared_(shared),
      info_(info),
      scheduler_(scheduler),
      drafter_(drafter),
      stats_(stats),
      publish_(std::move(publish)),
      draws_(info, sampler_) {}

void Delivery::begin(Request& request, std::uint64_t age) {
  const GenerateJob& job = request.job;
  if (job.pools()) {
    request.forked = true;  // there is nothing that its sequences share
    for (const PooledText& text : job.texts) {
      Sequence& sequence = add_sequence(request, age, text.tokens);
      sequence.pooled = true;
      sequence.second_begin = text.second_begin;
      set_logit_range(sequence);
      scheduler_.add(sequence);
    }
    return;
  }
  if (job.max_tokens == 0 && job.prompt_logprobs < 0) {  // nothing to compute
    note_begun(request);
    for (int sample = 0; sample < job.samples; ++sample) {
      request.shared->push(SampleFinished{sample, FinishReason::length});
    }
    end(request, Outcome::completed);
    return;
  }
  Sequence& sequence = add_sequence(request, age, job.prompt);
  sequence.most_tokens = sequence.length() + job.max_tokens;
  sequence.slots = job.samples;
  sequence.borders = job.borders;
  sequence.holds = job.holds;
  if (job.constraint) sequence.constraint = job.constraint->fork();
  if (has_penalties(job.sampling)) sequence.counts.add_prompt(sequence.tokens);
  set_logit_range(sequence);
  scheduler_.add(sequence);
}

// The next of the request, not yet the scheduler's.
Sequence& Delivery::add_sequence(Request& request, std::uint64_t age, std::span<const int> tokens) {
  const GenerateJob& job = request.job;
  auto sequence = std::make_unique<Sequence>();
  sequence->request = &request;
  sequence->age = age;
  sequence->sample = static_cast<int>(request.sequences.size());
  sequence->tokens.assign(tokens.begin(), tokens.end());
  sequence->prompt_length = sequence->length();
  sequence->priority = job.priority;
  sequence->caller = job.caller;
  sequence->cache_salt = job.cache_salt;
  return *request.sequences.emplace_back(std::move(sequence));
}

void Delivery::note_begun(Request& request) {
  auto& state = *request.shared;
  if (state.begun) return;
  const TimePoint now = Clock::now();
  state.queue_seconds = seconds_between(state.submitted, now);
  state.begun = true;
  if (!request.sequences.empty() && !request.job.pools()) {
    request.cached_prompt_tokens = request.sequences.front()->found_tokens;
    stats_.cached_prompt_tokens += request.cached_prompt_tokens;
  }
  const auto tokens = static_cast<int>(request.job.prompt_tokens());
  shared_.queue_rate.left(now, tokens, shared_.leave_queue(tokens));
}

std::span<const Draw> Delivery::ask(std::span<StepPart> parts) {
  draws_.clear();
  int wanted = 0;
  for (StepPart& part : parts) {
    const auto asked = [&] { return static_cast<int>(draws_.all().size()); };
    part.first_draw = asked();
    Request& request = *part.sequence->request;
    if (part.draws > 0 && part.sequence->state != Sequence::State::finished) {
      try {
        draws_.add(part, wanted + part.logit_rows - part.draws);
      } catch (const std::bad_alloc&) {
        throw;
      } catch (const std::exception& exception) {
        spdlog::error("request {}: {}", request.job.id, exception.what());
        fail(request);
      }
    }
    part.asked = asked() - part.first_draw;
    part.sequence->draw_ahead = part.first_draw;
    wanted += part.logit_rows;
  }
  return draws_.all();
}

bool Delivery::fits(const StepOutput& output, std::span<const StepPart> parts) const {
  std::size_t rows = 0, draws = 0, pooled = 0;
  for (const StepPart& part : parts) {
    rows += logit_rows(part);
    draws += part.asked;
    pooled += pooled_numbers(part);
  }
  return output.logits.size() == rows * info_.vocab_size && output.pooled.size() == pooled &&
         (!info_.draws || output.drawn.size() == draws);
}

void Delivery::deliver(std::span<const StepPart> parts, StepOutput& output) {
  std::span<float> logits(output.logits);
  std::span<const float> pooled(output.pooled);
  for (const StepPart& part : parts) {
    PartOutput mine;
    mine.logits = logits.first(static_cast<std::size_t>(logit_rows(part)) * info_.vocab_size);
    if (info_.draws) mine.drawn = std::span(output.drawn).subspan(part.first_draw, part.asked);
    logits = logits.subspan(mine.logits.size());
    mine.pooled = pooled.first(pooled_numbers(part));
    pooled = pooled.subspan(mine.pooled.size());
    deliver_safely(part, mine);
  }
}

void Delivery::deliver_safely(const StepPart& part, PartOutput output) {
  if (part.sequence->state == Sequence::State::finished) return;
  try {
    deliver(part, output);
  } catch (const std::exception& exception) {
    spdlog::error("request {}: {}", part.sequence->request->job.id, exception.what());
    fail(*part.sequence->request);
  }
}

void Delivery::deliver(const StepPart& part, PartOutput output) {
  Sequence& sequence = *part.sequence;
  Request& request = *sequence.request;
  scheduler_.advance(part, part.rows - part.drafted);
  if (request.job.progress && !request.forked) tell_progress(sequence);
  if (request.wants_prompt_logprobs()) deliver_prompt(part, output.logits);
  if (request.over) return;
  set_logit_range(sequence);
  if (sequence.computed < sequence.length()) return;
  if (sequence.pooled) {
    deliver_pooled(sequence, output.pooled);
    return;
  }
  if (request.job.max_tokens == 0) {
    fork(request);
    for (const auto& sample : request.sequences) finish_sample(*sample, FinishReason::length);
    return;
  }
  if (request.forked) {
    take_as_drafted(part, output);
    return;
  }
  fork(request);
  for (const auto& sample : request.sequences) {
    if (!request.over) take(*sample, output, part.logit_rows - 1, sample->sample);
  }
}

void Delivery::deliver_pooled(Sequence& sequence, std::span<const float> values) {
  Request& request = *sequence.request;
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
    end(request, Outcome::error,
        {500, "internal_error", "", "The model's output for this request is not finite."});
    return;
  }
  request.cached_prompt_tokens += sequence.found_tokens;
  stats_.cached_prompt_tokens += sequence.found_tokens;
  stats_.prompt_tokens += sequence.length() - sequence.found_tokens;
  request.shared->push(PooledVector{sequence.sample, {values.begin(), values.end()}});
  finish_sample(sequence, FinishReason::stop);
}

void Delivery::tell_progress(const Sequence& sequence) {
  const auto& state = *sequence.request->shared;
  sequence.request->shared->push(
      PromptProgress{sequence.prompt_length, sequence.request->cached_prompt_tokens,
                     std::min(sequence.computed, sequence.prompt_length),
                     seconds_between(state.submitted, Clock::now()) - state.queue_seconds});
}

// Row p of the prompt tells how likely prompt token p + 1 was.
void Delivery::deliver_prompt(const StepPart& part, std::span<float> logits) {
  Request& request = *part.sequence->request;
  const std::vector<int>& prompt = request.job.prompt;
  const std::size_t vocabulary = info_.vocab_size;
  if (request.prompt_tokens_sent == 0) {
    PromptToken first;
    first.token = prompt[0];
    request.shared->push(std::move(first));
    request.prompt_tokens_sent = 1;
  }
  for (int row = 0; row < logit_rows(part); ++row) {
    const int position = part.first_logit + row;
    if (position + 1 != request.prompt_tokens_sent || !request.wants_prompt_logprobs()) continue;
    const int token = prompt[position + 1];
    auto score = sampler_.score(logits.subspan(row * vocabulary, vocabulary), token,
                                request.job.prompt_logprobs);
    if (!score) {
      end(request, Outcome::error, score.error());
      return;
    }
    request.shared->push(PromptToken{token, true, score->logprob, std::move(score->top)});
    ++request.prompt_tokens_sent;
  }
}

// The prompt is computed: from here on each sample is a sequence of its own on the same blocks.
void Delivery::fork(Request& request) {
  Sequence& first = *request.sequences.front();
  request.forked = true;
  first.slots = 1;
  stats_.prompt_tokens += first.prompt_length - request.cached_prompt_tokens;
  for (int sample = 1; sample < request.job.samples; ++sample) {
    auto child = std::make_unique<Sequence>();
    child->request = &request;
    child->sample = sample;
    child->age = first.age;
    child->tokens = first.tokens;
    child->prompt_length = first.prompt_length;
    child->most_tokens = first.most_tokens;
    child->counts = first.counts;
    if (first.constraint) child->constraint = first.constraint->fork();
    set_logit_range(*child);
    scheduler_.fork(first, *request.sequences.emplace_back(std::move(child)));
  }
}

// Takes what it would from one step after the other. The next row is of use while what was drawn is
// what that row was computed from; the KV cache of the others is written again later.
void Delivery::take_as_drafted(const StepPart& part, PartOutput output) {
  Sequence& sequence = *part.sequence;
  stats_.drafted_tokens += part.drafted;
  for (int row = 0;; ++row) {
    take(sequence, output, part.logit_rows - part.draws + row, row);
    if (sequence.state == Sequence::State::finished) return;
    const int guess = row < part.drafted ? sequence.draft[row] : part.guess;
    if (guess < 0) return;
    const bool right = sequence.tokens.back() == guess;
    if (!sequence.draft_is_forced) sequence.draft_record.observe(right);
    if (!right || row == part.drafted) return;
    scheduler_.advance(part, 1);
    ++stats_.accepted_tokens;
  }
}

// The token of a row with logits, or of a draw of the part, where the runner draws.
Result<SampledToken> Delivery::token_of(Sequence& sequence, PartOutput output, int row, int draw) {
  if (info_.draws) return draws_.checked(sequence, output.drawn[draw]);
  const std::size_t vocabulary = info_.vocab_size;
  return draws_.draw(sequence, output.logits.subspan(row * vocabulary, vocabulary));
}

void Delivery::take(Sequence& sequence, PartOutput output, int row, int draw) {
  Request& request = *sequence.request;
  const GenerateJob& job = request.job;
  auto drawn = token_of(sequence, output, row, draw);
  if (!drawn) {
    end(request, Outcome::error, drawn.error());
    return;
  }
  const int token = drawn->token;
  if (!job.ignore_eos && std::ranges::count(job.stop_ids, token) > 0) {
    finish_sample(sequence, FinishReason::stop, token);
    return;
  }
  if (sequence.constraint && !sequence.constraint->accept(token)) {
    throw std::logic_error("a token was drawn that the constraint refuses");
  }
  sequence.tokens.push_back(token);
  if (has_penalties(job.sampling)) sequence.counts.add_output(token);
  set_logit_range(sequence);
  ++stats_.generated_tokens;
  request.shared->push(*std::move(drawn));
  if (sequence.constraint && sequence.constraint->terminated()) {
    finish_sample(sequence, FinishReason::stop);
  } else if (sequence.outputs() == job.max_tokens) {
    finish_sample(sequence, FinishReason::length);
  }
}

void Delivery::drop_stopped_samples(Request& request) {
  if (!request.forked) return;
  const std::uint64_t stopped = request.shared->stopped_samples;
  for (const auto& sequence : request.sequences) {
    if (sequence->state == Sequence::State::finished) continue;
    if ((stopped >> sequence->sample & 1) == 0) continue;
    let_go(*sequence, /*failed=*/false);
    ++request.finished_samples;
  }
  if (request.finished_samples == request.job.samples) end(request, Outcome::completed);
}

void Delivery::finish_sample(Sequence& sequence, FinishReason reason, int token) {
  Request& request = *sequence.request;
  let_go(sequence, /*failed=*/false);
  request.shared->push(SampleFinished{sequence.sample, reason, token});
  if (++request.finished_samples == request.samples()) {
    end(request, Outcome::completed);
  }
}

void Delivery::let_go(Sequence& sequence, bool failed) noexcept {
  failed ? scheduler_.discard(sequence) : scheduler_.remove(sequence);
  drafter_.forget(sequence);
}

void Delivery::fail(Request& request) noexcept {
  end(request, Outcome::error, std::move(request.failure));
}

// What the reader of a request whose time is up is told; without memory for the words, the code.
// One that had no turn may have it when it comes again.
Error Delivery::late(const Request& request) const noexcept {
  Error error{504, "timeout", "", ""};
  const auto& state = *request.shared;
  if (!state.begun) {
    const Inbox& inbox = *shared_.inbox;
    error.retry_after_seconds =
        shared_.queue_rate.retry_after(Clock::now(), inbox.queued, inbox.queued_tokens);
  }
  try {
    const double seconds = seconds_between(state.submitted, request.job.deadline);
    const std::string limit = fmt::format("{:.{}f}", seconds, seconds < 10 ? 2 : 0);
    error.message =
        state.begun
            ? fmt::format(
                  "The request did not end within its {} seconds; ask for fewer tokens, or "
                  "for more time.",
                  limit)
            : fmt::format(
                  "The request waited for {} seconds, all the time that it had, and was not "
                  "begun: others are before it; try again later.",
                  limit);
  } catch (const std::bad_alloc&) {
  }
  return error;
}

void Delivery::end_late(Request& request) noexcept {
  end(request, Outcome::timeout, late(request));
}

// Blocks are free and the figures say so before the reader learns of the end, but for those that a
// step in flight still uses. Needs no memory, or the reader might never learn of it.
void Delivery::end(Request& request, Outcome outcome, Error error) noexcept {
  if (request.over) return;
  request.over = true;
  ++ended_;
  for (const auto& sequence : request.sequences) let_go(*sequence, outcome == Outcome::error);
  if (!request.shared->begun) {
    shared_.leave_queue(static_cast<int>(request.job.prompt_tokens()));
  }
  shared_.live.remove(request.shared.get());
  publish_();
  RequestFinished event;
  event.outcome = outcome;
  event.cached_prompt_tokens = request.cached_prompt_tokens;
  event.error = std::move(error);
  request.shared->finish(std::move(event));
}

}  // namespace mlxd
