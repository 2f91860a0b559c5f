#include "model/architectures/renamed_weights.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mlxd {
namespace {

constexpr std::string_view kModel = "model";

// "model.", or "model.layers.<n>." of what is a layer's; "" of a name outside the model.
std::string_view prefix_of(std::string_view name) {
  constexpr std::string_view kLayers = "model.layers.";
  if (name.starts_with(kLayers)) {
    const std::size_t dot = name.find('.', kLayers.size());
    return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot + 1);
  }
  return name.starts_with("model.") ? name.substr(0, kModel.size() + 1) : std::string_view();
}

class RenamedWeights final : public WeightSource {
 public:
  RenamedWeights(std::shared_ptr<const WeightSource> weights, std::span<const ModuleName> names,
                 std::string_view root)
      : weights_(std::move(weights)), names_(names), root_(root) {}

  std::optional<Tensor> find(std::string_view name) const override {
    const std::string_view prefix = prefix_of(name), rest = name.substr(prefix.size());
    if (!prefix.empty()) {
      std::string stored_prefix(root_);
      stored_prefix.append(prefix.substr(kModel.size()));
      for (const auto& [own, usual] : names_) {
        const bool within =
            rest.starts_with(usual) && (rest.size() == usual.size() || rest[usual.size()] == '.');
        if (!within) continue;
        std::string stored = stored_prefix;
        stored.append(own).append(rest.substr(usual.size()));
        if (auto tensor = weights_->find(stored)) return tensor;
      }
    }
    return weights_->find(name);
  }

  std::vector<Tensor> all() const override { return weights_->all(); }
  std::string description() const override { return weights_->description(); }

 private:
  std::shared_ptr<const WeightSource> weights_;
  std::span<const ModuleName> names_;
  std::string_view root_;
};

}  // namespace

std::shared_ptr<const WeightSource> renamed(std::shared_ptr<const WeightSource> weights,
                                            std::span<const ModuleName> names,
                                            std::string_view root) {
  return std::make_shared<RenamedWeights>(std::move(weights), names, root);
}

}  // namespace mlxd
