#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "backend/mlx/layers.h"
#include "backend/mlx/mlx_backend.h"
#include "base/error.h"
#include "engine/batch_check.h"

namespace mlxd::mlx_backend {
namespace {

mx::Device pick_device(const std::string& name) {
  const bool has_gpu = mx::is_available(mx::Device(mx::Device::gpu));
  if (name == "gpu" && !has_gpu) {
    throw StartupError("the mlx backend finds no GPU here; use its device \"cpu\"");
  }
  if (!name.empty() && name != "gpu" && name != "cpu") {
    throw StartupError("the mlx backend has no device \"" + name + "\", only gpu and cpu");
  }
  return mx::Device(name == "cpu" || !has_gpu ? mx::Device::cpu : mx::Device::gpu);
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
    info_.kv = {{.block_bytes = cache_.block_bytes()}};
    info_.weight_bytes = loader_.bytes();
    info_.rows_are_independent = false;  // MLX chooses kernels by shape
  }

  const RunnerInfo& info() const override { return info_; }
  void resize_cache(const CacheSize& size) override {
    const mx::StreamContext scope(stream_);
    size_ = size;
    cache_.resize(size.blocks[0]);
  }
  void launch(const Batch& batch) override;
  void wait(StepOutput& output) override { std::swap(output, output_); }
  // What MLX keeps for reuse: between steps nothing else is alive.
  std::size_t buffer_bytes() const override { return mx::get_cache_memory(); }

 private:
  mx::array forward(StepLayout& layout);
  mx::array logits(const mx::array& x, std::span<const WantedRow> rows) const;

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
  CacheSize size_;
  StepOutput output_;  // of the step that was launched
};

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

mx::array MlxRunner::logits(const mx::array& x, std::span<const WantedRow> rows) const {
  std::vector<int> indices;
  for (const WantedRow& wanted : rows) indices.push_back(wanted.row);
  const mx::array wanted(indices.begin(), {static_cast<mx::ShapeElem>(rows.size())}, mx::int32);
  const mx::array h = mx::astype(head_norm_.apply(mx::take(x, wanted, 0)), type_);
  const mx::array out = mx::astype(head_.apply(h), mx::float32);
  return softcap_ > 0 ? mx::tanh(out * mx::array(1 / softcap_)) * mx::array(softcap_) : out;
}

void MlxRunner::launch(const Batch& batch) {
  check_batch(batch, info_, size_);
  const mx::StreamContext scope(stream_);
  cache_.copy_blocks(batch.block_copies);
  output_.logits.resize(batch.wanted.size() * static_cast<std::size_t>(info_.vocab_size));
  if (batch.rows() == 0) return;

  StepLayout layout(batch, info_.block_size);
  const mx::array x = forward(layout);
  std::vector<mx::array> results;
  cache_.append_to(results);
  if (batch.wanted.empty()) {
    mx::eval(std::move(results));
    return;
  }
  const mx::array out = mx::contiguous(logits(x, batch.wanted));
  results.push_back(out);
  mx::eval(std::move(results));
  std::memcpy(output_.logits.data(), out.data<float>(), output_.logits.size() * sizeof(float));
}

}  // namespace

bool available() { return true; }

RunnerMemory foresee_mlx_memory(const ModelPlan& plan, const MlxOptions& options) {
  const mx::Dtype type =
      compute_type(plan.embed.table, pick_device(options.device) == mx::Device::cpu);
  RunnerMemory memory;
  for (const Tensor* matrix : matrices_of(plan)) {
    memory.weight_bytes += device_bytes(*matrix, type);
  }
  memory.kv = {
      {.block_bytes = PagedCache(cache_layers(plan), options.block_size, type).block_bytes()}};
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
