#include "backend/cuda/layers.h"

#include "base/check.h"

namespace mlxd::cuda_backend {
Epilogue activation_of(Activation activation, bool gated) {
  Epilogue epilogue{.kind = gated ? Epilogue::gated : Epilogue::plain};
  switch (activation) {
    case Activation::silu:
      epilogue.activation = Epilogue::silu;
      break;
    case Activation::gelu:
      mlxd::check(false, "encoders alone have it, and these are refused");
      break;
    case Activation::gelu_tanh:
      epilogue.activation = Epilogue::gelu_tanh;
      break;
    case Activation::clamped_swiglu:
      epilogue.activation = Epilogue::clamped_swiglu;
      break;
    case Activation::squared_relu:
      epilogue.activation = Epilogue::squared_relu;
      break;
  }
  return epilogue;
}

void add_to_stream(const StepContext& step, const DeviceLinear& linear, const void* from16,
                   const Norm& post_norm, float factor, float stream_scale) {
  const PackedShape& shape = linear.matrix.shape;
  const bool direct = !post_norm.weight && stream_scale == 1;
  const Epilogue end{.kind = direct ? Epilogue::add : Epilogue::store,
                     .bias = linear.bias,
                     .out = direct ? step.space.x : step.space.y,
                     .stride = shape.rows,
                     .factor = factor};
  multiply(step.element, linear.matrix, from16, padded(shape.columns), step.rows, end, step.stream);
  if (direct) return;
  add_normalised(post_norm, step.space.y, shape.rows, step.rows, factor, stream_scale, step.space.x,
                 step.stream);
}

AttentionLayer::AttentionLayer(const AttentionBlock& block, Weights& weights)
    : layer_(block.layer),
      width_(static_cast<int>(block.query.weight.columns)),
      input_norm_(weights.norm(block.input_norm)),
      post_norm_(weights.norm(block.post_norm)),
      output_(weights.linear(plan_matrix(block.output, weights.element()))),
      residual_scale_(block.residual_scale) {
  for (const MatrixPlan& plan : plan_heads(block, weights.element())) {
    heads_.push_back(weights.linear(plan));
  }
  shape_.heads = block.heads;
  shape_.kv_heads = block.kv_heads;
  shape_.head_dim = block.head_dim;
  if (block.rope) {
    shape_.rotated = 2 * static_cast<int>(block.rope->inverse_frequencies.size());
    shape_.interleaved = block.rope->interleaved;
    shape_.rope_magnitude = block.rope->magnitude;
    shape_.frequencies = weights.vector(block.rope->inverse_frequencies);
  }
  shape_.query_norm = weights.norm(block.query_norm);
  shape_.key_norm = weights.norm(block.key_norm);
  shape_.norm_spans_heads = spans_heads(block);
  shape_.scale = block.scale;
  shape_.softcap = block.softcap;
  shape_.window = block.window;
  if (!block.sinks.empty()) shape_.sinks = weights.vector(block.sinks);
  shape_.gated = block.gated;
  if (block.temperature) {
    shape_.temperature_beta = block.temperature->beta;
    shape_.temperature_length = block.temperature->length;
  }
}

void AttentionLayer::run(const StepContext& step) const {
  const Workspace& space = step.space;
  normalise(step.element, input_norm_, space.x, width_, nullptr, step.rows, space.h16,
            padded(width_), step.stream);
  const int columns = shape_.columns();
  float* out = space.heads;
  for (const DeviceLinear& linear : heads_) {
    const Epilogue end{.bias = linear.bias, .out = out, .stride = columns};
    multiply(step.element, linear.matrix, space.h16, padded(width_), step.rows, end, step.stream);
    out += linear.matrix.shape.rows;
  }
  const DeviceStep& in = step.input;
  const auto group = static_cast<std::size_t>(step.cache.group_of(layer_));
  const KvCache& kv = step.cache.layer(layer_);
  place_heads(step.element, shape_, space.heads, in.positions, in.slots[group], step.rows,
              space.q16, kv, step.stream);
  const DeviceStep::Tiles& tiles = in.tiles_of(rows_of_tile(shape_), static_cast<int>(group));
  const int width = shape_.heads * shape_.head_dim, stride = padded(width);
  attend(step.element, shape_, space.heads, space.q16, kv, tiles.tiles, tiles.count,
         in.tables[group], in.positions, step.rows, in.parts, space.scratch, space.wide16, stride,
         step.stream);
  clear_columns(step.element, space.wide16, width, stride, step.rows, step.stream);
  add_to_stream(step, output_, space.wide16, post_norm_, residual_scale_, 1);
}

FeedForwardLayer::FeedForwardLayer(const FeedForwardBlock& block, Weights& weights)
    : width_(static_cast<int>(block.up.weight.columns)),
      hidden_(static_cast<int>(block.up.out())),
      input_norm_(weights.norm(block.input_norm)),
      post_norm_(weights.norm(block.post_norm)),
      into_(weights.linear(plan_hidden(block.gate, block.up, weights.element()))),
      down_(weights.linear(plan_matrix(block.down, weights.element()))),
      activation_(activation_of(block.activation, block.gate.has_value())),
      residual_scale_(block.residual_scale),
      stream_scale_(block.stream_scale) {}

void FeedForwardLayer::run(const StepContext& step) const {
  const Workspace& space = step.space;
  normalise(step.element, input_norm_, space.x, width_, nullptr, step.rows, space.h16,
            padded(width_), step.stream);
  Epilogue end = activation_;
  end.bias = into_.bias;
  end.out16 = space.wide16;
  end.stride = padded(hidden_);
  clear_columns(step.element, space.wide16, hidden_, end.stride, step.rows, step.stream);
  multiply(step.element, into_.matrix, space.h16, padded(width_), step.rows, end, step.stream);
  add_to_stream(step, down_, space.wide16, post_norm_, residual_scale_, stream_scale_);
}

}  // namespace mlxd::cuda_backend
