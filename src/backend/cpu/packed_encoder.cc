#include "backend/cpu/packed_encoder.h"

#include <atomic>

#include <fmt/format.h>

#include "backend/cpu/kv_cache.h"
#include "base/error.h"

namespace mlxd::cpu {
namespace {

class Packer {
 public:
  explicit Packer(const Kernels& kernels) : kernels_(kernels) {}

  void want(const Tensor& tensor, std::shared_ptr<const PackedMatrix>& target) {
    jobs_.push_back({&tensor, &target});
  }
  void want(const Linear& linear, PackedLinear& target) {
    target.bias = linear.bias;
    want(linear.weight, target.matrix);
  }

  // Returns the bytes of all.
  std::size_t run(WorkerPool& pool, void (*progress)(double)) {
    std::atomic<std::size_t> done = 0, bytes = 0;
    const auto pack = [&](int worker, int first, int end) {
      for (int i = first; i < end; ++i) {
        std::shared_ptr<const PackedMatrix> packed = kernels_.pack(*jobs_[i].tensor);
        bytes += packed->bytes();
        *jobs_[i].target = std::move(packed);
        ++done;
        if (worker == 0 && progress) progress(static_cast<double>(done) / jobs_.size());
      }
    };
    const Phase phase = {
        .units = [&] { return static_cast<int>(jobs_.size()); }, .run = pack, .in_order = true};
    pool.run({&phase, 1});
    if (progress) progress(1);
    return bytes;
  }

 private:
  struct Job {
    const Tensor* tensor;
    std::shared_ptr<const PackedMatrix>* target;
  };

  const Kernels& kernels_;
  std::vector<Job> jobs_;
};

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
                           void (*progress)(double)) {
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
  Packer packer(kernels);
  packer.want(plan.embed.table, packed.words);
  packer.want(encoder.positions, packed.positions);
  packed.layers.resize(encoder.layers.size());  // targets must not move
  for (std::size_t i = 0; i < encoder.layers.size(); ++i) {
    const EncoderLayer& from = encoder.layers[i];
    PackedEncoderLayer& to = packed.layers[i];
    packer.want(from.query, to.query);
    packer.want(from.key, to.key);
    packer.want(from.value, to.value);
    packer.want(from.output, to.output);
    packer.want(from.up, to.mlp.up);
    packer.want(from.down, to.mlp.down);
    to.attention_norm = from.attention_norm;
    to.output_norm = from.output_norm;
  }
  if (const auto& classifier = encoder.classifier) {
    PackedClassifier& to = packed.classifier.emplace();
    packer.want(classifier->dense, to.dense);
    to.weight = classifier->weight;
    to.bias = classifier->bias;
  }
  packed.weight_bytes = packer.run(pool, progress);
  return packed;
}

}  // namespace mlxd::cpu
