#include "backend/mlx/encoder.h"

#include <algorithm>
#include <cmath>
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
  std::optional<RopeLayer> rope;
  int window;  // as EncoderLayer's
  LayerNormLayer attention_norm;
  GatedLayer hidden;
  LayerNormLayer output_norm;
};

struct ClassifierLayer {
  LinearLayer dense;
  mx::array weight;  // [D]
  float bias;
};

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
        types_(mx::reshape(float_array(plan.encoder->types), {2, plan.config.hidden_size})),
        embedding_norm_(plan.encoder->embedding_norm),
        norms_(plan.encoder->norms) {
    if (const auto& learnt = plan.encoder->positions) positions_ = loader_.matrix(*learnt);
    const auto linear = [&](const Linear& each) { return LinearLayer(each, loader_); };
    for (const EncoderLayer& layer : plan.encoder->layers) {
      layers_.push_back(
          {linear(layer.query), linear(layer.key), linear(layer.value), linear(layer.output),
           layer.rope ? std::optional<RopeLayer>(*layer.rope) : std::nullopt, layer.window,
           LayerNormLayer(layer.attention_norm), GatedLayer(layer, layer.activation, loader_),
           LayerNormLayer(layer.output_norm)});
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
    const StepRows rows = rows_of_step();
    const mx::array embedded = embed(rows);
    Stream stream{embedded, embedded};
    for (const Layer& layer : layers_) stream = apply(layer, stream, rows);
    const mx::array pooled = mx::contiguous(pool(stream.h));
    mx::eval(pooled);
    output.pooled.assign(pooled.data<float>(), pooled.data<float>() + pooled.size());
  }
  std::size_t buffer_bytes() const override { return mx::get_cache_memory(); }

 private:
  struct StepRows {
    mx::array positions, types;  // [T]
  };
  // [T, D] float32: the residual stream, and what blocks read of it.
  struct Stream {
    mx::array x, h;
  };

  StepRows rows_of_step() const {
    std::vector<int> positions, types;
    for (const BatchSequence& text : batch_.sequences) {
      for (int i = 0; i < text.query_length; ++i) {
        positions.push_back(i);
        types.push_back(text.second_begin > 0 && i >= text.second_begin);
      }
    }
    return {int_array(positions), int_array(types)};
  }

  mx::array embed(const StepRows& rows) const {
    mx::array sum =
        take_rows(words_, int_array(batch_.tokens), mx::float32) + mx::take(types_, rows.types, 0);
    if (positions_) {
      sum = sum + take_rows(*positions_, rows.positions + mx::array(first_position_), mx::float32);
    }
    return embedding_norm_.apply(sum);
  }

  Stream apply(const Layer& layer, const Stream& stream, const StepRows& rows) const {
    const auto add = [&](const Stream& to, const mx::array& update, const LayerNormLayer& norm) {
      const mx::array sum = to.x + mx::astype(update, mx::float32);
      const mx::array normed = norm.apply(sum);
      return Stream{norms_ == EncoderNorms::on_stream ? normed : sum, normed};
    };
    const mx::array attended = attend(layer, mx::astype(stream.h, type_), rows);
    const Stream middle = add(stream, layer.output.apply(attended), layer.attention_norm);
    return add(middle, layer.hidden.apply(mx::astype(middle.h, type_)), layer.output_norm);
  }

  // [T, heads, head_dim], turned by the rows' positions.
  mx::array heads(const mx::array& rows, const std::optional<RopeLayer>& rope,
                  const mx::array& positions) const {
    const mx::array parted = mx::reshape(rows, {rows.shape(0), heads_, head_dim_});
    return rope ? rope->apply(parted, positions) : parted;
  }

  // Each row over all rows of its text, or those in its window.
  mx::array attend(const Layer& layer, const mx::array& h, const StepRows& rows) const {
    const mx::array q = heads(layer.query.apply(h), layer.rope, rows.positions);
    const mx::array k = heads(layer.key.apply(h), layer.rope, rows.positions);
    const mx::array v = heads(layer.value.apply(h), std::nullopt, rows.positions);
    std::vector<mx::array> outs;
    for (const BatchSequence& text : batch_.sequences) {
      const int n = text.query_length;
      const auto of_text = [&](const mx::array& all) {  // [1, heads, n, head_dim]
        const mx::array own =
            mx::slice(all, {text.first_row, 0, 0}, {text.first_row + n, heads_, head_dim_});
        return mx::expand_dims(mx::transpose(own, {1, 0, 2}), 0);
      };
      const bool windowed = layer.window > 0 && n > layer.window + 1;
      const mx::array out = mx::fast::scaled_dot_product_attention(
          of_text(q), of_text(k), of_text(v), 1 / std::sqrt(static_cast<float>(head_dim_)),
          windowed ? "array" : "",
          windowed ? std::optional(window_mask(n, layer.window)) : std::nullopt);
      outs.push_back(
          mx::reshape(mx::transpose(mx::squeeze(out, 0), {1, 0, 2}), {n, heads_ * head_dim_}));
    }
    return outs.size() == 1 ? outs[0] : mx::concatenate(outs, 0);
  }

  // [n, n]: which rows are at most `window` apart.
  static mx::array window_mask(int n, int window) {
    const mx::array rows = mx::arange(n, mx::int32);
    const mx::array apart = mx::abs(mx::expand_dims(rows, 1) - mx::expand_dims(rows, 0));
    return mx::less_equal(apart, mx::array(window));
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
  Matrix words_;
  std::optional<Matrix> positions_;
  mx::array types_;  // [2, D]
  LayerNormLayer embedding_norm_;
  const EncoderNorms norms_;
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
  const std::size_t layers_of_hidden = plan.encoder->layers.front().gate ? 5 : 3;
  return (rows * (12 * d + layers_of_hidden * hidden) + 2 * heads * context * rows) * sizeof(float);
}

}  // namespace mlxd::mlx_backend
