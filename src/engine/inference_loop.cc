#include "engine/inference_loop.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <stdexcept>
#include <thread>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/check.h"
#include "engine/ngram_drafter.h"

namespace mlxd {
namespace {

using Outcome = RequestFinished::Outcome;

// Between two pieces of states for the disk, when there is nothing else to do.
constexpr std::chrono::milliseconds kWriterPause{5};

SchedulerLimits limits_of(const EngineOptions& options, const RunnerInfo& info,
                          const CachePlan& plan) {
  SchedulerLimits limits;
  limits.max_sequences = plan.max_sequences;
  limits.max_step_tokens = std::max(options.max_step_tokens, limits.max_sequences);
  limits.whole = !info.causal;
  if (limits.whole) limits.max_step_tokens = std::max(limits.max_step_tokens, info.context_length);
  const std::size_t prompt_rows = kPromptLogitBytes / (sizeof(float) * info.vocab_size);
  limits.max_logit_rows =
      limits.max_sequences + static_cast<int>(std::max<std::size_t>(prompt_rows, 1));
  limits.block_size = info.block_size;
  limits.draws = info.draws;
  limits.roles = info.has_roles;
  limits.snapshot_blocks = plan.snapshot_blocks;
  return limits;
}

}  // namespace

InferenceLoop::InferenceLoop(EngineShared& shared, ModelRunner& runner, const CachePlan& plan)
    : shared_(shared),
      runner_(runner),
      blocks_(runner.info().kv, runner.info().block_size, plan),
      states_(runner.info().state_bytes > 0 ? std::make_unique<StatePool>(plan.size.states)
                                            : nullptr),
      cache_(shared.options.prefix_cache && runner.info().causal
                 ? std::make_unique<PrefixGroups>(blocks_, runner.info().block_size, states_.get())
                 : nullptr),
      mover_(cache_ && shared.stored_prefixes
                 ? std::make_unique<BlockMover>(
                       *shared.stored_prefixes, runner, blocks_, *cache_,
                       plan.size.states > plan.max_sequences + 1 ? states_.get() : nullptr)
                 : nullptr),
      scheduler_(limits_of(shared.options, runner.info(), plan), blocks_, cache_.get(),
                 states_.get()),
      drafter_(std::make_unique<NgramDrafter>()),
      delivery_(shared, runner.info(), scheduler_, *drafter_, stats_, [this] { publish(); }),
      pace_(shared.options.target_step_seconds, shared.options.max_step_tokens) {
  stats_.kv_blocks_total = blocks_.total();
  stats_.states_total = plan.size.states;
  stats_.memory.weights = runner.info().weight_bytes;
  stats_.memory.kv_reserved = plan.size.bytes(runner.info());
  publish();
}

void InferenceLoop::run() {
  while (!shared_.stopping) {
    shared_.heartbeat.beat();
    try {
      turn();
    } catch (const std::bad_alloc&) {
      start_over("memory ran out between two steps");
    }
  }
}

// Where the runner allows it, one step is in flight from turn to turn, and the next one is launched
// behind it before what it gave is delivered. The next one's tokens are asked for after that: what
// may be drawn depends on the token before.
void InferenceLoop::turn() {
  take_arrivals();
  sweep();
  heed_readers();
  const bool launched = launch_next();
  if (in_flight_ == 0) {
    sleep();
    return;
  }
  if (in_flight_ == 2) complete_oldest();
  if (launched && in_flight_ > 0) ask_newest();
  const bool goes_on = launched && runner_.info().ahead > 0 && !flights_[0].failed;
  if (in_flight_ > 0 && !goes_on) complete_oldest();
  forget_ended();
  if (shared_.options.check_integrity) check_integrity();
  publish();
}

void InferenceLoop::take_arrivals() {
  for (auto& arrived : shared_.inbox->arrivals.drain()) {
    Request& request = *arrived;
    try {
      requests_.push_back(std::move(arrived));
      delivery_.begin(request, arrivals_++);
    } catch (const std::exception& exception) {
      spdlog::error("request {} cannot begin: {}", request.job.id, exception.what());
      delivery_.fail(request);
    }
  }
  // What was read from disk for them was handed over before they were.
  if (mover_) {
    mover_->enter_fetched();
    mover_->go_on();
  }
}

// Takes out what was cancelled, is late, or was ended by another thread.
void InferenceLoop::sweep() {
  const TimePoint now = Clock::now();
  if (cache_) cache_->set_now(now);
  for (const auto& request : requests_) {
    const auto& state = *request->shared;
    if (request->over) continue;  // a step in flight has rows of it
    if (state.ended) {
      delivery_.end(*request, Outcome::cancelled);  // its reader knows why; it computed good things
    } else if (state.cancelled) {
      delivery_.end(*request, Outcome::cancelled);
    } else if (now >= request->job.deadline) {
      delivery_.end_late(*request);
    } else if (state.stopped_samples != 0) {
      delivery_.drop_stopped_samples(*request);
    }
  }
  forget_ended();
}

// A reader who is behind pauses its sequences. A step may overshoot the channel's capacity by what
// one step makes of one request: two events a sample, its prompt's progress, and the last. Of a
// step in flight they are counted already.
void InferenceLoop::heed_readers() {
  for (const auto& request : requests_) {
    int room = static_cast<int>(request->shared->events.room());
    for (const auto& sequence : request->sequences) room -= sequence->tokens_ahead;
    for (const auto& sequence : request->sequences) {
      sequence->paused = room <= 0;
      sequence->prompt_logit_limit = std::max(room, 0);
    }
  }
}

// What a constraint leaves no choice about needs no guess, and costs next to nothing: its rows are
// as certain as the one before them. What a constraint throws it will throw again where that is
// its request's.
bool InferenceLoop::draft_forced(Sequence& sequence, int most) {
  if (!sequence.constraint || sequence.tokens_ahead > 0 || most == 0) return false;
  try {
    sequence.constraint->add_forced(static_cast<std::size_t>(most), sequence.draft);
  } catch (const std::exception&) {
    sequence.draft.clear();
  }
  sequence.draft_is_forced = !sequence.draft.empty();
  if (sequence.draft_is_forced) sequence.draft_rows = static_cast<int>(sequence.draft.size());
  return sequence.draft_is_forced;
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
  asks_.clear();
  for (Sequence* sequence : scheduler_.running()) {
    sequence->draft_rows = 0;
    sequence->draft.clear();
    sequence->draft_is_forced = false;
    if (!decodes(sequence)) continue;
    const Request& request = *sequence->request;
    // All draws of a step are asked for together, with one count of the tokens before for each.
    if (runner_.info().draws && has_penalties(request.job.sampling)) continue;
    // An event for each row: all samples' fit the channel, and none is beyond max_tokens.
    const int room = static_cast<int>(request.shared->events.room()) / request.job.samples;
    const int outputs = sequence->outputs() + sequence->tokens_ahead;
    const int useful =
        std::min(room - sequence->tokens_ahead, request.job.max_tokens - outputs) - 1;
    const int rows = std::clamp(useful, 0, most);
    if (draft_forced(*sequence, rows)) continue;
    sequence->draft_rows =
        draft_length(sequence->draft_record.acceptance(), decoding, rows, runner_.info().row_cost);
    asks_.push_back({sequence, sequence->tokens, sequence->tokens_ahead, sequence->draft_rows + 1,
                     &sequence->draft});
  }
  drafter_->propose(asks_);
  for (Sequence* sequence : scheduler_.running()) {
    sequence->draft_rows = std::min(sequence->draft_rows, static_cast<int>(sequence->draft.size()));
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
  if (shared_.failing) {
    if (Clock::now() >= next_probe_) probe();
    until = next_probe_;
  }
  for (const auto& request : requests_) until = std::min(until, request->job.deadline);
  // The writer may have room again.
  if (mover_ && mover_->has_more()) until = std::min(until, Clock::now() + kWriterPause);
  shared_.heartbeat.rest();
  shared_.inbox->arrivals.wait_until(until);
}

// Whether there was a step to launch. With one in flight it is launched behind that, unless what
// it leads to has to be known first.
bool InferenceLoop::launch_next() {
  const bool ahead = in_flight_ > 0;
  if (ahead && !scheduler_.can_plan_ahead()) return false;
  propose_drafts();
  scheduler_.set_step_tokens(pace_.rows(scheduler_.decoding(), scheduler_.waiting()));
  Flight flight;
  flight.started = Clock::now();
  flight.decoding = 0;
  scheduler_.schedule(ahead);
  if (scheduler_.parts().empty()) return false;
  for (const StepPart& part : scheduler_.parts()) {
    delivery_.note_begun(*part.sequence->request);
    flight.drafted += part.drafted;
    flight.decoding += part.rows == part.draws;
  }
  const Batch& batch = scheduler_.batch();
  flight.rows = batch.rows();
  flight.sequences = static_cast<int>(batch.sequences.size());
  flight.launched = attempt([&] {
    reserve_output(batch);
    runner_.launch(batch);
  });
  flight.failed = !flight.launched;
  flights_[in_flight_++] = flight;
  return true;
}

// A runner that draws is told what to draw while the step runs.
void InferenceLoop::ask_newest() {
  Flight& flight = flights_[in_flight_ - 1];
  if (flight.failed || !runner_.info().draws) return;
  flight.failed = !attempt([&] { runner_.draw(delivery_.ask(scheduler_.newest().parts)); });
}

// Waits for the oldest step and delivers what it gave, or repeats it.
void InferenceLoop::complete_oldest() {
  const Flight flight = flights_[0];
  PlannedStep& step = scheduler_.oldest();
  bool worked = false;
  if (flight.launched) {
    flights_[0].launched = false;
    worked = wait(flight.failed ? std::span<const StepPart>() : step.parts) && !flight.failed;
  }
  scheduler_.land(step);
  if (worked) {
    note_success();
    delivery_.deliver(step.parts, output_);
  } else {
    if (flight.launched) abandon_behind();
    if (!cache_lost_) repeat_one_by_one(step, flight.behind);
    if (cache_lost_) {
      start_over("the device lost its cache");
      note_failure();
      return;
    }
  }
  flights_[0] = flights_[1];
  --in_flight_;
  ++stats_.steps;
  const TimePoint now = Clock::now();
  const double seconds = seconds_between(std::max(flight.started, last_over_), now);
  last_over_ = now;
  pace_.observe(seconds, flight.rows - flight.drafted, flight.decoding);
  if (shared_.observer != nullptr) {
    shared_.observer->on_step(seconds, flight.rows, flight.sequences);
  }
  scheduler_.finish_step();
}

// The output holds what these parts want of the step; of none, it does not matter.
bool InferenceLoop::wait(std::span<const StepPart> parts) {
  return attempt([&] {
    runner_.wait(output_);
    if (!parts.empty() && !delivery_.fits(output_, parts)) {
      throw std::logic_error("the backend returned another number of results than was asked for");
    }
  });
}

// Exactly what the step gives: growing by itself a vector takes up to twice that.
void InferenceLoop::reserve_output(const Batch& batch) {
  const auto rows = std::ranges::count(batch.wanted, RowOutput::logits, &WantedRow::output);
  output_.logits.reserve(static_cast<std::size_t>(rows) * runner_.info().vocab_size);
}

void InferenceLoop::forget_ended() {
  std::erase_if(requests_,
                [](const auto& request) { return request->over && !request->in_flight(); });
}

void InferenceLoop::publish() {
  stats_.kv_blocks_used = blocks_.used();
  stats_.kv_blocks_cached = blocks_.idle();
  stats_.kv_blocks_held = cache_ ? cache_->held() : 0;
  stats_.memory.kv_cache = blocks_.bytes_kept(runner_.info().kv);
  if (states_) {
    stats_.states_used = states_->used();
    stats_.states_cached = states_->idle();
    const auto kept = static_cast<std::size_t>(states_->used() + states_->idle());
    stats_.memory.states = kept * runner_.info().state_bytes;
  }
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
  const int moved = mover_ ? mover_->slot() : -1;
  scheduler_.check_integrity(moved);
  std::size_t unfinished = 0;
  for (const auto& request : requests_) {
    check(!request->over || request->in_flight(), "an ended request is forgotten");
    for (const auto& sequence : request->sequences) {
      unfinished += sequence->state != Sequence::State::finished;
    }
  }
  check(unfinished == scheduler_.running().size() + scheduler_.waiting(),
        "the scheduler knows the unfinished sequences and no others");
  if (mover_) mover_->check_integrity();
  check(!requests_.empty() || blocks_.used() == 0, "without requests every block is free or idle");
  check(!requests_.empty() || !states_ || states_->used() == (moved >= 0),
        "without requests every slot is free or idle");
}

}  // namespace mlxd
