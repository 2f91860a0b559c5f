#include "model/model_plan.h"

#include "base/overloaded.h"

namespace mlxd {

namespace {

using Linears = std::vector<const Linear*>;

Linears with_gate(const std::optional<Linear>& gate, Linears others) {
  if (gate) others.insert(others.begin(), &*gate);
  return others;
}

}  // namespace

std::vector<const Linear*> linears_of(const Block& block) {
  return std::visit(
      Overloaded{
          [](const AttentionBlock& attention) -> Linears {
            if (attention.shares_cache) return {&attention.query, &attention.output};
            if (attention.values_are_keys()) {
              return {&attention.query, &attention.key, &attention.output};
            }
            return {&attention.query, &attention.key, &attention.value, &attention.output};
          },
          [](const LatentAttentionBlock& attention) -> Linears {
            Linears linears;
            if (attention.query_down) linears.push_back(&*attention.query_down);
            linears.insert(linears.end(), {&attention.query, &attention.latent, &attention.key_up,
                                           &attention.value_up, &attention.output});
            return linears;
          },
          [](const FeedForwardBlock& feed_forward) -> Linears {
            return with_gate(feed_forward.gate, {&feed_forward.up, &feed_forward.down});
          },
          [](const DeltaNetBlock& delta_net) -> Linears {
            return {&delta_net.qkv, &delta_net.gate, &delta_net.alpha, &delta_net.beta,
                    &delta_net.output};
          },
          [](const ShortConvBlock& conv) -> Linears {
            return {&conv.inner_gate, &conv.outer_gate, &conv.value, &conv.output};
          },
          [](const Mamba2Block& mamba) -> Linears {
            return {&mamba.gate, &mamba.input, &mamba.time, &mamba.output};
          },
          [](const LayerInputBlock& input) -> Linears { return {&input.gate, &input.output}; },
          [](const ExpertsBlock& experts) -> Linears {
            Linears linears = {&experts.router};
            const auto add = [&](const Linears& part) {
              linears.insert(linears.end(), part.begin(), part.end());
            };
            add(with_gate(experts.gate, {&experts.up, &experts.down}));
            if (const auto& shared = experts.shared) {
              add(with_gate(shared->gate, {&shared->up, &shared->down}));
              if (shared->weight) linears.push_back(&*shared->weight);
            }
            return linears;
          },
      },
      block);
}

std::vector<const Linear*> linears_of(const EncoderLayer& layer) {
  Linears linears = {&layer.query, &layer.key, &layer.value, &layer.output};
  for (const Linear* linear : with_gate(layer.gate, {&layer.up, &layer.down})) {
    linears.push_back(linear);
  }
  return linears;
}

std::vector<const Tensor*> matrices_of(const ModelPlan& plan) {
  std::vector<const Tensor*> matrices = {&plan.embed.table};
  if (plan.encoder) {
    if (plan.encoder->positions) matrices.push_back(&*plan.encoder->positions);
    for (const EncoderLayer& layer : plan.encoder->layers) {
      for (const Linear* linear : linears_of(layer)) matrices.push_back(&linear->weight);
    }
    if (plan.encoder->classifier) matrices.push_back(&plan.encoder->classifier->dense.weight);
    return matrices;
  }
  const Tensor& head = plan.head.weight.weight;
  const auto add = [&](const Tensor& matrix) {
    // Gate and up of experts may be rows of one.
    if (matrix.data.data() != matrices.back()->data.data()) matrices.push_back(&matrix);
  };
  add(head);
  if (plan.layer_inputs) add(plan.layer_inputs->projection.weight);
  for (const Block& block : plan.blocks) {
    for (const Linear* linear : linears_of(block)) add(linear->weight);
  }
  return matrices;
}

}  // namespace mlxd
