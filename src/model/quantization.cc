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
    case Encoding::q2_k:
      return {"Q2_K", 256, 84};
    case Encoding::q3_k:
      return {"Q3_K", 256, 110};
    case Encoding::q4_k:
      return {"Q4_K", 256, 144};
    case Encoding::q5_k:
      return {"Q5_K", 256, 176};
    case Encoding::q6_k:
      return {"Q6_K", 256, 210};
    case Encoding::iq4_nl:
      return {"IQ4_NL", 32, 18};
    case Encoding::iq4_xs:
      return {"IQ4_XS", 256, 136};
    case Encoding::iq3_xxs:
      return {"IQ3_XXS", 256, 98};
    case Encoding::iq3_s:
      return {"IQ3_S", 256, 110};
    case Encoding::iq2_xxs:
      return {"IQ2_XXS", 256, 66};
    case Encoding::iq2_xs:
      return {"IQ2_XS", 256, 74};
    case Encoding::iq2_s:
      return {"IQ2_S", 256, 82};
    case Encoding::iq1_s:
      return {"IQ1_S", 256, 50};
    case Encoding::iq1_m:
      return {"IQ1_M", 256, 56};
    case Encoding::tq1_0:
      return {"TQ1_0", 256, 54};
    case Encoding::tq2_0:
      return {"TQ2_0", 256, 66};
    case Encoding::q1_0:
      return {"Q1_0", 128, 18};
    case Encoding::q2_0:
      return {"Q2_0", 64, 18};
    case Encoding::mxfp4:
      return {"MXFP4", 32, 17};
    case Encoding::nvfp4:
      return {"NVFP4", 64, 36};
    case Encoding::mlx_affine:
    case Encoding::mlx_mxfp4:
    case Encoding::mlx_nvfp4:
    case Encoding::mlx_mxfp8:
      break;
  }
  check(false, "a block layout belongs to a float or GGUF encoding");
  return {};
}

}  // namespace

bool is_mlx(Encoding encoding) { return encoding >= Encoding::mlx_affine; }

std::string to_string(const Quantization& quantization) {
  switch (quantization.encoding) {
    case Encoding::mlx_affine:
      return fmt::format("affine {}-bit, group {}", quantization.bits, quantization.group_size);
    case Encoding::mlx_mxfp4:
      return "mxfp4";
    case Encoding::mlx_nvfp4:
      return "nvfp4";
    case Encoding::mlx_mxfp8:
      return "mxfp8";
    default:
      break;
  }
  return block_layout(quantization.encoding).name;
}

int block_columns(const Quantization& quantization) {
  if (is_mlx(quantization.encoding)) return quantization.group_size;
  return block_layout(quantization.encoding).columns;
}

std::size_t row_bytes(const Quantization& quantization, std::int64_t columns) {
  check(columns >= 0 && columns % block_columns(quantization) == 0,
        "a row is a whole number of blocks");
  const auto count = static_cast<std::size_t>(columns);
  if (is_mlx(quantization.encoding)) {
    return count / 8 * static_cast<std::size_t>(quantization.bits);
  }
  const BlockLayout layout = block_layout(quantization.encoding);
  return count / static_cast<std::size_t>(layout.columns) * static_cast<std::size_t>(layout.bytes);
}

}  // namespace mlxd
