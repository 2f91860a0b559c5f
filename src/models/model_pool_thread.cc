// The work of the pool's thread: loading, letting go, and answering those who wait.
#include <chrono>
#include <exception>
#include <new>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/system_memory.h"
#include "models/model_pool_state.h"

namespace mlxd {
namespace {

// For the pool's thread, whose answers always arrive: without memory for its words an error is told
// by its code.
template <class MakeError>
Error spelled_out(MakeError make_error) noexcept {
  try {
    return make_error();
  } catch (const std::bad_alloc&) {
    return {.status = 503,
            .code = "out_of_memory",
            .param = {},
            .message = {},
            .retry_after_seconds = kModelRetrySeconds};
  }
}

std::string words_of(const std::exception& error) noexcept {
  try {
    return error.what();
  } catch (const std::bad_alloc&) {
    return "out of memory";
  }
}

// Waits for the step of a request that was cancelled. False: it hangs.
bool comes_to_rest(const Engine& engine) {
  while (engine.stats().heartbeat_age_seconds > 0) {
    if (hangs(engine)) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Not to be tried again: it is so until somebody starts the server with other settings.
Error too_large(const PooledModel& model, const MemoryBook& book) {
  const bool alone = model.bytes > book.bound();
  return {.status = 503,
          .code = "model_too_large",
          .param = "model",
          .message = fmt::format(
              "{} takes {} MiB, more than {}; serve it with a smaller --context, or with fewer "
              "models beside it that are always loaded.",
              model.model.id, model.bytes >> 20,
              alone ? fmt::format("the {} MiB that there are for models", book.bound() >> 20)
                    : "is left beside the models that stay loaded"),
          .retry_after_seconds = 0};
}

}  // namespace

bool hangs(const Engine& engine) {
  const EngineStats stats = engine.stats();
  return !stats.healthy && stats.heartbeat_age_seconds > 1;  // not one whose steps merely fail
}

void ModelPool::State::run() {
  Lock lock(mutex_);
  while (!stopping_) {
    bool more = true;
    try {
      more = turn(lock);
    } catch (const std::bad_alloc&) {
      // What was asked is still written down: it is tried again when others have given some back.
      if (!lock.owns_lock()) lock.lock();
      changed_.wait_for(lock, std::chrono::milliseconds(10));
    }
    if (more || stopping_) continue;
    const TimePoint deadline = next_deadline();
    if (deadline == TimePoint::max()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, deadline);
    }
  }
  for (const auto& entry : entries_) {
    while (!entry->asks.empty()) refuse(*entry, 0, spelled_out(server_stopping), lock);
    while (!entry->dismissals.empty()) {
      tell_gone(*entry, spelled_out(server_stopping), lock);
    }
  }
}

// One thing that can be done now; false when there is none.
bool ModelPool::State::turn(Lock& lock) {
  if (refuse_overdue(lock) || let_go_as_asked(lock) || let_idle_one_go(lock)) return true;
  Entry* first = nullptr;
  for (const auto& entry : entries_) {
    entry->leaving = false;
    if (entry->asks.empty()) continue;
    if (first == nullptr || entry->asks.front().number < first->asks.front().number) {
      first = entry.get();
    }
  }
  if (first == nullptr) return false;
  if (first->may_be_leased()) {
    answer(*first, lock);
    return true;
  }
  if (make_room_for(*first, lock)) return true;
  // It waits for leases to end. Who asked for a model that is ready and need not leave does not.
  for (const auto& entry : entries_) {
    if (entry->asks.empty() || !entry->may_be_leased()) continue;
    answer(*entry, lock);
    return true;
  }
  return false;
}

TimePoint ModelPool::State::next_deadline() const {
  TimePoint first = TimePoint::max();
  for (const auto& entry : entries_) {
    for (const Ask& ask : entry->asks) first = std::min(first, ask.deadline);
    first = std::min(first, idle_until(*entry));
    // A step that ends after all tells nobody.
    if ((times_.idle_seconds > 0 || entry->stays) && entry->is_stuck()) {
      first = std::min(first, after_seconds(Clock::now(), 1));
    }
  }
  return first;
}

// Answers one who wants a model gone, once it is or if it cannot go.
bool ModelPool::State::let_go_as_asked(Lock& lock) {
  for (const auto& entry : entries_) {
    if (entry->dismissals.empty()) continue;
    if (entry->uses > 0) {
      tell_gone(*entry, spelled_out([&] {
        return Error{
            .status = 409,
            .code = "model_in_use",
            .param = "model",
            .message = fmt::format("{} is used by {} requests now; unload it when they are done.",
                                   entry->pooled.model.id, entry->uses)};
      }),
                lock);
      return true;
    }
    if (entry->state == ModelState::ready) {
      if (entry->leases > 0) continue;  // somebody looks at it, for a moment
      if (!unload(*entry, lock)) {
        tell_gone(*entry, spelled_out([&] {
          return model_unavailable(
              "model_hung", fmt::format("A step of {} does not end, and what it holds cannot be "
                                        "let go; start the server again.",
                                        entry->pooled.model.id));
        }),
                  lock);
        return true;
      }
    }
    tell_gone(*entry, {}, lock);
    return true;
  }
  return false;
}

void ModelPool::State::tell_gone(Entry& entry, Result<void> result, Lock& lock) {
  Gone done = std::move(entry.dismissals.front());
  entry.dismissals.erase(entry.dismissals.begin());
  lock.unlock();
  done(std::move(result));
  done = nullptr;
  lock.lock();
}

// When a model that nobody uses has stayed for long enough; never for one that is to stay.
TimePoint ModelPool::State::idle_until(const Entry& entry) const {
  const bool always = entry.stays ? *entry.stays < 0 : times_.idle_seconds <= 0;
  if (always || !entry.may_go() || entry.leases > 0 || !entry.asks.empty()) {
    return TimePoint::max();
  }
  return after_seconds(entry.used_at, entry.stays.value_or(times_.idle_seconds));
}

bool ModelPool::State::let_idle_one_go(Lock& lock) {
  const TimePoint now = Clock::now();
  for (const auto& entry : entries_) {
    if (idle_until(*entry) > now) continue;
    unload(*entry, lock);
    return true;
  }
  return false;
}

bool ModelPool::State::refuse_overdue(Lock& lock) {
  const TimePoint now = Clock::now();
  for (const auto& entry : entries_) {
    const auto overdue =
        std::ranges::find_if(entry->asks, [now](const Ask& ask) { return ask.deadline <= now; });
    if (overdue == entry->asks.end()) continue;
    Error error = spelled_out([&] { return model_busy(entry->pooled.model.id); });
    refuse(*entry, static_cast<std::size_t>(overdue - entry->asks.begin()), std::move(error), lock);
    return true;
  }
  return false;
}

// All who wait for a model that is ready.
void ModelPool::State::answer(Entry& entry, Lock& lock) {
  hold(entry, true);
  lock.unlock();
  ModelLease lease = make_lease(entry, true);  // where that throws, it has given the hold back
  lock.lock();
  std::vector<Ask> asks = std::exchange(entry.asks, {});
  lock.unlock();
  // None is kept here: its end would count as a use.
  for (Ask& ask : asks) ask.done(&ask == &asks.back() ? std::move(lease) : lease);
  // Whose end takes the mutex: the lease, that nobody may want any more, and what holds it.
  asks.clear();
  lease = nullptr;
  lock.lock();
}

// Answers one of those who wait for it.
void ModelPool::State::refuse(Entry& entry, std::size_t index, Error error, Lock& lock) {
  const auto place = entry.asks.begin() + static_cast<std::ptrdiff_t>(index);
  Ask ask = std::move(*place);
  entry.asks.erase(place);
  lock.unlock();
  ask.done(std::move(error));
  ask.done = nullptr;
  lock.lock();
}

// Loads it if there is room. If not, lets go of one that nobody holds, or says which are to leave
// when nobody does. False when it can only wait.
bool ModelPool::State::make_room_for(Entry& entry, Lock& lock) {
  entry.memory = book_->reserve(entry.pooled.bytes);
  if (entry.memory) {
    load(entry, lock);
    return true;
  }
  std::size_t room = book_->bound() - book_->reserved();
  while (room < entry.pooled.bytes) {
    const auto rank = [](const Entry& other) {
      return std::pair(other.leases > 0, other.last_used);
    };
    Entry* next = nullptr;
    for (const auto& other : entries_) {
      if (!other->may_go() || other->leaving) continue;
      if (next == nullptr || rank(*other) < rank(*next)) next = other.get();
    }
    if (next == nullptr) {
      for (const auto& other : entries_) other->leaving = false;
      const bool stuck = std::ranges::any_of(entries_, [](const auto& e) { return e->is_stuck(); });
      Error error = spelled_out([&] {
        return stuck ? model_busy(entry.pooled.model.id) : too_large(entry.pooled, *book_);
      });
      refuse(entry, 0, std::move(error), lock);
      return true;
    }
    next->leaving = true;
    room += next->pooled.bytes;
  }
  for (const auto& other : entries_) {
    if (!other->leaving || other->leases > 0) continue;
    unload(*other, lock);
    return true;
  }
  return false;
}

void ModelPool::State::load(Entry& entry, Lock& lock) {
  entry.state = ModelState::loading;
  entry.loaded = 0;
  entry.failure.clear();
  lock.unlock();
  std::unique_ptr<Engine> engine;
  std::string failure;
  try {
    engine = entry.pooled.load([&entry](double done) { entry.loaded = done; });
  } catch (const std::exception& error) {
    failure = words_of(error);
  }
  release_free_memory();
  lock.lock();
  if (engine) {
    entry.pooled.model.engine = std::move(engine);
    entry.state = ModelState::ready;
    entry.used_at = Clock::now();
    return answer(entry, lock);  // before it could have to make room again
  }
  entry.memory.reset();
  entry.state = ModelState::failed;
  entry.failed_at = Clock::now();
  entry.failure = std::move(failure);
  // Who comes while these are answered is not one of them; some may leave meanwhile.
  for (std::size_t waiting = entry.asks.size(); waiting > 0 && !entry.asks.empty(); --waiting) {
    refuse(entry, 0, spelled_out([&] { return why_not_ready(entry); }), lock);
  }
}

// False: it hangs, and stays.
bool ModelPool::State::unload(Entry& entry, Lock& lock) {
  entry.state = ModelState::unloading;
  lock.unlock();
  const bool can_end = comes_to_rest(*entry.pooled.model.engine);
  if (can_end) {
    entry.pooled.model.engine.reset();
    release_free_memory();
    spdlog::info("unloaded {}", entry.pooled.model.id);
  }
  lock.lock();
  entry.state = can_end ? ModelState::absent : ModelState::ready;
  if (can_end) entry.memory.reset();
  return can_end;
}

}  // namespace mlxd
