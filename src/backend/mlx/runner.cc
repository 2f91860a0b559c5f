#include <algorithm>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "backend/mlx/delta_net.h"
#include "backend/mlx/encoder.h"
#include "backend/mlx/latent_attention.h"
#include "backend/mlx/layers.h"
#include "backend/mlx/mamba2.h"
#include "backend/mlx/mlx_backend.h"
#include "backend/mlx/short_conv.h"
#include "base/error.h"
#include "base/overloaded.h"
#include "engine/batch_check.h"
#include "model/kv_layout.h"

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
  // Small floats say nothing: as in mlx-lm.
  const bool small_floats = is_mlx(encoding);
  return encoding == Encoding::bf16 || small_floats ? mx::bfloat16 : mx::float16;
}

PagedCache make_cache(const ModelPlan& plan, int block_size, mx::Dtype type) {
  const KvLayout layout = kv_layout(plan, kMaxKvGroups);
  std::vector<PagedCache::Layer> layers(layout.group_of.size());
  const Overloaded add_layer = {
      [&](const AttentionBlock& block) {
        layers[block.layer] = {block.kv_heads, block.head_dim, layout.group_of[block.layer]};
      },
      [&](const LatentAttentionBlock& block) {
        layers[block.layer] = {.kv_heads = 1,
                               .head_dim = block.key_dim(),
                               .group = layout.group_of[block.layer],
                               .values_in_keys = true};
      },
      [](const FeedForwardBlock&) {},
      [](const ExpertsBlock&) {},
      [](const DeltaNetBlock&) {},
      [](const ShortConvBlock&) {},
      [](const Mamba2Block&) {},
      [](const LayerInputBlock&) {},
  };
  for (const Block& block : plan.blocks) std::visit(add_layer, block);
  return PagedCache(std::move(layers), layout.windows, block_size, type);
}

std::size_t file_bytes(const ModelPlan& plan) {
  std::size_t bytes = 0;
  for (const Tensor* matrix : matrices_of(plan)) bytes += matrix->byte_size();
  return bytes;
}

using Layer = std::variant<AttentionLayer, LatentAttentionLayer, FeedForwardLayer, ExpertsLayer,
                           DeltaNetLayer, ShortConvLayer, Mamba2Layer, LayerInputLayer>;

std::vector<Layer> make_layers(const ModelPlan& plan, WeightLoader& loader) {
  std::vector<Layer> layers;
  const Overloaded make_layer = {
      [&](const AttentionBlock& block) -> Layer { return AttentionLayer(block, loader); },
      [&](const LatentAttentionBlock& block) -> Layer {
        return LatentAttentionLayer(block, loader);
      },
      [&](const FeedForwardBlock& block) -> Layer { return FeedForwardLayer(block, loader); },
      [&](const ExpertsBlock& block) -> Layer { return ExpertsLayer(block, loader); },
      [&](const DeltaNetBlock& block) -> Layer { return DeltaNetLayer(block, loader); },
      [&](const ShortConvBlock& block) -> Layer { return ShortConvLayer(block, loader); },
      [&](const Mamba2Block& block) -> Layer { return Mamba2Layer(block, loader); },
      [&](const LayerInputBlock& block) -> Layer { return LayerInputLayer(block, loader); },
  };
  for (const Block& block : plan.blocks) layers.push_back(std::visit(make_layer, block));
  return layers;
}

class MlxRunner final : public ModelRunner {
 public:
  // `stream` is the default of this thread already: the weights are made on it.
  MlxRunner(const ModelPlan& plan, const MlxOptions& options, mx::Stream stream,
            const LoadProgress& progress)
      : stream_(stream),
        type_(compute_type(plan.embed.table, stream.device == mx::Device::cpu)),
        loader_(type_, file_bytes(plan), progress),
        table_(loader_.matrix(plan.embed.table)),
        embed_scale_(plan.embed.scale),
        layers_(make_layers(plan, loader_)),
        head_norm_(plan.head.norm),
        head_(plan.head.weight, loader_),
        softcap_(plan.head.softcap),
        cache_(make_cache(plan, options.block_size, type_)),
        states_(plan) {
    if (plan.layer_inputs) layer_inputs_.emplace(*plan.layer_inputs, plan.weights, loader_);
    info_.backend = "mlx";
    info_.vocab_size = static_cast<int>(plan.head.weight.weight.rows);
    info_.context_length = plan.config.context_length;
    info_.block_size = options.block_size;
    info_.kv = cache_.groups();
    info_.state_bytes = states_.slot_bytes();
    info_.weight_bytes = loader_.bytes();
    if (plan.pooled) info_.pooled_size = static_cast<int>(plan.embed.table.columns);
    info_.rows_are_independent = false;  // MLX chooses kernels by shape
    if (progress) progress(1);
  }

  const RunnerInfo& info() const override { return info_; }
  void resize_cache(const CacheSize& size) override {
    const mx::StreamContext scope(stream_);
    size_ = size;
    cache_.resize(size.blocks);
    states_.resize(size.states);
  }
  // A step is built and evaluated when it is waited for.
  void launch(const Batch& batch) override {
    check_batch(batch, info_, size_);
    batch_ = batch;
  }
  void wait(StepOutput& output) override;
  // What MLX keeps for reuse: between steps nothing else is alive.
  std::size_t buffer_bytes() const override { return mx::get_cache_memory(); }

 private:
  mx::array forward(StepLayout& layout);
  mx::array last_hidden(const mx::array& x, std::span<const WantedRow> rows) const;
  mx::array logits(const mx::array& h) const;

  mx::Stream stream_;  // of the thread that made this runner
  mx::Dtype type_;
  WeightLoader loader_;
  Matrix table_;
  float embed_scale_;
  std::optional<LayerInputsLayer> layer_inputs_;
  std::vector<Layer> layers_;
  NormLayer head_norm_;
  LinearLayer head_;
  float softcap_;
  PagedCache cache_;
  StateCache states_;
  RunnerInfo info_;
  CacheSize size_;
  Batch batch_;  // that was launched
};

mx::array MlxRunner::forward(StepLayout& layout) {
  mx::array x = take_rows(table_, layout.tokens(), mx::float32) * mx::array(embed_scale_);
  std::optional<mx::array> inputs;  // [T, layers, P]
  if (layer_inputs_) inputs = layer_inputs_->apply(x, batch_.tokens, type_);
  const Overloaded apply = {
      [&](const AttentionLayer& layer) { return layer.apply(x, type_, cache_, layout); },
      [&](const LatentAttentionLayer& layer) { return layer.apply(x, type_, cache_, layout); },
      [&](const FeedForwardLayer& layer) { return layer.apply(x, type_); },
      [&](const ExpertsLayer& layer) { return layer.apply(x, type_); },
      [&](const DeltaNetLayer& layer) { return layer.apply(x, type_, states_, layout); },
      [&](const ShortConvLayer& layer) { return layer.apply(x, type_, states_, layout); },
      [&](const Mamba2Layer& layer) { return layer.apply(x, type_, states_, layout); },
      [&](const LayerInputLayer& layer) { return layer.apply(x, *inputs, type_); },
  };
  for (const Layer& layer : layers_) x = std::visit(apply, layer);
  return x;
}

// What the head reads of these rows, [rows, D] float32.
mx::array MlxRunner::last_hidden(const mx::array& x, std::span<const WantedRow> rows) const {
  std::vector<int> indices;
  for (const WantedRow& wanted : rows) indices.push_back(wanted.row);
  const mx::array wanted = int_array(indices);
  return head_norm_.apply(mx::take(x, wanted, 0));
}

mx::array MlxRunner::logits(const mx::array& h) const {
  const mx::array out = mx::astype(head_.apply(mx::astype(h, type_)), mx::float32);
  return softcap_ > 0 ? mx::tanh(out * mx::array(1 / softcap_)) * mx::array(softcap_) : out;
}

void MlxRunner::wait(StepOutput& output) {
  const Batch& batch = batch_;
  const mx::StreamContext scope(stream_);
  cache_.copy_blocks(batch.block_copies);
  output.logits.clear();
  output.pooled.clear();
  if (batch.rows() == 0) return;

  states_.discard();  // of a step that failed
  StepLayout layout(batch, info_.block_size, static_cast<int>(info_.kv.size()));
  const mx::array x = forward(layout);
  std::vector<mx::array> results;
  cache_.append_to(results);
  states_.append_to(results);
  if (batch.wanted.empty()) {
    mx::eval(std::move(results));
    states_.commit();
    return;
  }
  std::vector<WantedRow> scored, pooled;
  for (const WantedRow& wanted : batch.wanted) {
    (wanted.output == RowOutput::pooled ? pooled : scored).push_back(wanted);
  }
  const auto hand_out = [&](const mx::array& values, std::vector<float>& to) {
    to.assign(values.data<float>(), values.data<float>() + values.size());
  };
  const std::size_t cached = results.size();
  if (!scored.empty()) results.push_back(mx::contiguous(logits(last_hidden(x, scored))));
  if (!pooled.empty()) results.push_back(mx::contiguous(last_hidden(x, pooled)));
  mx::eval(results);
  states_.commit();
  if (!scored.empty()) hand_out(results[cached], output.logits);
  if (!pooled.empty()) hand_out(results.back(), output.pooled);
}

// MLX keeps a step's arrays alive as long as its graph needs them, and what it freed for reuse: a
// row's values as floats a few times over, what a sequence's layer reads of a cache whose blocks
// are not neighbours, the scores of attention where they are made, and the logits.
std::size_t step_memory(const ModelPlan& plan, const StepLimits& limits, mx::Dtype type) {
  std::size_t query = 0, kv = 0, hidden = 0, scores = 0;
  const Overloaded widen = {
      [&](const AttentionBlock& block) {
        query = std::max(query, static_cast<std::size_t>(block.query.weight.rows));
        kv = std::max(kv, static_cast<std::size_t>(block.kv_heads) * block.head_dim);
      },
      [&](const LatentAttentionBlock& block) {
        query = std::max(query, static_cast<std::size_t>(block.heads) * block.key_dim());
        kv = std::max(kv, static_cast<std::size_t>(block.key_dim()));
        scores = LatentAttentionLayer::score_bytes(type);
      },
      [&](const FeedForwardBlock& block) {
        hidden = std::max(hidden, static_cast<std::size_t>(block.up.weight.rows));
      },
      [&](const DeltaNetBlock& block) {
        // Before and after the convolution and in heads, and the state of a row.
        const std::size_t values = block.value_heads * block.value_dim;
        hidden = std::max(hidden, 3 * static_cast<std::size_t>(block.channels()) + 4 * values);
      },
      [&](const ShortConvBlock& block) {
        // Three products, and before and after the convolution.
        hidden = std::max(hidden, 5 * static_cast<std::size_t>(block.channels()));
      },
      [&](const Mamba2Block& block) {
        // Before and after the convolution, b and c of each head, and values.
        const std::size_t values = block.values(), states = block.heads * block.state_size;
        hidden = std::max(hidden,
                          3 * static_cast<std::size_t>(block.channels()) + 4 * (values + states));
      },
      [](const LayerInputBlock&) {},
      [&](const ExpertsBlock& block) {
        // Of each expert that a row chose, in place of one hidden layer: and its output.
        const auto each =
            static_cast<std::size_t>(block.intermediate_size()) + plan.embed.table.columns;
        hidden = std::max<std::size_t>(hidden, each * block.choice.chosen);
      },
  };
  for (const Block& block : plan.blocks) std::visit(widen, block);
  const auto model = static_cast<std::size_t>(plan.embed.table.columns);
  const std::size_t inputs = plan.layer_inputs ? 4 * plan.layer_inputs->table.columns : 0;
  const std::size_t row = (inputs + 7 * model + 3 * query + 2 * kv + 2 * hidden) * sizeof(float);
  const auto context = static_cast<std::size_t>(plan.config.context_length);
  const std::size_t gathered = 2 * context * kv * mx::size_of(type);
  const auto vocabulary = static_cast<std::size_t>(plan.head.weight.weight.rows);
  return limits.rows * row + gathered + scores +
         2 * limits.wanted_rows * vocabulary * sizeof(float);
}

}  // namespace

bool available() { return true; }

bool has_gpu() { return mx::is_available(mx::Device(mx::Device::gpu)); }

RunnerMemory foresee_mlx_memory(const ModelPlan& plan, const MlxOptions& options,
                                const StepLimits& limits) {
  const mx::Dtype type =
      compute_type(plan.embed.table, pick_device(options.device) == mx::Device::cpu);
  RunnerMemory memory;
  for (const Tensor* matrix : matrices_of(plan)) {
    memory.weight_bytes += device_bytes(*matrix, type);
  }
  memory.block_size = options.block_size;
  if (plan.encoder) {
    memory.step_bytes = encoder_step_memory(plan, limits);
    return memory;
  }
  memory.kv = make_cache(plan, options.block_size, type).groups();
  memory.state_bytes = StateCache(plan).slot_bytes();
  memory.step_bytes = step_memory(plan, limits, type);
  return memory;
}

std::unique_ptr<ModelRunner> make_mlx_runner(const ModelPlan& plan, const MlxOptions& options,
                                             const LoadProgress& progress) {
  const mx::Device device = pick_device(options.device);
  // On a CPU, MLX compiles fused operations by starting a C++ compiler at run time.
  if (device == mx::Device::cpu) mx::disable_compile();
  // Arrays belong to the thread whose stream made them. Each thread has a stream of its own for a
  // device; a runner names it in every call, since others on its thread may run on another device.
  const mx::Stream stream = mx::default_stream(device);
  const mx::StreamContext scope(stream);
  if (plan.encoder) {
    const mx::Dtype type = compute_type(plan.embed.table, device == mx::Device::cpu);
    return make_encoder_runner(plan, options.block_size, stream, type);
  }
  return std::make_unique<MlxRunner>(plan, options, stream, progress);
}

}  // namespace mlxd::mlx_backend
