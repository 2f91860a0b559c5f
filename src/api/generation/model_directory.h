#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "serve/text_model.h"

namespace mlxd::api {

// The models that are served, found by id or alias. Any thread.
class ModelDirectory {
 public:
  explicit ModelDirectory(std::vector<std::shared_ptr<TextModel>> models);
  const std::vector<std::shared_ptr<TextModel>>& all() const { return models_; }
  std::shared_ptr<TextModel> find(std::string_view id_or_alias) const;  // null when there is none
  // 404 model_not_found, with the ids that are there.
  Error not_found(std::string_view name) const;

 private:
  std::vector<std::shared_ptr<TextModel>> models_;
};

}  // namespace mlxd::api
