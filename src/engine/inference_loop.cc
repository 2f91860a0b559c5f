#include "engine/inference_loop.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <stdexcept>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/check.h"

namespace mlxd {
namespace {

using Outcome = RequestFinished::Outcome;

// So often is everything computed again, for want of memory, before a request is ended for it.
constexpr int kMostStartOvers = 3;

SchedulerLimits limits_of(const EngineOptions& options, const RunnerInfo& info) {
  SchedulerLimits limits;
  limits.max_sequences = options.max_running_sequences;
  limits.max_step_tokens = std::max(options.max_step_tokens, options.max_running_sequences);
  const std::size_t prompt_rows = kPromptLogitBytes / (sizeof(float) * info.vocab_size);
  limits.max_logit_rows =
      limits.max_sequences + static_cast<int>(std::max<std::size_t>(prompt_rows, 1));
  limits.block_size = info.block_size;
  return limits;
}

void set_logit_range(Sequence& sequence) {
  const Request& request = *sequence.request;
  sequence.logits_from = request.wants_prompt_logprobs()
                             ? std::max(request.prompt_tokens_sent, 1) - 1
                             : sequence.length() - 1;
  sequence.logits_to = request.job.max_tokens == 0 ? sequence.length() - 1 : sequence.length();
}

}  // namespace

InferenceLoop::InferenceLoop(EngineShared& shared, ModelRunner& runner, int kv_blocks)
    : shared_(shared),
      runner_(runner),
      blocks_(kv_blocks),
      cache_(shared.options.prefix_cache
                 ? std::make_unique<PrefixCache>(blocks_, runner.info().block_size)
                 : nullptr),
      mover_(cache_ && shared.stored_prefixes
                 ? std::make_unique<BlockMover>(*shared.stored_prefixes, runner, blocks_, *cache_)
                 : nullptr),
      scheduler_(limits_of(shared.options, runner.info()), blocks_, cache_.get()),
      pace_(shared.options.target_step_seconds, shared.options.max_step_tokens) {
  stats_.kv_blocks_total = kv_blocks;
  stats_.memory.weights = runner.info().weight_bytes;
  stats_.memory.kv_reserved = static_cast<std::size_t>(kv_blocks) * runner.info().block_bytes;
  publish();
}

void InferenceLoop::run() {
  while (!shared_.stopping) {
    shared_.heartbeat.beat();
    try {
      turn();
    } catch (const std::bad_alloc&) {
      start_over();
    }
  }
}

void InferenceLoop::turn() {
  take_arrivals();
  sweep();
  heed_readers();
  propose_drafts();
  scheduler_.set_step_tokens(pace_.rows(scheduler_.decoding(), scheduler_.waiting()));
  scheduler_.schedule();
  if (scheduler_.parts().empty()) {
    sleep();
    return;
  }
  step();
  scheduler_.finish_step();
  forget_ended();
  if (shared_.options.check_integrity) check_integrity();
  publish();
}

// Whatever was half done: every sequence knows its tokens, and computed again they give the same
// answer.
void InferenceLoop::start_over() noexcept {
  spdlog::error("memory ran out between two steps: {} requests are computed again",
                requests_.size());
  forget_ended();
  scheduler_.reset();
  for (const auto& request : requests_) {
    for (const auto& sequence : request->sequences) {
      if (sequence->state != Sequence::State::finished) scheduler_.restart(*sequence);
    }
  }
  if (++start_overs_ > kMostStartOvers && !requests_.empty()) {
    Request& request = least_entitled();
    spdlog::error("request {}: ended for want of memory", request.job.id);
    fail(request);
  }
  forget_ended();
  std::this_thread::sleep_for(std::chrono::milliseconds(1));  // somebody may give some back
}

// The youngest of those that had begun. Without any the oldest, who could not begin.
Request& InferenceLoop::least_entitled() const {
  const auto had_begun = [](const auto& request) {
    return std::ranges::any_of(request->sequences, &Sequence::preempted);
  };
  const auto youngest = std::ranges::find_if(requests_.rbegin(), requests_.rend(), had_begun);
  return youngest != requests_.rend() ? **youngest : *requests_.front();
}

void InferenceLoop::take_arrivals() {
  for (auto& arrived : shared_.inbox->arrivals.drain()) {
    Request& request = *arrived;
    try {
      begin(arrived);
    } catch (const std::bad_alloc&) {
      spdlog::error("request {}: no memory to begin it", request.job.id);
      fail(request);
    }
  }
  // What was read from disk for them was handed over before they were.
  if (mover_) mover_->enter_fetched();
}

void InferenceLoop::begin(std::unique_ptr<Request>& arrived) {
  Request& request = *requests_.emplace_back(std::move(arrived));
  if (request.job.max_tokens == 0 && request.job.prompt_logprobs < 0) {  // nothing to compute
    note_begun(request);
    for (int sample = 0; sample < request.job.samples; ++sample) {
      request.shared->push(SampleFinished{sample, FinishReason::length});
    }
    end(request, Outcome::completed);
    return;
  }
  auto sequence = std::make_unique<Sequence>();
  sequence->request = &request;
  sequence->age = arrivals_++;
  sequence->tokens = request.job.prompt;
  sequence->prompt_length = sequence->length();
  sequence->slots = request.job.samples;
  sequence->priority = request.job.priority;
  sequence->caller = request.job.caller;
  sequence->cache_salt = request.job.cache_salt;
  if (has_penalties(request.job.sampling)) sequence->counts.add_prompt(sequence->tokens);
  set_logit_range(*sequence);
  scheduler_.add(*request.sequences.emplace_back(std::move(sequence)));
}

// Between two steps: takes out what was cancelled, is late, or was ended by another thread.
void InferenceLoop::sweep() {
  const TimePoint now = Clock::now();
  for (const auto& request : requests_) {
    const auto& state = *request->shared;
    if (state.ended) {
      end(*request, Outcome::cancelled);  // its reader knows why; what it computed is good
    } else if (state.cancelled) {
      end(*request, Outcome::cancelled);
    } else if (now >= request->job.deadline) {
      end(*request, Outcome::timeout,
          {504, "timeout", "",
           fmt::format(
               "The request did not end within its {:.3g} seconds; ask for fewer tokens, or "
               "for more time.",
               seconds_between(state.submitted, request->job.deadline))});
    } else if (state.stopped_samples != 0) {
      drop_stopped_samples(*request);
    }
  }
  forget_ended();
}

void InferenceLoop::drop_stopped_samples(Request& request) {
  if (!request.forked) return;
  const std::uint64_t stopped = request.shared->stopped_samples;
  for (const auto& sequence : request.sequences) {
    if (sequence->state == Sequence::State::finished) continue;
    if ((stopped >> sequence->sample & 1) == 0) continue;
    scheduler_.remove(*sequence);
    ++request.finished_samples;
  }
  if (request.finished_samples == request.job.samples) end(request, Outcome::completed);
}

// A reader who is behind pauses its sequences. A step may overshoot the channel's capacity by what
// one step makes of one request: two events a sample, and the last.
void InferenceLoop::heed_readers() {
  for (const auto& request : requests_) {
    const int room = static_cast<int>(request->shared->events.room());
    for (const auto& sequence : request->sequences) {
      sequence->paused = room == 0;
      sequence->prompt_logit_limit = room;
    }
  }
}

// A guess more than the rows it gets is made where there is any, and at least one: comparing it
// with what is drawn costs nothing and keeps the record of a sequence that does not draft.
void InferenceLoop::propose_drafts() {
  const int most = shared_.options.max_draft_tokens;
  if (most <= 0 || !runner_.info().rows_are_independent) return;
  const auto decodes = [](const Sequence* sequence) {
    return sequence->request->forked && !sequence->paused && sequence->decoding();
  };
  const auto decoding = static_cast<int>(std::ranges::count_if(scheduler_.running(), decodes));
  for (Sequence* sequence : scheduler_.running()) {
    sequence->draft_rows = 0;
    if (!decodes(sequence)) continue;
    const Request& request = *sequence->request;
    // An event for each row: all samples' fit the channel, and none is beyond max_tokens.
    const int room = static_cast<int>(request.shared->events.room()) / request.job.samples;
    const int useful = std::min(room, request.job.max_tokens - sequence->outputs()) - 1;
    const int rows =
        draft_length(sequence->draft_record.acceptance(), decoding, std::clamp(useful, 0, most));
    sequence->drafter.propose(sequence->tokens, rows + 1, sequence->draft);
    sequence->draft_rows = std::min(rows, static_cast<int>(sequence->draft.size()));
  }
}

void InferenceLoop::sleep() {
  forget_ended();
  if (shared_.options.check_integrity) check_integrity();
#ifndef NDEBUG
  check_integrity();
#endif
  publish();
  TimePoint until = TimePoint::max();
  for (const auto& request : requests_) until = std::min(until, request->job.deadline);
  shared_.heartbeat.rest();
  shared_.inbox->arrivals.wait_until(until);
}

void InferenceLoop::step() {
  const TimePoint started = Clock::now();
  int drafted = 0, decoding = 0;
  for (const StepPart& part : scheduler_.parts()) {
    note_begun(*part.sequence->request);
    drafted += part.drafted;
    decoding += part.sequence->decoding();
  }
  if (run_batch(scheduler_.batch())) {
    std::span<float> logits(output_.logits);
    const std::size_t vocabulary = runner_.info().vocab_size;
    for (const StepPart& part : scheduler_.parts()) {
      deliver_safely(part, logits.first(part.logit_rows * vocabulary));
      logits = logits.subspan(part.logit_rows * vocabulary);
    }
  } else {
    step_one_by_one();
  }
  ++stats_.steps;
  const double seconds = seconds_between(started, Clock::now());
  const int rows = scheduler_.batch().rows();
  pace_.observe(seconds, rows - drafted, decoding);
  if (shared_.observer != nullptr) {
    shared_.observer->on_step(seconds, rows, static_cast<int>(scheduler_.parts().size()));
  }
}

// After a step that failed. Each sequence gets one more try, on its own and without a draft: who
// fails then is ended, so that no failure is repeated for ever.
void InferenceLoop::step_one_by_one() {
  const bool alone = scheduler_.parts().size() == 1 && scheduler_.parts()[0].drafted == 0;
  for (const StepPart& planned : scheduler_.parts()) {
    const StepPart part = planned.without_draft();
    Request& request = *part.sequence->request;
    if (request.over) continue;
    shared_.heartbeat.beat();
    scheduler_.fill_single(part, single_);
    if (!alone && run_batch(single_)) {
      deliver_safely(part, output_.logits);
    } else {
      fail(request);
    }
  }
}

bool InferenceLoop::run_batch(const Batch& batch) {
  try {
    const std::size_t logits = batch.logit_rows.size() * runner_.info().vocab_size;
    output_.logits.reserve(logits);  // exactly: growing by itself a vector takes up to twice that
    runner_.step(batch, output_);
    if (output_.logits.size() != logits) {
      throw std::logic_error("the backend returned another number of logits than was asked for");
    }
    return true;
  } catch (const std::exception& exception) {
    spdlog::error("a step of {} rows of {} sequences failed: {}", batch.rows(),
                  batch.sequences.size(), exception.what());
  } catch (...) {
    spdlog::error("a step of {} rows failed with an unknown exception", batch.rows());
  }
  return false;
}

void InferenceLoop::deliver_safely(const StepPart& part, std::span<float> logits) {
  if (part.sequence->state == Sequence::State::finished) return;
  try {
    deliver(part, logits);
  } catch (const std::exception& exception) {
    spdlog::error("request {}: {}", part.sequence->request->job.id, exception.what());
    fail(*part.sequence->request);
  }
}

void InferenceLoop::deliver(const StepPart& part, std::span<float> logits) {
  Sequence& sequence = *part.sequence;
  Request& request = *sequence.request;
  sequence.computed += part.rows - part.drafted;
  if (request.wants_prompt_logprobs()) deliver_prompt(part, logits);
  if (request.over) return;
  set_logit_range(sequence);
  if (sequence.computed < sequence.length()) return;
  if (request.job.max_tokens == 0) {
    fork(request);
    for (const auto& sample : request.sequences) finish_sample(*sample, FinishReason::length);
    return;
  }
  if (request.forked) {
    draw_as_drafted(part, logits);
    return;
  }
  const std::span<float> last = logits.last(runner_.info().vocab_size);
  fork(request);
  for (const auto& sample : request.sequences) {
    if (!request.over) draw(*sample, last);
  }
}

// Row p of the prompt tells how likely prompt token p + 1 was.
void InferenceLoop::deliver_prompt(const StepPart& part, std::span<float> logits) {
  Request& request = *part.sequence->request;
  const std::vector<int>& prompt = request.job.prompt;
  const std::size_t vocabulary = runner_.info().vocab_size;
  if (request.prompt_tokens_sent == 0) {
    PromptToken first;
    first.token = prompt[0];
    request.shared->push(std::move(first));
    request.prompt_tokens_sent = 1;
  }
  for (int row = 0; row < part.logit_rows; ++row) {
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
void InferenceLoop::fork(Request& request) {
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
    child->counts = first.counts;
    set_logit_range(*child);
    scheduler_.fork(first, *request.sequences.emplace_back(std::move(child)));
  }
}

// Draws as it would from one step after the other. The next row is of use while what was drawn is
// what that row was computed from; the KV cache of the others is written again later.
void InferenceLoop::draw_as_drafted(const StepPart& part, std::span<float> logits) {
  Sequence& sequence = *part.sequence;
  const std::size_t vocabulary = runner_.info().vocab_size;
  stats_.drafted_tokens += part.drafted;
  for (int row = 0;; ++row) {
    draw(sequence, logits.subspan(row * vocabulary, vocabulary));
    if (sequence.state == Sequence::State::finished) return;
    if (row == static_cast<int>(sequence.draft.size())) return;
    const bool right = sequence.tokens.back() == sequence.draft[row];
    sequence.draft_record.observe(right);
    if (!right || row == part.drafted) return;
    ++sequence.computed;
    ++stats_.accepted_tokens;
  }
}

void InferenceLoop::draw(Sequence& sequence, std::span<float> logits) {
  Request& request = *sequence.request;
  const GenerateJob& job = request.job;
  Sampler::Request wanted{.params = &job.sampling, .counts = &sequence.counts};
  if (!job.ignore_eos && sequence.outputs() < job.min_tokens) wanted.forbidden = job.stop_ids;
  wanted.sample = sequence.sample;
  wanted.index = sequence.outputs();
  auto drawn = sampler_.draw(logits, wanted);
  if (!drawn) {
    end(request, Outcome::error, drawn.error());
    return;
  }
  const int token = drawn->token;
  if (!job.ignore_eos && std::ranges::count(job.stop_ids, token) > 0) {
    finish_sample(sequence, FinishReason::stop);
    return;
  }
  sequence.tokens.push_back(token);
  if (has_penalties(job.sampling)) sequence.counts.add_output(token);
  set_logit_range(sequence);
  ++stats_.generated_tokens;
  request.shared->push(*std::move(drawn));
  if (sequence.outputs() == job.max_tokens) finish_sample(sequence, FinishReason::length);
}

void InferenceLoop::note_begun(Request& request) {
  auto& state = *request.shared;
  if (state.begun) return;
  const TimePoint now = Clock::now();
  state.queue_seconds = seconds_between(state.submitted, now);
  state.begun = true;
  if (!request.sequences.empty()) {
    request.cached_prompt_tokens = request.sequences.front()->found_tokens;
    stats_.cached_prompt_tokens += request.cached_prompt_tokens;
  }
  const auto tokens = static_cast<int>(request.job.prompt.size());
  shared_.queue_rate.left(now, tokens, shared_.leave_queue(tokens));
}

void InferenceLoop::finish_sample(Sequence& sequence, FinishReason reason) {
  Request& request = *sequence.request;
  scheduler_.remove(sequence);
  request.shared->push(SampleFinished{sequence.sample, reason});
  if (++request.finished_samples == request.job.samples) {
    end(request, Outcome::completed);
  }
}

void InferenceLoop::fail(Request& request) noexcept {
  end(request, Outcome::error, std::move(request.failure));
}

// Blocks are free and the figures say so before the reader learns of the end. Needs no memory, or
// the reader might never learn of it.
void InferenceLoop::end(Request& request, Outcome outcome, Error error) noexcept {
  if (request.over) return;
  request.over = true;
  start_overs_ = 0;
  for (const auto& sequence : request.sequences) {
    outcome == Outcome::error ? scheduler_.discard(*sequence) : scheduler_.remove(*sequence);
  }
  if (!request.shared->begun) shared_.leave_queue(static_cast<int>(request.job.prompt.size()));
  shared_.live.remove(request.shared.get());
  publish();
  RequestFinished event;
  event.outcome = outcome;
  event.cached_prompt_tokens = request.cached_prompt_tokens;
  event.error = std::move(error);
  request.shared->finish(std::move(event));
}

void InferenceLoop::forget_ended() {
  std::erase_if(requests_, [](const auto& request) { return request->over; });
}

void InferenceLoop::publish() {
  stats_.kv_blocks_used = blocks_.used();
  stats_.kv_blocks_cached = blocks_.idle();
  stats_.memory.kv_cache =
      static_cast<std::size_t>(blocks_.used() + blocks_.idle()) * runner_.info().block_bytes;
  stats_.memory.buffers =
      runner_.buffer_bytes() + output_.logits.capacity() * sizeof(output_.logits[0]);
  stats_.running_sequences = static_cast<int>(scheduler_.running().size());
  stats_.preemptions = scheduler_.preemptions();
  stats_.preempted_sequences = scheduler_.preempted();
  stats_.paused_sequences = 0;
  for (const Sequence* sequence : scheduler_.running()) stats_.paused_sequences += sequence->paused;
  std::lock_guard lock(shared_.stats_mutex);
  shared_.stats = stats_;
}

void InferenceLoop::check_integrity() const {
  scheduler_.check_integrity();
  std::size_t unfinished = 0;
  for (const auto& request : requests_) {
    check(!request->over, "an ended request is forgotten");
    for (const auto& sequence : request->sequences) {
      unfinished += sequence->state != Sequence::State::finished;
    }
  }
  check(unfinished == scheduler_.running().size() + scheduler_.waiting(),
        "the scheduler knows the unfinished sequences and no others");
  if (mover_) mover_->check_integrity();
  check(!requests_.empty() || blocks_.used() == 0, "without requests every block is free or idle");
}

}  // namespace mlxd
