#include "model/model_plan.h"

namespace mlxd {

std::vector<const Tensor*> matrices_of(const ModelPlan& plan) {
  std::vector<const Tensor*> matrices = {&plan.embed.table};
  const Tensor& head = plan.head.weight.weight;
  if (head.data.data() != plan.embed.table.data.data()) matrices.push_back(&head);
  for (const auto& block : plan.blocks) {
    if (const auto* attention = std::get_if<AttentionBlock>(&block)) {
      for (const Linear* linear :
           {&attention->query, &attention->key, &attention->value, &attention->output}) {
        matrices.push_back(&linear->weight);
      }
    } else {
      const auto& feed_forward = std::get<FeedForwardBlock>(block);
      for (const Linear* linear : {&feed_forward.gate, &feed_forward.up, &feed_forward.down}) {
        matrices.push_back(&linear->weight);
      }
    }
  }
  return matrices;
}

}  // namespace mlxd
