#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/model_plan.h"

namespace mlxd {

// What the architecture files share: finds weights by their Hugging Face names, checks each shape
// against the config, and puts the usual blocks together; an architecture then changes what is its
// own. Throws LoadError that names the tensor, its shape and the one expected.
class PlanBuilder {
 public:
  PlanBuilder(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

  // "model.layers.<layer>.<part>"
  static std::string layer_module(int layer, std::string_view part);

  // <module>.weight [size], the config's offset added.
  RmsNorm norm(const std::string& module, int size) const;

  // <module>.weight [out, in], and <module>.bias [out] where the file has one or it is `required`.
  enum class Bias { where_present, required };
  Linear linear(const std::string& module, int out, int in, Bias bias = Bias::where_present) const;

  // self_attn.{q,k,v,o}_proj behind input_layernorm, with the config's rope, scale and window.
  AttentionBlock attention(int layer, Bias qkv_bias = Bias::where_present) const;

  // mlp.{gate,up,down}_proj behind the norm of that name.
  FeedForwardBlock feed_forward(int layer, std::string_view norm_name) const;

  // The rope of layers that see only a window, where it differs from the others' (Gemma).
  const Rope& local_rope() const { return local_rope_; }

  void add(AttentionBlock block);
  void add(FeedForwardBlock block);

  // Adds the embedding and the head, and checks that the config's layers are all there is.
  ModelPlan finish();

 private:
  Tensor matrix(const std::string& name, std::int64_t rows, std::int64_t columns) const;
  std::vector<float> vector(const std::string& name, int size) const;
  Tensor require(const std::string& name) const;
  [[noreturn]] void fail(const std::string& name, std::string_view problem) const;

  ModelConfig config_;
  std::shared_ptr<const WeightSource> weights_;
  Rope global_rope_, local_rope_;
  ModelPlan plan_;
};

}  // namespace mlxd
