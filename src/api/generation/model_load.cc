#include "api/generation/model_load.h"

#include <utility>

namespace mlxd::api {

std::shared_ptr<ModelLoad> ModelLoad::begin(const ModelDirectory& models, std::string_view name,
                                            TimePoint deadline, std::shared_ptr<Bell> bell) {
  auto load = std::make_shared<ModelLoad>();
  models.load(name, deadline, [load, bell = std::move(bell)](Result<LeasedModel> model) {
    if (model) {
      load->lease_ = *std::move(model);
    } else {
      load->failure_ = model.error();
    }
    load->done_.store(true, std::memory_order_release);
    bell->ring();
  });
  return load;
}

}  // namespace mlxd::api
