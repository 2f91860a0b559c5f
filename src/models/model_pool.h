// models: the models of a process, from the files that the operator names to engines that answer.
// LocalModels opens them and plans their memory (memory_plan.h); ModelPool gives leases of them,
// loads them on a thread of its own, and lets one go for another, within the bound of a MemoryBook.
// A model's entry (its ids, tokeniser, template) stays for the life of the pool; its engine comes
// and goes. api/ leases a model for each request; cli/ says which models there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/load_progress.h"
#include "serve/served_model.h"

namespace mlxd {

// A model held ready: its engine runs, and is not let go before the last copy of the lease is. May
// outlive the pool.
using ModelLease = std::shared_ptr<ServedModel>;

enum class ModelState { absent, loading, ready, failed, unloading };

// What the pool is told of a model.
struct PooledModel {
  ServedModel model;      // all of it but the engine
  std::size_t bytes = 0;  // what it takes while it is loaded
  bool pinned = false;    // loaded at the start, and let go when somebody says so alone
  // Makes the engine: on the pool's thread, each time that the model is loaded. What it throws is
  // told to those who wait.
  // It may tell how far it has come.
  std::function<std::unique_ptr<Engine>(const LoadProgress&)> load;
};

struct ModelStatus {
  std::shared_ptr<const ModelFacts> model;
  ModelState state = ModelState::absent;
  double loaded = 0;  // of a model that is loading: the share of its weights that is in place
  bool pinned = false;
  std::size_t bytes = 0;    // what it takes while it is loaded
  int uses = 0;             // requests that hold it
  double idle_seconds = 0;  // since the last of them, of a model that is ready and held by none
  std::string failure;      // of the last load, where it failed
};

struct PoolTimes {
  double retry_seconds = 5;  // after a load that failed, until asks lead to another
  double idle_seconds = 0;  // that a model stays which nobody uses and that is not pinned; 0: until
                            // another needs its room
};

// All functions may be called on any thread.
class ModelPool {
 public:
  // Asks for a model whose load failed are answered with that failure until it may be tried again.
  explicit ModelPool(PoolTimes times = {});
  // Waits for a load under way and answers who still waits with 503. Models that are leased go when
  // their leases do.
  ~ModelPool();
  ModelPool(const ModelPool&) = delete;
  ModelPool& operator=(const ModelPool&) = delete;

  // Once: takes the models that there are, which may hold `memory_bytes` together at a time, and
  // returns when all that are pinned are ready. Until then `lease` refuses with 503 loading.
  // Throws StartupError with what the first load that failed says.
  void start(std::vector<PooledModel> models, std::size_t memory_bytes);
  bool started() const;

  // The model of this id or alias, if it is ready; never waits. Refuses with 404 model_not_found,
  // which lists the ids there are, and with 503 where the model is not ready.
  Result<ModelLease> lease(std::string_view name);

  // The same, loaded where it is not ready, for which others that nobody holds are let go, the
  // least recently used first; where that is not enough, those that are held, when their leases
  // have ended. All that ask for a model while it loads share one load; asks for models that are
  // not ready are served in their order, and a model that has to make room for one gives no new
  // leases until it has, so that nobody waits for ever. `done` is called once: at once, or on the
  // pool's thread when the model is ready, has failed (503 model_failed), or was not ready by
  // `deadline` (503 model_busy, told when a load that is under way has ended). It must neither
  // throw nor wait. Returns the number of the ask, for `withdraw`.
  using Done = std::function<void(Result<ModelLease>)>;
  std::uint64_t acquire(std::string_view name, TimePoint deadline, Done done);

  // Who asked wants it no more: a model for which nobody else waits is then not loaded. An ask that
  // has been answered, or is being answered meanwhile, is left alone.
  void withdraw(std::uint64_t ask);

  // Lets a model go, a pinned one too; whoever asks for it later has it loaded again. `done` is
  // called once, on the pool's thread or at once: with 404 for a name that is not known, with 409
  // model_in_use where requests hold it, with 503 model_hung where a step of it does not end, and
  // without an error when it is not loaded any more.
  using Gone = std::function<void(Result<void>)>;
  void unload(std::string_view name, Gone done);

  // How long a model is to stay when nobody uses it any more, in place of PoolTimes::idle_seconds:
  // as who uses it now says, until somebody else uses it. Below 0: until another needs its room.
  // One that is pinned stays.
  void keep_alive(std::string_view name, double seconds);

  // For the end of the process: from now on `lease` and `acquire` refuse with 503 server_stopping,
  // and so is answered, at once, who waits. Leases stay good.
  void close();

  // Leases of all that are ready now, for who looks at them: they do not count as use.
  std::vector<ModelLease> ready();
  std::vector<ModelStatus> status() const;  // of all, in the order of `start`
  std::size_t memory_reserved() const;
  std::size_t memory_bound() const;  // 0 before `start`

 private:
  class State;
  const std::shared_ptr<State> state_;  // shared with the leases
  std::thread thread_;
};

// 503, for who has waited for a model up to their deadline.
Error model_busy(std::string_view name);

// 503, for as long as a server loads the models of its start.
Error models_loading();

// 404, for a name that is not among these ids.
Error model_not_found(std::string_view name, const std::vector<std::string_view>& ids);

}  // namespace mlxd
