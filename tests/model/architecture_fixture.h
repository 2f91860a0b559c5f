// What the tests of architectures share.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/config_reader.h"
#include "model/model_files.h"

namespace mlxd {

class NoWeights : public WeightSource {
 public:
  std::optional<Tensor> find(std::string_view) const override { return std::nullopt; }
  std::vector<Tensor> all() const override { return {}; }
  std::string description() const override { return "weights"; }
};

// config.json of four layers with heads of 16, followed by `more`.
inline ModelConfig read(const std::string& type, const std::string& more) {
  const std::string json = R"({"model_type": ")" + type + R"(", "num_hidden_layers": 4,
      "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
      "intermediate_size": 96, "vocab_size": 8, "max_position_embeddings": 256)" +
                           more + "}";
  return read_json_config(JsonFields::parse(json, "config.json"), NoWeights());
}

inline ModelPlan open_tiny(const std::string& name) {
  return open_model(MLXD_TEST_DATA + std::string("/golden/tiny/") + name).plan;
}

inline const AttentionBlock& attention_of(const ModelPlan& plan, std::size_t layer) {
  return std::get<AttentionBlock>(plan.blocks.at(2 * layer));
}

}  // namespace mlxd
