#include "backend/cuda/weights.h"

namespace mlxd::cuda_backend {

DeviceMatrix Weights::move(const PackedMatrix& packed) {
  const Buffer& codes = buffers_.emplace_back(upload(packed.codes));
  const Buffer& scales = buffers_.emplace_back(upload(packed.scales));
  matrix_bytes_ += packed.shape.bytes();
  return {packed.shape, codes.as(), scales.as()};
}

DeviceLinear Weights::linear(const MatrixPlan& plan) {
  DeviceLinear linear;
  if (plan.whole()) {
    linear.matrix = matrix(plan.parts[0]->weight);
  } else {
    linear.matrix = move(pack(plan.rows(), plan.shape, element_));
  }
  if (const std::vector<float> bias = plan.bias(); !bias.empty()) linear.bias = vector(bias);
  return linear;
}

DeviceMatrix Weights::matrix(const Tensor& tensor) {
  const auto found = whole_.find(tensor.data.data());
  if (found != whole_.end()) return found->second;
  std::vector<SourceRow> rows;
  for (std::int64_t row = 0; row < tensor.rows; ++row) rows.push_back({&tensor, row});
  const DeviceMatrix moved = move(pack(rows, packed_shape(tensor, element_), element_));
  whole_.emplace(tensor.data.data(), moved);
  return moved;
}

const float* Weights::plain(std::span<const Linear* const> linears) {
  matrix_bytes_ += plain_bytes(linears);
  return vector(plain_rows(linears));
}

const float* Weights::vector(const std::vector<float>& values) {
  return buffers_.emplace_back(upload(std::as_bytes(std::span(values)))).as<float>();
}

Norm Weights::norm(const std::optional<RmsNorm>& norm) {
  if (!norm) return {};
  return {vector(norm->weight), norm->epsilon};
}

}  // namespace mlxd::cuda_backend
