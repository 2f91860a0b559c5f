#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "models/model_pool.h"
#include "serve/text_model.h"

namespace mlxd::api {

// A model that stays ready while this is held: each request holds one for its life.
using LeasedModel = std::shared_ptr<TextModel>;

// A model that a request asked for and that was not ready.
struct AwaitedModel {
  std::string name;     // as the request has it; "": it needed none
  LeasedModel model;    // once it has been loaded for the request
  std::string asked{};  // the name that it looked for, whatever there was of it
};

// The models that are served, found by id or alias. Any thread; cheap to copy.
class ModelDirectory {
 public:
  explicit ModelDirectory(ModelPool& pool) : pool_(&pool) {}  // `pool` outlives the directory
  // Models that are always ready, for tests.
  explicit ModelDirectory(std::vector<LeasedModel> models);

  // The directory of one request. `find` gives it the model that was loaded for it, which may be
  // on its way out for others, and notes the name of one that is not loaded: `load` may change
  // that; and the name that is looked for. `awaited` outlives the directory.
  ModelDirectory for_request(AwaitedModel& awaited) const;

  bool started() const;                    // false while the models of the start are loaded
  std::vector<LeasedModel> ready() const;  // for who looks at them
  // All, whether they are loaded or not.
  std::vector<std::shared_ptr<const ModelFacts>> all() const;
  std::vector<ModelStatus> status() const;
  // What a name stands for, loaded or not. Refuses with 404 model_not_found, with the ids that are
  // there, and with 503 before the start is over.
  Result<ModelStatus> status_of(std::string_view id_or_alias) const;
  // Refuses as `status_of` does, and with 503 where the model is not ready.
  Result<LeasedModel> find(std::string_view id_or_alias) const;
  // ModelPool::acquire and withdraw.
  using Done = std::function<void(Result<LeasedModel>)>;
  std::uint64_t load(std::string_view id_or_alias, TimePoint deadline, Done done) const;
  void withdraw(std::uint64_t load) const;
  // ModelPool::unload. Models that are always ready stay.
  void unload(std::string_view id_or_alias, ModelPool::Gone done) const;
  // ModelPool::keep_alive.
  void keep_alive(std::string_view id_or_alias, double seconds) const;
  std::size_t memory_reserved() const;
  std::size_t memory_bound() const;

 private:
  ModelPool* pool_ = nullptr;
  std::vector<LeasedModel> models_;
  AwaitedModel* awaited_ = nullptr;
};

}  // namespace mlxd::api
