// Random models small enough that a plain double-precision forward pass checks every logit.
#pragma once

#include <cmath>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/model_plan.h"

namespace mlxd::cpu {

enum class Recurrent { none, delta_net, short_convolution, mamba2 };

struct TinyModelOptions {
  Encoding encoding = Encoding::f32;  // of all matrices: f32, q8_0 or q4_1
  int layers = 2;
  int hidden_size = 64, heads = 4, kv_heads = 2, head_dim = 16, intermediate_size = 96;
  int vocab_size = 50;
  int rotated = 16;  // dimensions of a head
  bool interleaved = false;
  bool bias = false;
  bool head_norms = false;
  bool row_norms = false;  // of all heads of q and of k as one vector
  bool input_norms = true;
  bool sandwich_norms = false;
  bool rope = true;  // in every other layer; the others have it always
  std::optional<PositionTemperature> temperature = {};
  float residual_scale = 1;
  bool tied = true;
  int window = 0;  // of every other layer
  float softcap = 0, logit_softcap = 0;
  float embedding_scale = 1, rope_magnitude = 1;
  Activation activation = Activation::silu;  // squared_relu: without a gate
  bool gated = false;                        // attention
  bool sinks = false;
  Recurrent recurrent = Recurrent::none;  // every other layer, in the place of attention
  int key_heads = 2, value_heads = 4;     // of those; of Mamba-2 its groups and heads
  int key_dim = 16, value_dim = 32;
  int norm_groups = 1;  // of Mamba-2
  bool tiled = false;
  int latent_rank = 0;  // of the latents that all layers' attention keeps; 0: keys and values
  int query_rank = 0;   // there; 0: queries are made at once
  int experts = 0;      // of every other layer; the rest are dense
  ExpertChoice choice = {};
  int expert_intermediate_size = 64;
  bool shared_expert = false, weighed_shared_expert = false;
  // As Gemma 4 has them.
  int other_head_dim = 0;        // of the layers without the window, with one KV head; 0: same
  bool keys_are_values = false;  // there
  bool value_norms = false;
  int sharing_layers = 0;           // the last ones, which read the cache of the last of their kind
  int layer_input_size = 0;         // 0: none
  float stream_scale = 1;           // after a layer's last block
  bool norms_apart = false;         // of experts, their router and the shared expert
  bool gate_and_up_in_one = false;  // of experts
  unsigned seed = 1;
};

// Owns the bytes behind a plan's tensors.
class OwnedWeights final : public WeightSource {
 public:
  std::optional<Tensor> find(std::string_view) const override { return std::nullopt; }
  std::vector<Tensor> all() const override { return {}; }
  std::string description() const override { return "random weights"; }

  std::span<std::byte> allocate(std::size_t bytes) { return memory_.emplace_back(bytes); }

 private:
  std::deque<std::vector<std::byte>> memory_;
};

class TinyModelBuilder {
 public:
  explicit TinyModelBuilder(const TinyModelOptions& options)
      : options_(options), random_(options.seed), weights_(std::make_shared<OwnedWeights>()) {}

  ModelPlan build() {
    ModelPlan plan;
    plan.config.context_length = 4096;
    plan.config.vocab_size = options_.vocab_size;
    plan.embed = {tensor("embedding", options_.vocab_size, options_.hidden_size),
                  options_.embedding_scale};
    if (options_.layer_input_size > 0) plan.layer_inputs = layer_inputs();
    for (int layer = 0; layer < options_.layers; ++layer) {
      if (options_.recurrent != Recurrent::none && layer % 2 == 0) {
        plan.blocks.push_back(recurrent(plan.state_layers++));
      } else if (options_.latent_rank > 0) {
        plan.blocks.push_back(latent_attention(plan.kv_layers++));
      } else {
        AttentionBlock block = attention(layer);
        if (!block.shares_cache) block.layer = plan.kv_layers++;
        plan.blocks.push_back(std::move(block));
      }
      if (options_.experts > 0 && layer % 2 == 0) {
        plan.blocks.push_back(experts());
      } else {
        plan.blocks.push_back(feed_forward());
      }
      if (plan.layer_inputs) plan.blocks.push_back(layer_input(layer));
    }
    plan.head.norm = norm(options_.hidden_size);
    plan.head.softcap = options_.logit_softcap;
    plan.head.weight.weight = options_.tied
                                  ? plan.embed.table
                                  : tensor("head", options_.vocab_size, options_.hidden_size);
    plan.weights = weights_;
    return plan;
  }

 private:
  AttentionBlock attention(int layer) {
    const bool is_other = options_.other_head_dim > 0 && layer % 2 == 1;
    const int d = is_other ? options_.other_head_dim : options_.head_dim;
    const int kv_heads = is_other ? 1 : options_.kv_heads;
    const int own_layers = options_.layers - options_.sharing_layers;
    AttentionBlock block;
    block.shares_cache = layer >= own_layers;
    if (block.shares_cache) block.layer = own_layers - 1 - (layer - own_layers + 1) % 2;
    if (options_.input_norms) block.input_norm = norm(options_.hidden_size);
    block.gated = options_.gated;
    block.query = linear("q", options_.heads * d * (options_.gated ? 2 : 1), options_.hidden_size);
    if (!block.shares_cache) {
      block.key = linear("k", kv_heads * d, options_.hidden_size);
      const bool is_key = options_.keys_are_values && is_other;
      block.value = is_key ? block.key : linear("v", kv_heads * d, options_.hidden_size);
      if (options_.value_norms) block.value_norm = norm(d);
    }
    if (options_.head_norms) {
      block.query_norm = norm(d);
      block.key_norm = norm(d);
    }
    if (options_.row_norms) {
      block.query_norm = norm(options_.heads * d);
      block.key_norm = norm(kv_heads * d);
    }
    if (options_.rope || layer % 2 == 1) block.rope = rope();
    block.temperature = options_.temperature;
    block.residual_scale = options_.residual_scale;
    block.heads = options_.heads;
    block.kv_heads = kv_heads;
    block.head_dim = d;
    block.scale = 1 / std::sqrt(static_cast<float>(d));
    block.softcap = options_.softcap;
    block.window = layer % 2 == 0 ? options_.window : 0;
    for (int head = 0; options_.sinks && head < block.heads; ++head) {
      block.sinks.push_back(0.5f * static_cast<float>(head) - 1);
    }
    block.output = linear("o", options_.hidden_size, options_.heads * d);
    if (options_.sandwich_norms) block.post_norm = norm(options_.hidden_size);
    return block;
  }

  LatentAttentionBlock latent_attention(int layer) {
    const int d = options_.hidden_size, heads = options_.heads;
    LatentAttentionBlock block;
    block.layer = layer;
    if (options_.input_norms) block.input_norm = norm(d);
    block.heads = heads;
    block.rank = options_.latent_rank;
    block.plain_dim = 32;
    block.rotary_dim = options_.rotated;
    block.value_dim = 48;
    block.scale = 1 / std::sqrt(static_cast<float>(block.query_dim()));
    block.temperature = options_.temperature;
    block.residual_scale = options_.residual_scale;
    block.rope = rope();
    if (options_.query_rank > 0) {
      block.query_down = linear("q down", options_.query_rank, d);
      block.query_norm = norm(options_.query_rank);
    }
    block.query =
        linear("q", heads * block.query_dim(), options_.query_rank > 0 ? options_.query_rank : d);
    block.latent = linear("latent", block.key_dim(), d);
    block.latent_norm = norm(block.rank);
    block.key_up.weight = tensor("key up", heads * block.rank, block.plain_dim);
    block.value_up.weight = tensor("value up", heads * block.value_dim, block.rank);
    block.output = linear("o", d, heads * block.value_dim);
    return block;
  }

  LayerInputs layer_inputs() {
    const int size = options_.layer_input_size, all = size * options_.layers;
    return {.layers = options_.layers,
            .size = size,
            .table = tensor("inputs of layers", options_.vocab_size, all),
            .projection = linear("projection", all, options_.hidden_size),
            .norm = norm(size),
            .table_scale = 1.5f,
            .projection_scale = 0.125f,
            .scale = 0.7f};
  }

  LayerInputBlock layer_input(int layer) {
    LayerInputBlock block;
    block.index = layer;
    block.gate = linear("input gate", options_.layer_input_size, options_.hidden_size);
    block.output = linear("input output", options_.hidden_size, options_.layer_input_size);
    block.post_norm = norm(options_.hidden_size);
    block.stream_scale = options_.stream_scale;
    return block;
  }

  // Of the block before a layer's input, or the layer's last.
  float stream_scale() const { return options_.layer_input_size > 0 ? 1 : options_.stream_scale; }

  Rope rope() const {
    Rope rope;
    for (int i = 0; i < options_.rotated / 2; ++i) {
      rope.inverse_frequencies.push_back(std::pow(100.0f, -2.0f * i / options_.rotated));
    }
    rope.interleaved = options_.interleaved;
    rope.magnitude = options_.rope_magnitude;
    return rope;
  }

  FeedForwardBlock feed_forward() {
    FeedForwardBlock block;
    if (options_.input_norms) block.input_norm = norm(options_.hidden_size);
    block.residual_scale = options_.residual_scale;
    block.stream_scale = stream_scale();
    if (options_.activation != Activation::squared_relu) {
      block.gate = linear("gate", options_.intermediate_size, options_.hidden_size);
    }
    block.up = linear("up", options_.intermediate_size, options_.hidden_size);
    block.down = linear("down", options_.hidden_size, options_.intermediate_size);
    block.activation = options_.activation;
    if (options_.sandwich_norms) block.post_norm = norm(options_.hidden_size);
    return block;
  }

  Block recurrent(int layer) {
    switch (options_.recurrent) {
      case Recurrent::short_convolution:
        return short_convolution(layer);
      case Recurrent::mamba2:
        return mamba2(layer);
      default:
        return delta_net(layer);
    }
  }

  ShortConvBlock short_convolution(int layer) {
    const int d = options_.hidden_size;
    ShortConvBlock block;
    block.layer = layer;
    if (options_.input_norms) block.input_norm = norm(d);
    block.residual_scale = options_.residual_scale;
    block.kernel = 3;
    block.inner_gate = linear("inner gate", d, d);
    block.outer_gate = linear("outer gate", d, d);
    block.value = linear("value", d, d);
    block.convolution = uniforms(d * block.kernel);
    if (options_.bias) block.convolution_bias = uniforms(d);
    block.output = linear("out", d, d);
    return block;
  }

  Mamba2Block mamba2(int layer) {
    const int d = options_.hidden_size;
    Mamba2Block block;
    block.layer = layer;
    if (options_.input_norms) block.input_norm = norm(d);
    block.residual_scale = options_.residual_scale;
    block.groups = options_.key_heads;
    block.heads = options_.value_heads;
    block.state_size = options_.key_dim;
    block.head_dim = options_.value_dim;
    block.kernel = 4;
    block.least_time = 0.1f;
    block.most_time = 2;
    block.gate = linear("z", block.values(), d);
    block.input = linear("x, b, c", block.channels(), d);
    block.time = linear("dt", block.heads, d);
    block.convolution = uniforms(block.channels() * block.kernel);
    if (options_.bias) block.convolution_bias = uniforms(block.channels());
    for (int head = 0; head < block.heads; ++head) {
      block.decay.push_back(-0.1f * static_cast<float>(1 + head));
    }
    block.time_bias = uniforms(block.heads);
    block.skip = uniforms(block.heads);
    block.norm = norm(block.values());
    block.norm_groups = options_.norm_groups;
    block.output = linear("out", d, block.values());
    return block;
  }

  DeltaNetBlock delta_net(int layer) {
    const int d = options_.hidden_size;
    DeltaNetBlock block;
    block.layer = layer;
    if (options_.input_norms) block.input_norm = norm(d);
    block.residual_scale = options_.residual_scale;
    block.key_heads = options_.key_heads;
    block.value_heads = options_.value_heads;
    block.key_dim = options_.key_dim;
    block.value_dim = options_.value_dim;
    block.kernel = 4;
    block.tiled = options_.tiled;
    const int values = block.value_heads * block.value_dim;
    block.qkv = linear("qkv", block.channels(), d);
    block.gate = linear("z", values, d);
    block.alpha = linear("a", block.value_heads, d);
    block.beta = linear("b", block.value_heads, d);
    block.convolution = uniforms(block.channels() * block.kernel);
    for (int head = 0; head < block.value_heads; ++head) {
      block.decay.push_back(-0.1f * static_cast<float>(1 + head));
      block.time_bias.push_back(uniform());
    }
    block.norm = norm(block.value_dim);
    block.output = linear("out", d, values);
    return block;
  }

  ExpertsBlock experts() {
    const int d = options_.hidden_size, f = options_.expert_intermediate_size;
    ExpertsBlock block;
    if (options_.input_norms) block.input_norm = norm(d);
    block.residual_scale = options_.residual_scale;
    block.stream_scale = stream_scale();
    block.experts = options_.experts;
    block.choice = options_.choice;
    block.router = linear("router", options_.experts, d);
    if (options_.gate_and_up_in_one) {
      block.gate = block.up = linear("gate and up", options_.experts * 2 * f, d);
      block.gate->rows = {0, f, 2 * f};
      block.up.rows = {f, f, 2 * f};
    } else {
      if (options_.activation != Activation::squared_relu) {
        block.gate = linear("gate", options_.experts * f, d);
      }
      block.up = linear("up", options_.experts * f, d);
    }
    if (options_.norms_apart) {
      block.router_norm = norm(d);
      block.experts_norm = norm(d);
    }
    block.down = linear("down", options_.experts * d, f);
    block.activation = options_.activation;
    if (options_.shared_expert) {
      SharedExpert& shared = block.shared.emplace();
      if (options_.activation != Activation::squared_relu) {
        shared.gate = linear("shared gate", options_.intermediate_size, d);
      }
      shared.up = linear("shared up", options_.intermediate_size, d);
      shared.down = linear("shared down", d, options_.intermediate_size);
      if (options_.norms_apart) {
        shared.input_norm = norm(d);
        shared.output_norm = norm(d);
      }
      if (options_.weighed_shared_expert) shared.weight = linear("shared weight", 1, d);
    }
    if (options_.sandwich_norms) block.post_norm = norm(d);
    return block;
  }

  RmsNorm norm(int size) {
    RmsNorm norm;
    for (int i = 0; i < size; ++i) norm.weight.push_back(1 + 0.3f * uniform());
    return norm;
  }

  Linear linear(const char* name, int rows, int columns) {
    Linear linear;
    linear.weight = tensor(name, rows, columns);
    if (options_.bias) {
      for (int i = 0; i < rows; ++i) linear.bias.push_back(0.2f * uniform());
    }
    return linear;
  }

  // Numbers of variance about 3 / columns, so that a product keeps the size of its input.
  Tensor tensor(const char* name, int rows, int columns) {
    Tensor tensor;
    tensor.name = name;
    tensor.quantization.encoding = options_.encoding;
    tensor.rows = rows;
    tensor.columns = columns;
    const float largest = 3 / std::sqrt(static_cast<float>(columns));
    const std::span<std::byte> data =
        weights_->allocate(rows * row_bytes(tensor.quantization, columns));
    tensor.data = data;
    switch (options_.encoding) {
      case Encoding::f32:
        fill_floats(data, largest);
        break;
      case Encoding::q8_0:
        fill_blocks(data, 34, {largest / 127});
        break;
      default:
        fill_blocks(data, 20, {largest / 8, -largest});  // q4_1
    }
    return tensor;
  }

  void fill_floats(std::span<std::byte> data, float largest) {
    for (std::size_t at = 0; at < data.size(); at += sizeof(float)) {
      const float value = largest * uniform();
      std::memcpy(&data[at], &value, sizeof value);
    }
  }

  // Blocks of ggml: some 16-bit floats, then codes.
  void fill_blocks(std::span<std::byte> data, std::size_t block, std::vector<float> scales) {
    for (std::size_t at = 0; at < data.size(); at += block) {
      for (std::size_t i = 0; i < block; ++i) data[at + i] = std::byte(random_() & 0xff);
      for (std::size_t i = 0; i < scales.size(); ++i) {
        const std::uint16_t half = float_to_half(scales[i] * (1 + 0.2f * uniform()));
        std::memcpy(&data[at + 2 * i], &half, sizeof half);
      }
    }
  }

  std::vector<float> uniforms(int count) {
    std::vector<float> numbers;
    for (int i = 0; i < count; ++i) numbers.push_back(uniform());
    return numbers;
  }

  float uniform() { return std::uniform_real_distribution<float>(-1, 1)(random_); }

  const TinyModelOptions options_;
  std::mt19937 random_;
  std::shared_ptr<OwnedWeights> weights_;
};

inline ModelPlan tiny_model(const TinyModelOptions& options) {
  return TinyModelBuilder(options).build();
}

}  // namespace mlxd::cpu
