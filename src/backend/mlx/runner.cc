#include <algorithm>
#include <cstring>
#include <variant>
#include <vector>

#include "backend/mlx/layers.h"
#include "backend/mlx/mlx_backend.h"
#include "base/check.h"
#include "base/error.h"

namespace mlxd::mlx_backend {
namespace {

mx::Device pick_device(const std::string& name) {
  if (name == "gpu" && !has_gpu()) {
    throw StartupError("the mlx backend finds no GPU here; use its device \"cpu\"");
  }
  if (!name.empty() && name != "gpu" && name != "cpu") {
    throw StartupError("the mlx backend has no device \"" + name + "\", only gpu and cpu");
  }
  return mx::Device(name == "cpu" || !has_gpu() ? mx::Device::cpu : mx::Device::gpu);
}

// What matrices and activations are made of. On a CPU floats, so that it is the reference that the
// others are checked against; on a GPU the type that the file's numbers or scales have.
mx::Dtype compute_type(const Tensor& table, bool is_cpu) {
  const Quantization& form = table.quantization;
  const Encoding encoding =
      form.encoding == Encoding::mlx_affine ? form.scale_encoding : form.encoding;
  if (is_cpu || encoding == Encoding::f32) return mx::float32;
  return encoding == Encoding::bf16 ? mx::bfloat16 : mx::float16;
}

std::vector<PagedCache::Layer> cache_layers(const ModelPlan& plan) {
  std::vector<PagedCache::Layer> layers(static_cast<std::size_t>(plan.kv_layers));
  for (const auto& block : plan.blocks) {
    if (const auto* attention = std::get_if<AttentionBlock>(&block)) {
      layers.at(attention->layer) = {attention->kv_heads, attention->head_dim};
    }
  }
  return layers;
}

using Layer = std::variant<AttentionLayer, FeedForwardLayer>;

std::vector<Layer> make_layers(const ModelPlan& plan, WeightLoader& loader) {
  std::vector<Layer> layers;
  for (const auto& block : plan.blocks) {
    if (const auto* attention = std::get_if<AttentionBlock>(&block)) {
      layers.emplace_back(AttentionLayer(*attention, loader));
    } else {
      layers.emplace_back(FeedForwardLayer(std::get<FeedForwardBlock>(block), loader));
    }
  }
  return layers;
}

class MlxRunner final : public ModelRunner {
 public:
  // `stream` is the default of this thread already: the weights are made on it.
  MlxRunner(const ModelPlan& plan, const MlxOptions& options, mx::Stream stream)
      : stream_(stream),
        type_(compute_type(plan.embed.table, stream.device == mx::Device::cpu)),
        loader_(type_),
        table_(loader_.matrix(plan.embed.table)),
        embed_scale_(plan.embed.scale),
        layers_(make_layers(plan, loader_)),
        head_norm_(plan.head.norm),
        head_(plan.head.weight, loader_),
        softcap_(plan.head.softcap),
        cache_(cache_layers(plan), options.block_size, type_) {
    info_.backend = "mlx";
    info_.vocab_size = static_cast<int>(plan.head.weight.weight.rows);
    info_.context_length = plan.config.context_length;
    info_.block_size = options.block_size;
    info_.block_bytes = cache_.block_bytes();
    info_.weight_bytes = loader_.bytes();
    info_.rows_are_independent = false;  // MLX chooses kernels by shape
  }

  const RunnerInfo& info() const override { return info_; }
  void resize_kv(int blocks) override {
    const mx::StreamContext scope(stream_);
    cache_.resize(blocks);
  }
  void step(const Batch& batch, StepOutput& output) override;
  // What MLX keeps for reuse: between steps nothing else is alive.
  std::size_t buffer_bytes() const override { return mx::get_cache_memory(); }

 private:
  void check_batch(const Batch& batch) const;
  mx::array forward(StepLayout& layout);
  mx::array logits(const mx::array& x, const std::vector<int>& rows) const;

  mx::Stream stream_;  // of the thread that made this runner
  mx::Dtype type_;
  WeightLoader loader_;
  Matrix table_;
  float embed_scale_;
  std::vector<Layer> layers_;
  NormLayer head_norm_;
  LinearLayer head_;
  float softcap_;
  PagedCache cache_;
  RunnerInfo info_;
};

// The engine's promises of model_runner.h without which MLX would read or write outside its arrays.
void MlxRunner::check_batch(const Batch& batch) const {
  const auto in_range = [](int value, int count) { return value >= 0 && value < count; };
  for (const int token : batch.tokens) {
    check(in_range(token, info_.vocab_size), "a token is of the vocabulary");
  }
  int rows = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    const std::size_t blocks =
        (static_cast<std::size_t>(sequence.context_length) + info_.block_size - 1) /
        info_.block_size;
    check(sequence.first_row == rows && sequence.query_length > 0 &&
              sequence.context_length >= sequence.query_length && sequence.blocks.size() >= blocks,
          "the sequences of a batch cover its rows, and block tables their tokens");
    for (std::size_t i = 0; i < blocks; ++i) {
      check(in_range(sequence.blocks[i], cache_.blocks()),
            "a block table names blocks of the cache");
    }
    rows += sequence.query_length;
  }
  check(rows == batch.rows() && batch.positions.size() == batch.tokens.size(),
        "every row of a batch belongs to a sequence");
  for (const int row : batch.logit_rows) check(in_range(row, rows), "logit rows are of the batch");
  for (const auto& [from, to] : batch.block_copies) {
    check(in_range(from, cache_.blocks()) && in_range(to, cache_.blocks()),
          "copied blocks are of the cache");
  }
}

mx::array MlxRunner::forward(StepLayout& layout) {
  mx::array x = take_rows(table_, layout.tokens(), mx::float32) * mx::array(embed_scale_);
  for (const Layer& layer : layers_) {
    if (const auto* attention = std::get_if<AttentionLayer>(&layer)) {
      x = attention->apply(x, type_, cache_, layout);
    } else {
      x = std::get<FeedForwardLayer>(layer).apply(x, type_);
    }
  }
  return x;
}

mx::array MlxRunner::logits(const mx::array& x, const std::vector<int>& rows) const {
  const mx::array wanted(rows.begin(), {static_cast<mx::ShapeElem>(rows.size())}, mx::int32);
  const mx::array h = mx::astype(head_norm_.apply(mx::take(x, wanted, 0)), type_);
  const mx::array out = mx::astype(head_.apply(h), mx::float32);
  return softcap_ > 0 ? mx::tanh(out * mx::array(1 / softcap_)) * mx::array(softcap_) : out;
}

void MlxRunner::step(const Batch& batch, StepOutput& output) {
  check_batch(batch);
  const mx::StreamContext scope(stream_);
  cache_.copy_blocks(batch.block_copies);
  output.logits.resize(batch.logit_rows.size() * static_cast<std::size_t>(info_.vocab_size));
  if (batch.rows() == 0) return;

  StepLayout layout(batch, info_.block_size);
  const mx::array x = forward(layout);
  std::vector<mx::array> results;
  cache_.append_to(results);
  if (batch.logit_rows.empty()) {
    mx::eval(std::move(results));
    return;
  }
  const mx::array out = mx::contiguous(logits(x, batch.logit_rows));
  results.push_back(out);
  mx::eval(std::move(results));
  std::memcpy(output.logits.data(), out.data<float>(), output.logits.size() * sizeof(float));
}

}  // namespace

bool available() { return true; }

bool has_gpu() { return mx::is_available(mx::Device(mx::Device::gpu)); }

RunnerMemory foresee_mlx_memory(const ModelPlan& plan, const MlxOptions& options) {
  const mx::Dtype type =
      compute_type(plan.embed.table, pick_device(options.device) == mx::Device::cpu);
  RunnerMemory memory;
  for (const Tensor* matrix : matrices_of(plan)) {
    memory.weight_bytes += device_bytes(*matrix, type);
  }
  memory.block_bytes = PagedCache(cache_layers(plan), options.block_size, type).block_bytes();
  memory.block_size = options.block_size;
  return memory;
}

std::unique_ptr<ModelRunner> make_mlx_runner(const ModelPlan& plan, const MlxOptions& options) {
  const mx::Device device = pick_device(options.device);
  // On a CPU, MLX compiles fused operations by starting a C++ compiler at run time.
  if (device == mx::Device::cpu) mx::disable_compile();
  // Arrays belong to the thread whose stream made them. Each thread has a stream of its own for a
  // device; a runner names it in every call, since others on its thread may run on another device.
  const mx::Stream stream = mx::default_stream(device);
  const mx::StreamContext scope(stream);
  return std::make_unique<MlxRunner>(plan, options, stream);
}

}  // namespace mlxd::mlx_backend
