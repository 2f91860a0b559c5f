// models: the models of a process, from the files that the operator names to engines that answer.
// LocalModels opens them and plans their memory (memory_plan.h); ModelPool gives leases of them,
// loads them on a thread of its own, and lets one go for another, within the bound of a MemoryBook.
// A model's entry (its ids, tokeniser, template) stays for the life of the pool; its engine comes
// and goes. api/ leases a model for each request; cli/ says which models there are.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
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
  bool pinned = false;    // loaded at the start, and never let go for another
  // Makes the engine: on the pool's thread, each time that the model is loaded. What it throws is
  // told to those who wait.
  std::function<std::unique_ptr<Engine>()> load;
};

struct ModelStatus {
  std::string id;
  ModelState state = ModelState::absent;
  int leases = 0;
  std::string failure;  // of the last load, where it failed
};

// All functions may be called on any thread.
class ModelPool {
 public:
  // A load that failed is tried again by the first ask that comes `retry_seconds` later; until
  // then asks are answered with its failure.
  explicit ModelPool(double retry_seconds = 5);
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
  // least recently used first. All that ask for a model while it loads share one load; asks for
  // models that are not ready are served in their order, and a model that has to make room for
  // one gives no new leases until it has, so that nobody waits for ever. `done` is called once: at
  // once, or on the pool's thread when the model is ready, has failed (503 model_failed), or was
  // not ready by `deadline` (503 model_busy). It must neither throw nor wait.
  using Done = std::function<void(Result<ModelLease>)>;
  void acquire(std::string_view name, TimePoint deadline, Done done);

  // Leases of all that are ready now, for who looks at them: they do not count as use.
  std::vector<ModelLease> ready();
  std::vector<ModelStatus> status() const;
  std::size_t memory_reserved() const;

 private:
  class State;
  const std::shared_ptr<State> state_;  // shared with the leases
  std::thread thread_;
};

// 503, for as long as a server loads the models of its start.
Error models_loading();

// 404, for a name that is not among these ids.
Error model_not_found(std::string_view name, const std::vector<std::string_view>& ids);

}  // namespace mlxd
