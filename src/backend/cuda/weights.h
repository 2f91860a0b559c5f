#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/matrix_plan.h"

namespace mlxd::cuda_backend {

struct DeviceLinear {
  DeviceMatrix matrix;
  const float* bias = nullptr;  // [rows of the matrix]; null: none
};

// Packs weights and moves them to the card, where they stay until it ends. A tied head and its
// embedding table are one matrix. Inference thread.
class Weights {
 public:
  explicit Weights(Element element) : element_(element) {}

  Element element() const { return element_; }
  DeviceLinear linear(const MatrixPlan& plan);
  DeviceMatrix matrix(const Tensor& tensor);                   // all its rows
  const float* plain(std::span<const Linear* const> linears);  // plain_rows
  const float* vector(const std::vector<float>& values);
  Norm norm(const std::optional<RmsNorm>& norm);
  std::size_t matrix_bytes() const { return matrix_bytes_; }

 private:
  DeviceMatrix move(const PackedMatrix& packed);

  Element element_;
  std::deque<Buffer> buffers_;
  std::map<const std::byte*, DeviceMatrix> whole_;  // by Tensor::data
  std::size_t matrix_bytes_ = 0;
};

}  // namespace mlxd::cuda_backend
