// The inside of ModelPool: what its leases, its callers and its thread share. Private to models.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/memory_book.h"
#include "models/model_pool.h"

namespace mlxd {

// How long a client that is refused should wait: about what a small model takes to load.
inline constexpr double kModelRetrySeconds = 5;

// 503 about a model.
Error model_unavailable(const char* code, std::string message);
Error server_stopping();

// In the midst of a step that does not end. The end of an engine waits for its thread, and would
// take the pool's along.
bool hangs(const Engine& engine);

// The entries, and the work of the pool's thread on them. Everything is under the mutex, but for
// the making and ending of engines and the answers to asks, during which the entry's state keeps
// others away.
class ModelPool::State : public std::enable_shared_from_this<State> {
 public:
  explicit State(PoolTimes times) : times_(times) {}

  void open(std::vector<PooledModel> models, std::size_t memory_bytes);
  void set_started();
  bool started() const;
  Result<ModelLease> lease(std::string_view name);
  std::uint64_t acquire(std::string_view name, TimePoint deadline, Done done);
  void withdraw(std::uint64_t ask);
  void unload(std::string_view name, Gone done);
  void keep_alive(std::string_view name, double seconds);
  void close();
  std::vector<ModelLease> ready();
  std::vector<ModelStatus> status();
  std::size_t memory_reserved() const;
  std::size_t memory_bound() const;

  void run();  // the pool's thread, until `stop`
  void stop();
  void let_idle_go();  // when the thread has ended

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Ask {
    std::uint64_t number = 0;  // of the pool's count of uses
    TimePoint deadline{};
    Done done;
  };
  struct Entry;

  Entry* find(std::string_view name);
  Error not_found(std::string_view name) const;
  Error why_not_ready(const Entry& entry) const;
  bool failed_lately(const Entry& entry) const;
  bool anybody_waits() const;

  void hold(Entry& entry, bool is_use);
  ModelLease make_lease(Entry& entry, bool is_use);
  void release(Entry& entry, bool is_use) noexcept;

  bool turn(Lock& lock);
  bool let_go_as_asked(Lock& lock);
  bool let_idle_one_go(Lock& lock);
  void tell_gone(Entry& entry, Result<void> result, Lock& lock);
  TimePoint idle_until(const Entry& entry) const;
  bool refuse_overdue(Lock& lock);
  void answer(Entry& entry, Lock& lock);
  void refuse(Entry& entry, std::size_t index, Error error, Lock& lock);
  bool make_room_for(Entry& entry, Lock& lock);
  void load(Entry& entry, Lock& lock);
  bool unload(Entry& entry, Lock& lock);
  TimePoint next_deadline() const;

  const PoolTimes times_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<MemoryBook> book_;  // outlives the entries' reservations
  std::vector<std::unique_ptr<Entry>> entries_;
  std::uint64_t uses_ = 0;
  bool started_ = false;
  bool closed_ = false;    // nobody is served any more
  bool stopping_ = false;  // and the thread ends
};

// A model of the pool. Under the mutex.
struct ModelPool::State::Entry {
  explicit Entry(PooledModel pooled_model) : pooled(std::move(pooled_model)) {}

  bool may_be_leased() const { return state == ModelState::ready && !leaving; }
  bool may_go() const { return is_passing() && !hangs(*pooled.model.engine); }
  bool is_stuck() const { return is_passing() && hangs(*pooled.model.engine); }
  bool is_passing() const { return state == ModelState::ready && !pooled.pinned; }

  PooledModel pooled;  // its engine is there from `ready` to `unloading`
  ModelState state = ModelState::absent;
  std::atomic<double> loaded = 0;  // share of its weights, while it is loading; without the mutex
  std::optional<MemoryBook::Reservation> memory;  // from `loading` to the end of `unloading`
  int leases = 0;
  int uses = 0;                  // of the leases, those that count as use
  std::uint64_t last_used = 0;   // of the pool's count of uses
  TimePoint used_at{};           // when the last use ended, or it became ready
  std::optional<double> stays;   // seconds after that, where who used it said so; below 0: for ever
  std::vector<Gone> dismissals;  // who wants it gone
  bool leaving = false;          // it is to make room: no new leases
  std::vector<Ask> asks;         // who waits for it
  std::string failure;
  TimePoint failed_at{};
};

}  // namespace mlxd
