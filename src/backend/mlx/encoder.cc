#include "backend/mlx/encoder.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "engine/batch_check.h"

namespace mlxd::mlx_backend {
namespace {

// In float32, as the stream that it norms.
class LayerNormLayer {
 public:
  explicit LayerNormLayer(const LayerNorm& norm)
      : weight_(float_array(norm.weight)), bias_(float_array(norm.bias)), epsilon_(norm.epsilon) {}
  mx::array apply(const mx::array& x) const {
    return mx::fast::layer_norm(x, weight_, bias_, epsilon_);
  }

 private:
  mx::array weight_, bias_;
  float epsilon_;
};

struct Layer {
  LinearLayer query, key, value, output;
  LayerNormLayer attention_norm;
  LinearLayer up, down;
  LayerNormLayer output_norm;
};

struct ClassifierLayer {
  LinearLayer dense;
  mx::array weight;  // [D]
  float bias;
};

mx::array gelu(const mx::array& x) {
  const auto number = [&](double value) { return mx::array(static_cast<float>(value), x.dtype()); };
  return number(0.5) * x * (number(1) + mx::erf(x * number(1 / std::numbers::sqrt2)));
}

class EncoderRunner final : public ModelRunner {
 public:
  EncoderRunner(const ModelPlan& plan, int block_size, mx::Stream stream, mx::Dtype type)
      : stream_(stream),
        type_(type),
        loader_(type),
        heads_(plan.encoder->heads),
        head_dim_(plan.encoder->head_dim),
        first_position_(plan.encoder->first_position),
        pooling_(plan.pooled->pooling),
        words_(loader_.matrix(plan.embed.table)),
        positions_(loader_.matrix(plan.encoder->positions)),
        types_(mx::reshape(float_array(plan.encoder->types), {2, plan.config.hidden_size})),
        embedding_norm_(plan.encoder->embedding_norm) {
    const auto linear = [&](const Linear& each) { return LinearLayer(each, loader_); };
    for (const EncoderLayer& layer : plan.encoder->layers) {
      layers_.push_back({linear(layer.query), linear(layer.key), linear(layer.value),
                         linear(layer.output), LayerNormLayer(layer.attention_norm),
                         linear(layer.up), linear(layer.down), LayerNormLayer(layer.output_norm)});
    }
    if (const auto& classifier = plan.encoder->classifier) {
      classifier_.emplace(ClassifierLayer{linear(classifier->dense),
                                          float_array(classifier->weight), classifier->bias});
    }
    info_.backend = "mlx";
    info_.vocab_size = static_cast<int>(plan.embed.table.rows);
    info_.context_length = plan.config.context_length;
    info_.block_size = block_size;
    info_.weight_bytes = loader_.bytes();
    info_.pooled_size = classifier_ ? 1 : plan.config.hidden_size;
    info_.causal = false;
    info_.rows_are_independent = false;  // MLX chooses kernels by shape
  }

  const RunnerInfo& info() const override { return info_; }
  void resize_cache(const CacheSize& size) override { size_ = size; }
  // A step is built and evaluated when it is waited for.
  void launch(const Batch& batch) override {
    check_batch(batch, info_, size_);
    batch_ = batch;
  }
  void wait(StepOutput& output) override {
    const mx::StreamContext scope(stream_);
    output.logits.clear();
    output.drawn.clear();
    output.pooled.clear();
    if (batch_.wanted.empty()) return;
    mx::array x = embed();
    for (const Layer& layer : layers_) x = apply(layer, x);
    const mx::array pooled = mx::contiguous(pool(x));
    mx::eval(pooled);
    output.pooled.assign(pooled.data<float>(), pooled.data<float>() + pooled.size());
  }
  std::size_t buffer_bytes() const override { return mx::get_cache_memory(); }

 private:
  mx::array embed() const {
    std::vector<int> positions, types;
    for (const BatchSequence& text : batch_.sequences) {
      for (int i = 0; i < text.query_length; ++i) {
        positions.push_back(first_position_ + i);
        types.push_back(text.second_begin > 0 && i >= text.second_begin);
      }
    }
    const mx::array sum = take_rows(words_, int_array(batch_.tokens), mx::float32) +
                          take_rows(positions_, int_array(positions), mx::float32) +
                          mx::take(types_, int_array(types), 0);
    return embedding_norm_.apply(sum);
  }

  mx::array apply(const Layer& layer, const mx::array& x) const {
    const auto add = [&](const mx::array& to, const mx::array& update, const LayerNormLayer& norm) {
      return norm.apply(to + mx::astype(update, mx::float32));
    };
    const mx::array h = mx::astype(x, type_);
    const mx::array attended = attend(layer, h);
    const mx::array middle = add(x, layer.output.apply(attended), layer.attention_norm);
    const mx::array hidden = gelu(layer.up.apply(mx::astype(middle, type_)));
    return add(middle, layer.down.apply(hidden), layer.output_norm);
  }

  // Each row over all rows of its text.
  mx::array attend(const Layer& layer, const mx::array& h) const {
    const mx::array q = layer.query.apply(h), k = layer.key.apply(h), v = layer.value.apply(h);
    const int d = heads_ * head_dim_;
    std::vector<mx::array> outs;
    for (const BatchSequence& text : batch_.sequences) {
      const auto heads_of = [&](const mx::array& rows) {  // [1, heads, n, head_dim]
        const mx::array own =
            mx::slice(rows, {text.first_row, 0}, {text.first_row + text.query_length, d});
        return mx::expand_dims(
            mx::transpose(mx::reshape(own, {text.query_length, heads_, head_dim_}), {1, 0, 2}), 0);
      };
      const mx::array out = mx::fast::scaled_dot_product_attention(
          heads_of(q), heads_of(k), heads_of(v), 1 / std::sqrt(static_cast<float>(head_dim_)));
      outs.push_back(
          mx::reshape(mx::transpose(mx::squeeze(out, 0), {1, 0, 2}), {text.query_length, d}));
    }
    return outs.size() == 1 ? outs[0] : mx::concatenate(outs, 0);
  }

  // [wanted, pooled_size] float32
  mx::array pool(const mx::array& x) const {
    std::vector<mx::array> rows;
    auto wanted = batch_.wanted.begin();
    for (const BatchSequence& text : batch_.sequences) {
      const int first = text.first_row, end = first + text.query_length;
      if (wanted == batch_.wanted.end() || wanted->row != end - 1) continue;
      ++wanted;
      const int d = x.shape(1);
      const int begin = pooling_ == Pooling::last ? end - 1 : first;
      const int behind = pooling_ == Pooling::first ? first + 1 : end;
      rows.push_back(mx::mean(mx::slice(x, {begin, 0}, {behind, d}), 0, /*keepdims=*/true));
    }
    const mx::array pooled = mx::concatenate(rows, 0);
    if (!classifier_) return pooled;
    const mx::array dense =
        mx::tanh(mx::astype(classifier_->dense.apply(mx::astype(pooled, type_)), mx::float32));
    return mx::sum(dense * classifier_->weight, -1, /*keepdims=*/true) +
           mx::array(classifier_->bias);
  }

  mx::Stream stream_;  // of the thread that made this runner
  mx::Dtype type_;
  WeightLoader loader_;
  const int heads_, head_dim_, first_position_;
  const Pooling pooling_;
  Matrix words_, positions_;
  mx::array types_;  // [2, D]
  LayerNormLayer embedding_norm_;
  std::vector<Layer> layers_;
  std::optional<ClassifierLayer> classifier_;
  RunnerInfo info_;
  CacheSize size_;
  Batch batch_;  // that was launched
};

}  // namespace

std::unique_ptr<ModelRunner> make_encoder_runner(const ModelPlan& plan, int block_size,
                                                 mx::Stream stream, mx::Dtype type) {
  return std::make_unique<EncoderRunner>(plan, block_size, stream, type);
}

// As for other models: a row's values as floats a few times over, and the scores of attention where
// MLX makes them.
std::size_t encoder_step_memory(const ModelPlan& plan, const StepLimits& limits) {
  const auto context = static_cast<std::size_t>(plan.config.context_length);
  const auto rows = std::max(static_cast<std::size_t>(limits.rows), context);
  const auto d = static_cast<std::size_t>(plan.config.hidden_size);
  const auto hidden = static_cast<std::size_t>(plan.config.intermediate_size);
  const auto heads = static_cast<std::size_t>(plan.encoder->heads);
  return (rows * (12 * d + 3 * hidden) + 2 * heads * context * rows) * sizeof(float);
}

}  // namespace mlxd::mlx_backend
