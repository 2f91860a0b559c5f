#include "model/quantization.h"

#include <fmt/format.h>

#include "base/check.h"

namespace mlxd {
namespace {

// How many columns one block of a GGUF format holds, and in how many bytes (ggml-common.h of
// llama.cpp, struct block_*). Plain floats are blocks of one.
struct BlockLayout {
  const char* name;
  int columns;
  int bytes;
};

BlockLayout block_layout(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32:
      return {"F32", 1, 4};
    case Encoding::f16:
      return {"F16", 1, 2};
    case Encoding::bf16:
      return {"BF16", 1, 2};
    case Encoding::q4_0:
      return {"Q4_0", 32, 18};
    case Encoding::q4_1:
      return {"Q4_1", 32, 20};
    case Encoding::q5_0:
      return {"Q5_0", 32, 22};
    case Encoding::q5_1:
      return {"Q5_1", 32, 24};
    case Encoding::q8_0:
      return {"Q8_0", 32, 34};
    case Encoding::q4_k:
      return {"Q4_K", 256, 144};
    case Encoding::q5_k:
      return {"Q5_K", 256, 176};
    case Encoding::q6_k:
      return {"Q6_K", 256, 210};
    case Encoding::mlx_affine:
      break;
  }
  check(false, "a block layout belongs to a float or GGUF encoding");
  return {};
}

}  // namespace

std::string to_string(const Quantization& quantization) {
  if (quantization.encoding == Encoding::mlx_affine) {
    return fmt::format("affine {}-bit, group {}", quantization.bits, quantization.group_size);
  }
  return block_layout(quantization.encoding).name;
}

int block_columns(const Quantization& quantization) {
  if (quantization.encoding == Encoding::mlx_affine) return quantization.group_size;
  return block_layout(quantization.encoding).columns;
}

std::size_t row_bytes(const Quantization& quantization, std::int64_t columns) {
  check(columns >= 0 && columns % block_columns(quantization) == 0,
        "a row is a whole number of blocks");
  const auto count = static_cast<std::size_t>(columns);
  if (quantization.encoding == Encoding::mlx_affine) {
    return count / 8 * static_cast<std::size_t>(quantization.bits);
  }
  const BlockLayout layout = block_layout(quantization.encoding);
  return count / static_cast<std::size_t>(layout.columns) * static_cast<std::size_t>(layout.bytes);
}

}  // namespace mlxd
