#include "backend/cpu/packed_encoder.h"

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

}  // namespace

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
  packed.first_position = encoder.first_position;
  packed.types = encoder.types;
  packed.embedding_norm = encoder.embedding_norm;
  packed.pooling = plan.pooled->pooling;
  MatrixPacker packer(kernels);
  packer.want(plan.embed.table, packed.words);
  packer.want(encoder.positions, packed.positions);
  packed.layers.resize(encoder.layers.size());  // targets must not move
  for (std::size_t i = 0; i < encoder.layers.size(); ++i) {
    const EncoderLayer& from = encoder.layers[i];
    PackedEncoderLayer& to = packed.layers[i];
    want(packer, from.query, to.query);
    want(packer, from.key, to.key);
    want(packer, from.value, to.value);
    want(packer, from.output, to.output);
    want(packer, from.up, to.mlp.up);
    want(packer, from.down, to.mlp.down);
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
