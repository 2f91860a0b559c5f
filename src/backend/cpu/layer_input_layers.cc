#include "backend/cpu/layer_input_layers.h"

namespace mlxd::cpu {

LayerInputLayers::LayerInputLayers(const PackedModel& model, StepPhases& step)
    : model_(model), step_(step), table_rows_(step.workers()) {
  if (!model.layer_inputs) return;
  for (auto& row : table_rows_) row.resize(model.layer_inputs->table.columns);
}

void LayerInputLayers::add_inputs() {
  if (!model_.layer_inputs) return;
  const PackedLinear& projection = model_.layer_inputs->projection;
  const Stream& all = step_.all();
  step_.add_norm(all, nullptr, nullptr, step_.reads(all, quantized(projection)));
  step_.add_products({{.linear = &projection, .stream = &all, .out = &inputs_}});
  step_.add_rows(all, [this](int worker, int row) { make_inputs(worker, row); });
}

void LayerInputLayers::make_inputs(int worker, int row) {
  const PackedLayerInputs& model = *model_.layer_inputs;
  const VectorOps& ops = step_.ops();
  const auto all = static_cast<int>(model.table.columns);
  std::vector<float>& token = table_rows_[worker];
  dequantize_rows(model.table, step_.batch().tokens[row], 1, token);
  ops.scale(token.data(), model.table_scale, all);
  float* const inputs = inputs_.row(row);
  ops.scale(inputs, model.projection_scale, all);
  for (int first = 0; first < all; first += model.size) {
    ops.rms_norm(inputs + first, model.norm.weight.data(), model.norm.epsilon, model.size,
                 inputs + first);
  }
  ops.add(inputs, token.data(), all);
  ops.scale(inputs, model.scale, all);
}

void LayerInputLayers::add(const PackedLayerInput& block, const Residual* left,
                           const Stream& stream) {
  const int size = model_.layer_inputs->size;
  step_.add_norm(stream, left, nullptr, step_.reads(stream, quantized(block.gate)));
  step_.add_products({{.linear = &block.gate, .stream = &stream, .out = &gate_}});
  step_.add_rows(stream, [this, &block, &stream, size](int, int row) {
    const float* input = inputs_.row(step_.batch_row(stream, row)) + block.first;
    step_.ops().gelu_gate(gate_.row(row), input, size);
    step_.put(gated_, step_.reads(stream, quantized(block.output)), row, {0, size}, gate_.row(row));
  });
  step_.add_products(
      {{.linear = &block.output, .stream = &stream, .input = &gated_, .out = &step_.y()}});
}

void LayerInputLayers::reserve(int rows) {
  if (!model_.layer_inputs) return;
  inputs_.reserve(rows, static_cast<int>(model_.layer_inputs->table.columns));
  gate_.reserve(rows, model_.layer_inputs->size);
  gated_.reserve(rows, model_.layer_inputs->size, step_.has_unit());
}

std::size_t LayerInputLayers::bytes() const {
  std::size_t bytes = inputs_.bytes() + gate_.bytes() + gated_.bytes();
  for (const auto& row : table_rows_) bytes += row.capacity() * sizeof(float);
  return bytes;
}

std::size_t LayerInputLayers::bytes_for(int rows, int layers, int size) {
  return RowBuffer::bytes_for(rows, layers * size) + RowBuffer::bytes_for(rows, size) +
         InputBuffer::bytes_for(rows, size);
}

}  // namespace mlxd::cpu
