#include "backend/mlx/matrix.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "backend/mlx/affine_repack.h"
#include "base/error.h"

namespace mlxd::mlx_backend {
namespace {

// A device array with a copy of these bytes: those of a file need no alignment, and its mapping may
// end before the array does.
mx::array copy_bytes(std::span<const std::byte> bytes, mx::Shape shape, mx::Dtype type) {
  mx::allocator::Data data = mx::allocator::malloc(bytes.size());
  std::memcpy(mx::allocator::Buffer(data.buffer()).raw_ptr(), bytes.data(), bytes.size());
  return mx::array(std::move(data), std::move(shape), type);
}

mx::Dtype type_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::f16:
      return mx::float16;
    case Encoding::bf16:
      return mx::bfloat16;
    default:
      return mx::float32;
  }
}

mx::Shape shape_of(std::int64_t rows, std::int64_t columns) {
  return {static_cast<mx::ShapeElem>(rows), static_cast<mx::ShapeElem>(columns)};
}

Matrix from_mlx_affine(const Tensor& tensor, mx::Dtype type) {
  const Quantization& form = tensor.quantization;
  const mx::Shape groups = shape_of(tensor.rows, tensor.columns / form.group_size);
  const mx::Dtype stored = type_of(form.scale_encoding);
  return {
      copy_bytes(tensor.data, shape_of(tensor.rows, tensor.columns * form.bits / 32), mx::uint32),
      mx::astype(copy_bytes(tensor.scales, groups, stored), type),
      mx::astype(copy_bytes(tensor.biases, groups, stored), type), form.bits, form.group_size};
}

Matrix from_repacked(const AffineMatrix& affine, const Tensor& tensor, mx::Dtype type) {
  const mx::Shape groups = shape_of(tensor.rows, tensor.columns / AffineMatrix::kGroupSize);
  const auto bytes = [](const auto& values) { return std::as_bytes(std::span(values)); };
  return {copy_bytes(bytes(affine.words), shape_of(tensor.rows, tensor.columns * affine.bits / 32),
                     mx::uint32),
          mx::astype(copy_bytes(bytes(affine.scales), groups, mx::float32), type),
          mx::astype(copy_bytes(bytes(affine.biases), groups, mx::float32), type), affine.bits,
          AffineMatrix::kGroupSize};
}

// The mode of MLX in which it holds an encoding of 8-bit scales, as its name; "" for all others.
std::string small_float_mode(Encoding encoding) {
  switch (encoding) {
    case Encoding::mxfp4:
    case Encoding::mlx_mxfp4:
      return "mxfp4";
    case Encoding::nvfp4:
    case Encoding::mlx_nvfp4:
      return "nvfp4";
    case Encoding::mlx_mxfp8:
      return "mxfp8";
    default:
      return "";
  }
}

int small_float_bits(Encoding encoding) { return encoding == Encoding::mlx_mxfp8 ? 8 : 4; }

int small_float_group(const std::string& mode) { return mode == "nvfp4" ? 16 : 32; }

Matrix from_small_floats(const Tensor& tensor) {
  const Encoding encoding = tensor.quantization.encoding;
  const std::string mode = small_float_mode(encoding);
  const int bits = small_float_bits(encoding), group_size = small_float_group(mode);
  const mx::Shape words = shape_of(tensor.rows, tensor.columns * bits / 32);
  const mx::Shape groups = shape_of(tensor.rows, tensor.columns / group_size);
  if (is_mlx(encoding)) {
    return {copy_bytes(tensor.data, words, mx::uint32),
            copy_bytes(tensor.scales, groups, mx::uint8),
            {},
            bits,
            group_size,
            mode};
  }
  const SmallFloatMatrix packed = to_small_floats(tensor);
  return {copy_bytes(std::as_bytes(std::span(packed.codes)), words, mx::uint32),
          copy_bytes(std::as_bytes(std::span(packed.scales)), groups, mx::uint8),
          {},
          bits,
          group_size,
          mode,
          tensor.scale};
}

mx::array scaled(const mx::array& values, const Matrix& matrix) {
  return matrix.factor == 1 ? values : values * mx::array(matrix.factor, values.dtype());
}

// Decoded some rows at a time, so that only the result is ever held whole.
Matrix from_decoded(const Tensor& tensor, mx::Dtype type) {
  constexpr std::int64_t kRows = 4096;
  std::vector<float> values;
  std::vector<mx::array> parts;
  for (std::int64_t first = 0; first < tensor.rows; first += kRows) {
    const std::int64_t count = std::min(kRows, tensor.rows - first);
    values.resize(static_cast<std::size_t>(count * tensor.columns));
    dequantize_rows(tensor, first, count, values);
    parts.push_back(mx::astype(
        copy_bytes(std::as_bytes(std::span(values)), shape_of(count, tensor.columns), mx::float32),
        type));
    parts.back().eval();
  }
  return {parts.size() == 1 ? parts[0] : mx::concatenate(parts, 0), {}, {}, 0, 0};
}

}  // namespace

mx::array float_array(const std::vector<float>& values) {
  return mx::array(values.begin(), {static_cast<mx::ShapeElem>(values.size())});
}

mx::array int_array(const std::vector<int>& values) {
  return mx::array(values.begin(), {static_cast<mx::ShapeElem>(values.size())}, mx::int32);
}

Matrix rows_of(const Matrix& matrix, const RowPattern& rows) {
  const auto part = [&](const mx::array& all) {
    const int columns = all.shape(1), groups = all.shape(0) / rows.stride;
    return mx::slice(mx::reshape(all, {groups, rows.stride, columns}), {0, rows.first, 0},
                     {groups, rows.first + rows.count, columns});
  };
  Matrix some = matrix;
  some.weight = part(matrix.weight);
  if (matrix.scales) some.scales = part(*matrix.scales);
  if (matrix.biases) some.biases = part(*matrix.biases);
  return some;
}

mx::array multiply(const Matrix& matrix, const mx::array& x) {
  if (!matrix.scales) return mx::matmul(x, mx::swapaxes(matrix.weight, -1, -2));
  return scaled(
      mx::quantized_matmul(x, matrix.weight, *matrix.scales, matrix.biases,
                           /*transpose=*/true, matrix.group_size, matrix.bits, matrix.mode),
      matrix);
}

mx::array multiply_chosen(const Matrix& matrix, int experts, const mx::array& x,
                          const mx::array& chosen) {
  const auto of_experts = [&](const mx::array& all) {
    return all.ndim() == 3 ? all : mx::reshape(all, {experts, -1, all.shape(1)});
  };
  const mx::array rows = mx::expand_dims(x, 2);  // [T, 1 or chosen, 1, columns]
  const mx::array weight = of_experts(matrix.weight);
  if (!matrix.scales) {
    return mx::squeeze(mx::gather_mm(rows, mx::swapaxes(weight, 1, 2), std::nullopt, chosen), 2);
  }
  const auto biases = matrix.biases ? std::optional(of_experts(*matrix.biases)) : std::nullopt;
  const mx::array y = mx::gather_qmm(rows, weight, of_experts(*matrix.scales), biases,
                                     /*lhs_indices=*/std::nullopt, chosen, /*transpose=*/true,
                                     matrix.group_size, matrix.bits, matrix.mode);
  return scaled(mx::squeeze(y, 2), matrix);
}

Matrix take_in_order(const Matrix& matrix, const std::vector<int>& rows) {
  const mx::array ids = int_array(rows);
  Matrix some = matrix;
  some.weight = mx::take(matrix.weight, ids, 0);
  std::vector<mx::array> parts = {some.weight};
  for (auto* part : {&some.scales, &some.biases}) {
    if (!*part) continue;
    *part = mx::take(**part, ids, 0);
    parts.push_back(**part);
  }
  mx::eval(parts);
  return some;
}

mx::array take_rows(const Matrix& matrix, const mx::array& ids, mx::Dtype type) {
  mx::array rows = mx::take(matrix.weight, ids, 0);
  if (matrix.scales) {
    const auto biases =
        matrix.biases ? std::optional(mx::take(*matrix.biases, ids, 0)) : std::nullopt;
    // Affine numbers are of the scales' type; small floats would be 16-bit ones if nothing is said.
    const auto of_type = matrix.biases ? std::nullopt : std::optional(type);
    rows = mx::dequantize(rows, mx::take(*matrix.scales, ids, 0), biases, matrix.group_size,
                          matrix.bits, matrix.mode, std::nullopt, of_type);
  }
  return mx::astype(scaled(rows, matrix), type);
}

std::size_t device_bytes(const Tensor& tensor, mx::Dtype type) {
  const Quantization& form = tensor.quantization;
  if (const std::string mode = small_float_mode(form.encoding); !mode.empty()) {
    const auto count = static_cast<std::size_t>(tensor.rows * tensor.columns);
    return count * small_float_bits(form.encoding) / 8 + count / small_float_group(mode);
  }
  const bool is_affine = form.encoding == Encoding::mlx_affine;
  const int bits = is_affine ? form.bits : affine_bits(form.encoding);
  const int group_size = is_affine ? form.group_size : AffineMatrix::kGroupSize;
  const auto numbers = static_cast<std::size_t>(tensor.rows * tensor.columns);
  if (bits == 0) return numbers * mx::size_of(type);
  return numbers * bits / 8 + numbers / group_size * 2 * mx::size_of(type);
}

Matrix WeightLoader::matrix(const Tensor& tensor) {
  const auto found = made_.find(tensor.data.data());
  if (found != made_.end()) return found->second;
  Matrix made = make(tensor);
  std::vector<mx::array> arrays = {made.weight};
  if (made.scales) arrays.push_back(*made.scales);
  if (made.biases) arrays.push_back(*made.biases);
  mx::eval(arrays);
  for (const mx::array& array : arrays) bytes_ += array.nbytes();
  made_.emplace(tensor.data.data(), made);
  read_ += tensor.byte_size();
  if (progress_) progress_(std::min(1.0, static_cast<double>(read_) / static_cast<double>(total_)));
  return made;
}

Matrix WeightLoader::make(const Tensor& tensor) const {
  const Quantization& form = tensor.quantization;
  if (form.encoding == Encoding::mlx_affine) {
    constexpr int kBits[] = {2, 3, 4, 5, 6, 8}, kGroups[] = {32, 64, 128};
    if (std::ranges::count(kBits, form.bits) == 0 ||
        std::ranges::count(kGroups, form.group_size) == 0 ||
        tensor.columns % form.group_size != 0) {
      throw LoadError(tensor.name + ": the mlx backend cannot run " + to_string(form) + " with " +
                      std::to_string(tensor.columns) + " columns");
    }
    return from_mlx_affine(tensor, type_);
  }
  if (!small_float_mode(form.encoding).empty()) return from_small_floats(tensor);
  if (const auto affine = to_affine(tensor)) return from_repacked(*affine, tensor, type_);
  return from_decoded(tensor, type_);
}

mx::array WeightLoader::vector(const std::vector<float>& values) const {
  return mx::astype(mx::array(values.begin(), {static_cast<mx::ShapeElem>(values.size())}), type_);
}

}  // namespace mlxd::mlx_backend
