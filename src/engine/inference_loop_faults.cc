// What InferenceLoop does when something fails: in a step, between two steps, or again and again.
#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <thread>

#include <spdlog/spdlog.h>

#include "engine/inference_loop.h"

namespace mlxd {
namespace {

// So often is everything computed again, for want of memory, before a request is ended for it.
constexpr int kMostStartOvers = 3;

}  // namespace

void InferenceLoop::note_exception() noexcept {
  try {
    throw;
  } catch (const CacheLost& exception) {
    spdlog::error("a step failed, and the cache is lost: {}", exception.what());
    cache_lost_ = true;
  } catch (const std::exception& exception) {
    spdlog::error("a step failed: {}", exception.what());
  } catch (...) {
    spdlog::error("a step failed with an unknown exception");
  }
}

// Whatever was half done: every sequence knows its tokens, and computed again they give the same
// answer.
void InferenceLoop::start_over(const char* why) noexcept {
  spdlog::error("{}: {} requests are computed again", why, requests_.size());
  for (; in_flight_ > 0; --in_flight_) {
    const Flight& flight = flights_[in_flight_ - 1];
    if (flight.launched) attempt([&] { runner_.wait(output_); });
  }
  cache_lost_ = false;
  scheduler_.reset();
  if (mover_) mover_->reset();
  forget_ended();
  for (const auto& request : requests_) {
    for (const auto& sequence : request->sequences) {
      if (sequence->state != Sequence::State::finished) scheduler_.restart(*sequence);
    }
  }
  if (delivery_.ended() != ended_at_start_over_) start_overs_ = 0;
  if (++start_overs_ > kMostStartOvers && !requests_.empty()) {
    Request& request = least_entitled();
    spdlog::error("request {}: ended, since computing all again did not help", request.job.id);
    delivery_.fail(request);
  }
  ended_at_start_over_ = delivery_.ended();
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

// A step that was launched behind one that failed: what it computed is of no use either.
void InferenceLoop::abandon_behind() {
  if (in_flight_ < 2) return;
  Flight& flight = flights_[1];
  if (flight.launched) wait({});
  flight.launched = false;
  flight.failed = flight.behind = true;
  scheduler_.land(scheduler_.newest());
}

// After a step that failed. Each sequence gets one more try, on its own and without a draft: who
// fails then is ended, so that no failure is repeated for ever. Who has lost its state is computed
// from its tokens, and keeps the state before each step from then on.
void InferenceLoop::repeat_one_by_one(PlannedStep& step, bool behind) {
  const bool alone = !behind && step.parts.size() == 1 && step.parts[0].drafted == 0;
  for (const StepPart& planned : step.parts) {
    if (planned.sequence->state != Sequence::State::running) continue;
    shared_.heartbeat.beat();
    if (!alone && planned.in_place()) {
      scheduler_.recompute(*planned.sequence);
      continue;
    }
    if (!alone && run_single(step, planned.without_draft())) continue;
    if (cache_lost_) return;
    delivery_.fail(*planned.sequence->request);
    note_failure();
  }
}

bool InferenceLoop::run_single(PlannedStep& step, const StepPart& part) {
  std::array<StepPart, 1> parts{part};
  const Batch& batch = scheduler_.single(step, part);
  bool launched = false;
  const bool asked = attempt([&] {
    reserve_output(batch);
    runner_.launch(batch);
    launched = true;
    if (runner_.info().draws) runner_.draw(delivery_.ask(parts));
  });
  if (!launched || !wait(asked ? std::span<const StepPart>(parts) : std::span<const StepPart>()) ||
      !asked) {
    return false;
  }
  note_success();
  delivery_.deliver(parts, output_);
  return true;
}

void InferenceLoop::note_success() {
  failures_ = 0;
  if (!shared_.failing) return;
  spdlog::info("the model computes again");
  shared_.failing = false;
}

// A request that fails on its own, or several such, do not make the engine unhealthy: a probe,
// which is nobody's, decides.
void InferenceLoop::note_failure() {
  if (++failures_ < kMostFailures || shared_.failing) return;
  if (probe()) return;
  spdlog::critical(
      "{} steps in a row have failed, and so did one of a single token: no requests "
      "are taken until one works",
      failures_);
  shared_.failing = true;
}

// A step of one token in a free block of every KV group, while none is in flight. True as well when
// there is no block: those who hold them will tell.
bool InferenceLoop::probe() {
  next_probe_ = after_seconds(Clock::now(), kProbeSeconds);
  BlockTables tables;
  if (blocks_.room(tables) < 1 || !blocks_.allocate(tables, 1)) return true;
  blocks_.cover(tables, 1);
  probe_ = Batch{};
  probe_.tokens = probe_.positions = {0};
  BatchSequence row{.first_row = 0, .query_length = 1, .context_length = 1};
  for (int group = 0; group < blocks_.kv_groups(); ++group) row.blocks[group] = tables.of(group);
  probe_.sequences.push_back(row);
  probe_.wanted = {{0, runner_.info().causal ? RowOutput::logits : RowOutput::pooled}};
  shared_.heartbeat.beat();
  const bool works = attempt([&] { runner_.step(probe_, output_); });
  blocks_.release(tables);
  if (works) note_success();
  return works;
}

}  // namespace mlxd
