#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <mlx/mlx.h>

#include "base/load_progress.h"
#include "model/model_plan.h"

namespace mlxd::mlx_backend {

namespace mx = mlx::core;

// [values]
mx::array float_array(const std::vector<float>& values);
mx::array int_array(const std::vector<int>& values);  // int32

// A weight matrix [rows, columns] on the device: packed (with scales and biases) or plain numbers.
struct Matrix {
  mx::array weight;
  std::optional<mx::array> scales, biases;  // packed: [rows, columns / group_size]; affine: both
  int bits = 0, group_size = 0;             // packed
  std::string mode = "affine";              // packed: of mx::quantized_matmul
  float factor = 1;                         // of all numbers
};

// Some of the matrix's rows: [rows / stride, count, columns], views of the whole.
Matrix rows_of(const Matrix& matrix, const RowPattern& rows);

// These of the matrix's rows, copied.
Matrix take_in_order(const Matrix& matrix, const std::vector<int>& rows);

// x [T, columns] -> [T, rows], in x's type. Of several matrices [n, rows, columns] each multiplies
// its own x [n, T, columns].
mx::array multiply(const Matrix& matrix, const mx::array& x);

// The matrix as those of `experts` one after another, [experts * out, columns] or [experts, out,
// columns]: x [T, 1 or chosen, columns] by each row's own, `chosen` [T, chosen] -> [T, chosen,
// out], in x's type.
mx::array multiply_chosen(const Matrix& matrix, int experts, const mx::array& x,
                          const mx::array& chosen);

// Rows `ids` [T] of the matrix -> [T, columns], in `type`.
mx::array take_rows(const Matrix& matrix, const mx::array& ids, mx::Dtype type);

// Of the Matrix that WeightLoader makes of `tensor`, with plain numbers in `type`.
std::size_t device_bytes(const Tensor& tensor, mx::Dtype type);

// Moves weights to the device, on the thread that constructs it. Each file tensor is moved once:
// a tied head and its embedding table are one matrix.
class WeightLoader {
 public:
  // `type`: of plain matrices, scales and biases.
  explicit WeightLoader(mx::Dtype type) : type_(type) {}
  // That tells how far it has come: all matrices have `total` bytes in their file.
  WeightLoader(mx::Dtype type, std::size_t total, LoadProgress progress)
      : type_(type), total_(total), progress_(std::move(progress)) {}

  // MLX's own formats stay as they are; GGUF's become MLX's where the numbers stay the same (its
  // affine, MXFP4 and NVFP4 ones), and are held as plain numbers where they have no equal there
  // (Q2_K, Q3_K, Q6_K, IQ2, IQ3_XXS, IQ4, IQ1_M). Throws LoadError when MLX has no kernel for the
  // tensor's bits or group.
  Matrix matrix(const Tensor& tensor);
  // Of this one only parts were copied: it is not to be held until the last weight is there.
  void forget(const Tensor& tensor) { made_.erase(tensor.data.data()); }
  mx::array vector(const std::vector<float>& values) const;  // in `type`

  std::size_t bytes() const { return bytes_; }  // on the device so far

 private:
  Matrix make(const Tensor& tensor) const;

  mx::Dtype type_;
  std::map<const std::byte*, Matrix> made_;
  std::size_t bytes_ = 0;
  std::size_t total_ = 0, read_ = 0;  // bytes of the file
  LoadProgress progress_;
};

}  // namespace mlxd::mlx_backend
