#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "models/model_pool.h"
#include "serve/text_model.h"

namespace mlxd::api {

// A model that stays ready while this is held: each request holds one for its life.
using LeasedModel = std::shared_ptr<TextModel>;

// The models that are served, found by id or alias. Any thread.
class ModelDirectory {
 public:
  explicit ModelDirectory(ModelPool& pool) : pool_(&pool) {}  // `pool` outlives the directory
  // Models that are always ready, for tests.
  explicit ModelDirectory(std::vector<LeasedModel> models);

  bool started() const;                    // false while the models of the start are loaded
  std::vector<LeasedModel> ready() const;  // for who looks at them
  // Refuses with 404 model_not_found, with the ids that are there, and with 503 as ModelPool::lease
  // does.
  Result<LeasedModel> find(std::string_view id_or_alias) const;

 private:
  ModelPool* pool_ = nullptr;
  std::vector<LeasedModel> models_;
};

}  // namespace mlxd::api
