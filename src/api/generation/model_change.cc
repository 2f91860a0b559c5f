#include "api/generation/model_change.h"

#include <utility>

namespace mlxd::api {

void ModelChange::end(Bell& bell) {
  done_.store(true, std::memory_order_release);
  bell.ring();
}

std::shared_ptr<ModelChange> ModelChange::load(const ModelDirectory& models, std::string_view name,
                                               TimePoint deadline, std::shared_ptr<Bell> bell) {
  auto change = std::make_shared<ModelChange>();
  models.load(name, deadline, [change, bell = std::move(bell)](Result<LeasedModel> model) {
    if (model) {
      change->lease_ = *std::move(model);
    } else {
      change->failure_ = model.error();
    }
    change->end(*bell);
  });
  return change;
}

std::shared_ptr<ModelChange> ModelChange::unload(const ModelDirectory& models,
                                                 std::string_view name,
                                                 std::shared_ptr<Bell> bell) {
  auto change = std::make_shared<ModelChange>();
  models.unload(name, [change, bell = std::move(bell)](const Result<void>& result) {
    if (!result) change->failure_ = result.error();
    change->end(*bell);
  });
  return change;
}

}  // namespace mlxd::api
