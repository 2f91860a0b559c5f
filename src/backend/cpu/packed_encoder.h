#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/worker_pool.h"
#include "base/load_progress.h"
#include "model/model_plan.h"

namespace mlxd::cpu {

// An encoder with its matrices repacked for the kernels; it needs the plan no more.
struct PackedEncoderLayer {
  PackedLinear query, key, value, output;
  int rope = -1;   // index into PackedEncoder::ropes, -1: none
  int window = 0;  // as EncoderLayer's
  LayerNorm attention_norm;
  PackedMlp mlp;
  LayerNorm output_norm;
};

struct PackedClassifier {
  PackedLinear dense;
  std::vector<float> weight;  // [D]
  float bias = 0;
};

struct PackedEncoder {
  int hidden_size = 0, intermediate_size = 0;
  int heads = 0, head_dim = 0;
  int context_length = 0;
  std::shared_ptr<const PackedMatrix> words, positions;  // no positions: null
  int first_position = 0;
  std::vector<float> types;  // [2, D]
  LayerNorm embedding_norm;
  EncoderNorms norms = EncoderNorms::on_stream;
  std::vector<Rope> ropes;  // distinct
  std::vector<PackedEncoderLayer> layers;
  Pooling pooling = Pooling::mean;
  std::optional<PackedClassifier> classifier;
  std::size_t weight_bytes = 0;

  int pooled_size() const { return classifier ? 1 : hidden_size; }
};

// Those of the layers, each once.
std::vector<Rope> ropes_of(const EncoderPlan& encoder);

// What the kernels cannot run of the plan's encoder: throws LoadError that names it.
void check_encoder(const ModelPlan& plan);

// Packs all matrices, every worker taking the next that is left. Throws as check_encoder does.
// `progress` may be null; it is called on this thread.
PackedEncoder pack_encoder(const ModelPlan& plan, const Kernels& kernels, WorkerPool& pool,
                           const LoadProgress& progress);

}  // namespace mlxd::cpu
