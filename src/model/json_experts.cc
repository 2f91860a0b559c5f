#include "model/json_experts.h"

#include <initializer_list>
#include <string_view>

#include <fmt/format.h>

#include "model/config_limits.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

// The first of these fields that the file has.
void read_count(const JsonFields& fields, std::initializer_list<std::string_view> names,
                std::int64_t low, std::int64_t high, int& value) {
  for (const std::string_view name : names) {
    if (const auto stated = fields.integer(name, low, high)) {
      value = static_cast<int>(*stated);
      return;
    }
  }
}

}  // namespace

void read_json_experts(const JsonFields& fields, ModelConfig& config) {
  ExpertsConfig& experts = config.experts;
  read_count(fields, {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}, 0,
             kMaxExperts, experts.count);
  if (experts.count == 0) return;
  read_count(fields, {"num_experts_per_tok", "num_experts_per_token", "moe_k"}, 1, kMaxExperts,
             experts.chosen);
  read_count(fields, {"moe_intermediate_size"}, 1, kMaxIntermediateSize, experts.intermediate_size);
  if (experts.intermediate_size == 0) experts.intermediate_size = config.intermediate_size;
  read_count(fields, {"shared_expert_intermediate_size", "shared_intermediate_size"}, 0,
             kMaxIntermediateSize, experts.shared_intermediate_size);
  // Some count the shared experts, whose hidden layers are one.
  int shared = 0;
  read_count(fields, {"n_shared_experts", "num_shared_experts", "moe_num_shared_experts"}, 0, 64,
             shared);
  if (experts.shared_intermediate_size == 0) {
    experts.shared_intermediate_size = shared * experts.intermediate_size;
  }
  read_count(fields, {"n_group"}, 1, kMaxExperts, experts.groups);
  read_count(fields, {"topk_group"}, 1, kMaxExperts, experts.chosen_groups);
  experts.normalised = fields.boolean("norm_topk_prob").value_or(experts.normalised);
  experts.scale =
      static_cast<float>(fields.number("routed_scaling_factor", 0, 1e6).value_or(experts.scale));
  if (const auto function = fields.string("scoring_func")) {
    if (*function == "softmax") {
      experts.scoring = ExpertScoring::softmax;
    } else if (*function == "sigmoid" || *function == "noaux_tc") {  // the method that goes with it
      experts.scoring = ExpertScoring::sigmoid;
    } else if (*function == "sqrtsoftplus") {
      experts.scoring = ExpertScoring::sqrt_softplus;
    } else {
      fields.fail("scoring_func", fmt::format("is {}; mlxd computes softmax, sigmoid or "
                                              "sqrtsoftplus",
                                              in_quotes(*function)));
    }
  }
}

}  // namespace mlxd
