#include "api/generation/model_change.h"

#include <utility>

namespace mlxd::api {

void ModelChange::end(Result<LeasedModel> result, Bell& bell) noexcept {
  result_.emplace(std::move(result));
  done_.store(true, std::memory_order_release);
  bell.ring();
}

std::shared_ptr<ModelChange> ModelChange::load(const ModelDirectory& models, std::string_view name,
                                               TimePoint deadline, std::shared_ptr<Bell> bell) {
  const std::shared_ptr<ModelChange> change(new ModelChange(models, name, deadline));
  change->load_ =
      models.load(name, deadline, [change, bell = std::move(bell)](Result<LeasedModel> model) {
        change->end(std::move(model), *bell);
      });
  return change;
}

std::shared_ptr<ModelChange> ModelChange::unload(const ModelDirectory& models,
                                                 std::string_view name,
                                                 std::shared_ptr<Bell> bell) {
  const std::shared_ptr<ModelChange> change(new ModelChange(models, name, TimePoint::max()));
  models.unload(name, [change, bell = std::move(bell)](Result<void> gone) {
    change->end(gone ? Result<LeasedModel>(nullptr) : Result<LeasedModel>(std::move(gone).error()),
                *bell);
  });
  return change;
}

Result<LeasedModel> ModelChange::take() {
  if (!done()) return model_busy(name_);
  return *std::exchange(result_, std::nullopt);
}

}  // namespace mlxd::api
