#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/model_plan.h"

namespace mlxd {

// What the files of encoders share: an EncoderBuilder finds weights by their names in the file,
// checks each shape against the config, and puts into the plan what all encoders have; the
// architecture adds its layers. Throws LoadError that names the tensor, its shape and the one
// expected.
class EncoderBuilder {
 public:
  EncoderBuilder(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

  bool has(const std::string& name) const { return weights_->find(name).has_value(); }
  // The first of these prefixes with which the file has the tensor `name`; fails without any.
  std::string prefix_of(std::string_view name, std::initializer_list<const char*> prefixes) const;

  // Of any number of rows with `rows` -1.
  Tensor matrix(const std::string& name, std::int64_t rows, std::int64_t columns) const;
  std::vector<float> vector(const std::string& name, int size) const;

  // <module>.weight and <module>.bias, which may be missing unless it is `required`.
  enum class Bias { where_present, required };
  LayerNorm norm(const std::string& module, Bias bias = Bias::where_present) const;
  Linear linear(const std::string& module, int out, int in, Bias bias = Bias::where_present) const;

  // <module>.weight, a row for each text of a pair. Without it, and where there is one row alone,
  // both texts are the same.
  std::vector<float> types(const std::string& module) const;

  // Query, key and value, which <module> has one after another.
  void set_fused_attention(const std::string& module, EncoderLayer& layer) const;
  // Gate and up of a hidden layer, which <module> has one after another.
  std::pair<Linear, Linear> gate_and_up(const std::string& module) const;
  // The rope and the window that the config describes.
  void set_positions(int index, EncoderLayer& layer) const;

  // Adds a layer to the plan, whose other parts the architecture sets.
  void add(EncoderLayer layer) { encoder().layers.push_back(std::move(layer)); }
  EncoderPlan& encoder() { return *plan_.encoder; }
  void set_words(const std::string& module);
  // Checks that there is no tensor of that name, which a further layer would have.
  ModelPlan finish(const std::string& further);

  // Throws LoadError about a tensor.
  [[noreturn]] void fail(const std::string& name, std::string_view problem) const;

 private:
  const ModelConfig& config_;
  const std::shared_ptr<const WeightSource> weights_;
  ModelPlan plan_;
};

}  // namespace mlxd
