#pragma once

#include <cstddef>
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

// The models that are served, found by id or alias. Any thread; cheap to copy.
class ModelDirectory {
 public:
  explicit ModelDirectory(ModelPool& pool) : pool_(&pool) {}  // `pool` outlives the directory
  // Models that are always ready, for tests.
  explicit ModelDirectory(std::vector<LeasedModel> models);

  // The directory of one request, which tells `missed` the name of a model that `find` refused
  // since it is not loaded: `load` may change that.
  ModelDirectory for_request(std::string& missed) const;

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
  // ModelPool::acquire.
  using Done = std::function<void(Result<LeasedModel>)>;
  void load(std::string_view id_or_alias, TimePoint deadline, Done done) const;
  // ModelPool::unload. Models that are always ready stay.
  void unload(std::string_view id_or_alias, ModelPool::Gone done) const;
  std::size_t memory_reserved() const;
  std::size_t memory_bound() const;

 private:
  ModelPool* pool_ = nullptr;
  std::vector<LeasedModel> models_;
  std::string* missed_ = nullptr;
};

}  // namespace mlxd::api
