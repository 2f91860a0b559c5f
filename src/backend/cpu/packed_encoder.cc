#include "backend/cpu/packed_encoder.h"

#include <algorithm>

#include <fmt/format.h>

#include "backend/cpu/kv_cache.h"
#include "backend/cpu/matrix_packer.h"
#include "base/error.h"

namespace mlxd::cpu {
namespace {

void want(MatrixPacker& packer, const Linear& linear, PackedLinear& target) {
  target.bias = linear.bias;
  packer.want(linear.weight, target.matrix);
}

int index_of(const Rope& rope, const std::vector<Rope>& ropes) {
  const auto same = [&](const Rope& each) {
    return each.inverse_frequencies == rope.inverse_frequencies;
  };
  return static_cast<int>(std::find_if(ropes.begin(), ropes.end(), same) - ropes.begin());
}

}  // namespace

std::vector<Rope> ropes_of(const EncoderPlan& encoder) {
  std::vector<Rope> ropes;
  for (const EncoderLayer& layer : encoder.layers) {
    if (!layer.rope) continue;
    const auto known = static_cast<int>(ropes.size());
    if (index_of(*layer.rope, ropes) == known) ropes.push_back(*layer.rope);
  }
  return ropes;
}

void check_encoder(const ModelPlan& plan) {
  const EncoderPlan& encoder = *plan.encoder;
  const std::string source = plan.weights ? plan.weights->description() : "the model";
  if (encoder.head_dim % kKeyTile != 0) {
    throw LoadError(
        fmt::format("{}: its heads have {} dimensions; the cpu backend runs multiples "
                    "of {}",
                    source, encoder.head_dim, kKeyTile));
  }
  if (plan.config.intermediate_size % kGroupColumns != 0) {
    throw LoadError(
        fmt::format("{}: its hidden layer has {} numbers; the cpu backend runs "
                    "multiples of {}",
                    source, plan.config.intermediate_size, kGroupColumns));
  }
}

PackedEncoder pack_encoder(const ModelPlan& plan, const Kernels& kernels, WorkerPool& pool,
                           const LoadProgress& progress) {
  check_encoder(plan);
  const EncoderPlan& encoder = *plan.encoder;
  PackedEncoder packed;
  packed.hidden_size = plan.config.hidden_size;
  packed.intermediate_size = plan.config.intermediate_size;
  packed.heads = encoder.heads;
  packed.head_dim = encoder.head_dim;
  packed.context_length = plan.config.context_length;
  packed.first_position = encoder.first_position;
  packed.types = encoder.types;
  packed.embedding_norm = encoder.embedding_norm;
  packed.norms = encoder.norms;
  packed.ropes = ropes_of(encoder);
  packed.pooling = plan.pooled->pooling;
  MatrixPacker packer(kernels);
  packer.want(plan.embed.table, packed.words);
  if (encoder.positions) packer.want(*encoder.positions, packed.positions);
  packed.layers.resize(encoder.layers.size());  // targets must not move
  for (std::size_t i = 0; i < encoder.layers.size(); ++i) {
    const EncoderLayer& from = encoder.layers[i];
    PackedEncoderLayer& to = packed.layers[i];
    want(packer, from.query, to.query);
    want(packer, from.key, to.key);
    want(packer, from.value, to.value);
    want(packer, from.output, to.output);
    if (from.rope) to.rope = index_of(*from.rope, packed.ropes);
    to.window = from.window;
    if (from.gate) want(packer, *from.gate, to.mlp.gate.emplace());
    want(packer, from.up, to.mlp.up);
    want(packer, from.down, to.mlp.down);
    to.mlp.activation = from.activation;
    to.attention_norm = from.attention_norm;
    to.output_norm = from.output_norm;
  }
  if (const auto& classifier = encoder.classifier) {
    PackedClassifier& to = packed.classifier.emplace();
    want(packer, classifier->dense, to.dense);
    to.weight = classifier->weight;
    to.bias = classifier->bias;
  }
  packed.weight_bytes = packer.run(pool, progress);
  return packed;
}

}  // namespace mlxd::cpu
