#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/model_plan.h"

namespace mlxd {

// What the architecture files share. A PlanBuilder finds weights by their Hugging Face names,
// checks each shape against the config, and puts the usual blocks together; an architecture then
// changes what is its own. Throws LoadError that names the tensor, its shape and the one expected.
class PlanBuilder {
 public:
  PlanBuilder(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

  // "model.layers.<layer>.<part>", and whether there is such a tensor.
  static std::string layer_module(int layer, std::string_view part);
  bool has(int layer, std::string_view part) const;

  // <module>.weight [size], the config's offset added; of the model, or of a layer.
  RmsNorm norm(const std::string& module, int size) const;
  RmsNorm norm(int layer, std::string_view part, int size) const;

  // <module>.weight [out, in], and <module>.bias [out] where the file has one or it is `required`.
  enum class Bias { where_present, required };
  Linear linear(const std::string& module, std::int64_t out, int in,
                Bias bias = Bias::where_present) const;
  Linear linear(int layer, std::string_view part, std::int64_t out, int in,
                Bias bias = Bias::where_present) const;

  // The numbers of a layer's attention as the config describes it, without weights.
  AttentionBlock describe_attention(int layer) const;

  // With self_attn.{q,k,v,o}_proj, behind the norm of that name ("": none).
  // `gate`: whether q_proj holds a gate as AttentionBlock::gated has it.
  enum class Gate { none, behind_query };
  AttentionBlock attention(int layer, Bias qkv_bias = Bias::where_present,
                           std::string_view norm_name = "input_layernorm",
                           Gate gate = Gate::none) const;

  // The same with a norm over all heads of q and of k, each as one vector.
  AttentionBlock attention_normed_over_rows(int layer,
                                            std::string_view norm_name = "input_layernorm") const;

  // mlp.{gate,up,down}_proj behind the norm of that name ("": none).
  FeedForwardBlock feed_forward(int layer,
                                std::string_view norm_name = "post_attention_layernorm") const;

  // The same, with gate and up one after the other in mlp.gate_up_proj.
  FeedForwardBlock feed_forward_of_one(
      int layer, std::string_view norm_name = "post_attention_layernorm") const;

  // The layer's feed-forward block, or its experts where the file has some: in the module mlp or
  // block_sparse_moe, gate, with e_score_correction_bias where there is one, chooses among
  // switch_mlp or experts.{gate,up,down}_proj, all experts' rows one after another, beside
  // shared_expert or shared_experts, whose output shared_expert_gate weighs where there is one.
  Block feed_forward_or_experts(int layer,
                                std::string_view norm_name = "post_attention_layernorm") const;

  // linear_attn.{in_proj_qkv,in_proj_z,in_proj_a,in_proj_b,conv1d,norm,out_proj} and its dt_bias
  // and A_log (or dt_proj.bias and A, which is -exp(A_log)); in_proj_qkvz and in_proj_ba, where
  // they are there, hold those of each key head together.
  DeltaNetBlock delta_net(int layer, std::string_view norm_name = "input_layernorm") const;

  // conv.{in_proj,conv,out_proj}.
  ShortConvBlock short_convolution(int layer, std::string_view norm_name = "input_layernorm") const;

  // mamba.{in_proj,conv1d,norm,out_proj}, whose in_proj is the gate, the convolution's input and
  // the time, one after another; dt_bias, A_log and D (or dt_proj.bias, A, which is -exp(A_log),
  // and D).
  Mamba2Block mamba2(int layer, std::string_view norm_name = "input_layernorm") const;

  // The layer's experts: `router` scores them, and their matrices, all experts' rows one after
  // another, are <stacked>.{gate,up,down}_proj, or those of gate and up lie in each expert's
  // <stacked>.gate_up_proj as `both` says, or there is no gate; biases, where there are any, are
  // [experts, out].
  enum class GateAndUp { halves, turns, up_alone };
  ExpertsBlock experts(int layer, const std::string& router, const std::string& stacked,
                       std::string_view norm_name, GateAndUp both = GateAndUp::halves) const;

  // A tensor of so many numbers.
  std::vector<float> vector(const std::string& name, std::int64_t size) const;
  // A layer's tensor of so many numbers, if the file has it.
  std::optional<std::vector<float>> numbers(int layer, std::string_view name, int size) const;
  // <module>.weight [rows, columns], to be read in the file.
  Tensor table(const std::string& module, std::int64_t rows, std::int64_t columns) const {
    return matrix(module + ".weight", rows, columns);
  }
  // A matrix of numbers that the file has in another order, which the plan will hold.
  Tensor made(const std::string& name, std::vector<float> numbers, std::int64_t columns);
  void set(LayerInputs inputs) { plan_.layer_inputs = std::move(inputs); }

  // Gives the block the next index of a KV layer (unless it shares one), or of a state.
  void add(AttentionBlock block);
  void add(LatentAttentionBlock block);
  void add(DeltaNetBlock block);
  void add(ShortConvBlock block);
  void add(Mamba2Block block);
  void add(FeedForwardBlock block) { add(Block(std::move(block))); }
  void add(Block block);  // of another kind than attention

  // Adds the embedding and the head, and checks that the config's layers are all there is.
  ModelPlan finish();

  // Throws LoadError about a tensor or module.
  [[noreturn]] void fail(const std::string& name, std::string_view problem) const;

 private:
  Linear expert_linear(int layer, const std::string& part, std::int64_t out, int in) const;
  ExpertsBlock experts_of(int layer, const std::string& module, std::string_view norm_name) const;
  std::optional<SharedExpert> shared_expert(int layer, const std::string& module) const;
  std::vector<float> flat(const std::string& name, std::int64_t rows, std::int64_t columns) const;
  std::vector<float> decay(int layer, const std::string& module, int heads) const;
  std::vector<float> time_bias(int layer, const std::string& module, int heads) const;
  Tensor matrix(const std::string& name, std::int64_t rows, std::int64_t columns) const;
  Tensor require(const std::string& name) const;

  ModelConfig config_;
  std::shared_ptr<const WeightSource> weights_;
  std::vector<std::vector<float>> made_;
  ModelPlan plan_;
};

// Rows [first, first + count) of a matrix and its bias, as views: files that store several
// projections as one matrix.
Linear rows_of(const Linear& linear, std::int64_t first, std::int64_t count);

// That of a Llama with a norm over all heads of q and of k, each as one vector.
ModelPlan plan_normed_over_rows(const ModelConfig& config,
                                std::shared_ptr<const WeightSource> weights);

// The plan of a Llama: attention and feed-forward, each behind a norm. What its layers differ in is
// described by the config.
ModelPlan plan_llama_like(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

}  // namespace mlxd
