#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "model/coded_blocks.h"
#include "model/little_endian.h"
#include "model/tensor.h"

namespace mlxd {
namespace {

float load_float(const std::uint8_t* bytes, Encoding encoding) {
  switch (encoding) {
    case Encoding::f16:
      return load_half(bytes);
    case Encoding::bf16:
      return bfloat16_to_float(load_u16(bytes));
    default: {
      float value;
      std::memcpy(&value, bytes, sizeof value);
      return value;
    }
  }
}

// The decoders below take one block and write its columns, in the layouts of ggml-common.h. Of a
// 32-column block, the low nibbles are columns 0-15 and the high ones 16-31.

void decode_q4_0(const std::uint8_t* block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < 16; ++i) {
    const int packed = block[2 + i];
    out[i] = static_cast<float>((packed & 15) - 8) * scale;
    out[i + 16] = static_cast<float>((packed >> 4) - 8) * scale;
  }
}

void decode_q4_1(const std::uint8_t* block, float* out) {
  const float scale = load_half(block), minimum = load_half(block + 2);
  for (int i = 0; i < 16; ++i) {
    const int packed = block[4 + i];
    out[i] = static_cast<float>(packed & 15) * scale + minimum;
    out[i + 16] = static_cast<float>(packed >> 4) * scale + minimum;
  }
}

// Q5: bit c of `high` is the fifth bit of column c.
int fifth_bit(std::uint32_t high, int column) {
  return static_cast<int>((high >> column) & 1u) << 4;
}

void decode_q5_0(const std::uint8_t* block, float* out) {
  const float scale = load_half(block);
  const std::uint32_t high = load_u32(block + 2);
  for (int i = 0; i < 16; ++i) {
    const int packed = block[6 + i];
    out[i] = static_cast<float>(((packed & 15) | fifth_bit(high, i)) - 16) * scale;
    out[i + 16] = static_cast<float>(((packed >> 4) | fifth_bit(high, i + 16)) - 16) * scale;
  }
}

void decode_q5_1(const std::uint8_t* block, float* out) {
  const float scale = load_half(block), minimum = load_half(block + 2);
  const std::uint32_t high = load_u32(block + 4);
  for (int i = 0; i < 16; ++i) {
    const int packed = block[8 + i];
    out[i] = static_cast<float>((packed & 15) | fifth_bit(high, i)) * scale + minimum;
    out[i + 16] = static_cast<float>((packed >> 4) | fifth_bit(high, i + 16)) * scale + minimum;
  }
}

void decode_q8_0(const std::uint8_t* block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < 32; ++i) {
    out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * scale;
  }
}

// Q4_K and Q5_K: eight groups of 32 columns, each with a 6-bit scale and a 6-bit minimum, packed
// into 12 bytes: groups 0-3 in the low six bits of bytes 0-3 (scale) and 4-7 (minimum); groups 4-7
// in the nibbles of bytes 8-11 and the top two bits of bytes 0-7.
struct GroupScale {
  int scale, minimum;
};

GroupScale group_scale(const std::uint8_t* packed, int group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  return {(packed[group + 4] & 15) | ((packed[group - 4] >> 6) << 4),
          (packed[group + 4] >> 4) | ((packed[group] >> 6) << 4)};
}

// One pair of groups (64 columns) shares 32 bytes: low nibbles are the first group. `high`, of
// Q5_K alone, holds the fifth bit of group g at bit g of byte i.
void decode_k_groups(const std::uint8_t* block, const std::uint8_t* high,
                     const std::uint8_t* nibbles, float* out) {
  const float scale = load_half(block), minimum = load_half(block + 2);
  for (int group = 0; group < 8; ++group) {
    const GroupScale own = group_scale(block + 4, group);
    const float d = scale * static_cast<float>(own.scale);
    const float m = minimum * static_cast<float>(own.minimum);
    const std::uint8_t* packed = nibbles + group / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      int q = group % 2 == 0 ? packed[i] & 15 : packed[i] >> 4;
      if (high != nullptr) q |= ((high[i] >> group) & 1) << 4;
      out[group * 32 + i] = d * static_cast<float>(q) - m;
    }
  }
}

void decode_q4_k(const std::uint8_t* block, float* out) {
  decode_k_groups(block, nullptr, block + 16, out);
}

void decode_q5_k(const std::uint8_t* block, float* out) {
  decode_k_groups(block, block + 16, block + 48, out);
}

// Q6_K: two halves of 128 columns. In each, run r of 32 columns takes its low four bits from
// nibble r / 2 of low[32 * (r % 2) + i] and its high two from bits 2r of high[i]; every 16 columns
// have a signed 8-bit scale.
void decode_q6_k(const std::uint8_t* block, float* out) {
  const float scale = load_half(block + 208);
  for (int half = 0; half < 2; ++half) {
    const std::uint8_t* low = block + half * 64;
    const std::uint8_t* high = block + 128 + half * 32;
    const std::uint8_t* scales = block + 192 + half * 8;
    for (int run = 0; run < 4; ++run) {
      for (int i = 0; i < 32; ++i) {
        const int q =
            ((low[32 * (run % 2) + i] >> (run / 2 * 4)) & 15) | (((high[i] >> (2 * run)) & 3) << 4);
        const auto own = static_cast<std::int8_t>(scales[2 * run + i / 16]);
        out[half * 128 + run * 32 + i] =
            scale * static_cast<float>(own) * static_cast<float>(q - 32);
      }
    }
  }
}

void decode_affine_row(const Tensor& tensor, std::int64_t row, float* out) {
  const Quantization& form = tensor.quantization;
  const std::size_t scale_size = form.scale_encoding == Encoding::f32 ? 4 : 2;
  const std::int64_t groups = tensor.columns / form.group_size;
  const auto* words = reinterpret_cast<const std::uint8_t*>(tensor.data.data()) +
                      static_cast<std::size_t>(row) * row_bytes(form, tensor.columns);
  const auto first_group = static_cast<std::size_t>(row * groups) * scale_size;
  const auto* scales = reinterpret_cast<const std::uint8_t*>(tensor.scales.data()) + first_group;
  const auto* biases = reinterpret_cast<const std::uint8_t*>(tensor.biases.data()) + first_group;

  // Every width is one little-endian stream of bits (mlx/backend/cpu/quantized.cpp packs 3, 5 and
  // 6 bits over byte borders), so eight numbers always begin and end at whole bytes.
  const auto bits = static_cast<unsigned>(form.bits);
  const std::uint64_t mask = (1u << bits) - 1;
  for (std::int64_t column = 0; column < tensor.columns; column += 8) {
    const auto offset = static_cast<std::size_t>(column / form.group_size) * scale_size;
    const float scale = load_float(scales + offset, form.scale_encoding);
    const float bias = load_float(biases + offset, form.scale_encoding);
    std::uint64_t stream = 0;
    for (unsigned i = 0; i < bits; ++i) stream |= static_cast<std::uint64_t>(*words++) << (8 * i);
    for (unsigned i = 0; i < 8; ++i) {
      out[column + i] = scale * static_cast<float>((stream >> (bits * i)) & mask) + bias;
    }
  }
}

// E4M3 numbers, an E8M0 scale for each 32: 2^(scale - 127).
void decode_mxfp8_row(const Tensor& tensor, std::int64_t row, float* out) {
  const auto* bytes =
      reinterpret_cast<const std::uint8_t*>(tensor.data.data()) + row * tensor.columns;
  const auto* scales =
      reinterpret_cast<const std::uint8_t*>(tensor.scales.data()) + row * (tensor.columns / 32);
  for (std::int64_t column = 0; column < tensor.columns; ++column) {
    out[column] = std::ldexp(e4m3_to_float(bytes[column]), scales[column / 32] - 127);
  }
}

void decode_coded_rows(const Tensor& tensor, std::int64_t first, std::int64_t count, float* out) {
  const auto& values = code_table(tensor.quantization.encoding)->values;
  std::vector<CodeRun> runs(static_cast<std::size_t>(tensor.columns / kRunColumns));
  for (std::int64_t row = first; row < first + count; ++row) {
    read_code_runs(tensor, row, runs);
    for (const CodeRun& run : runs) {
      for (const std::uint8_t code : run.codes) {
        *out++ = run.scale * static_cast<float>(values[code]) - run.minimum;
      }
    }
  }
}

using BlockDecoder = void (*)(const std::uint8_t*, float*);

BlockDecoder block_decoder(Encoding encoding) {
  switch (encoding) {
    case Encoding::q4_0:
      return decode_q4_0;
    case Encoding::q4_1:
      return decode_q4_1;
    case Encoding::q5_0:
      return decode_q5_0;
    case Encoding::q5_1:
      return decode_q5_1;
    case Encoding::q8_0:
      return decode_q8_0;
    case Encoding::q4_k:
      return decode_q4_k;
    case Encoding::q5_k:
      return decode_q5_k;
    case Encoding::q6_k:
      return decode_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace

void dequantize_rows(const Tensor& tensor, std::int64_t first, std::int64_t count,
                     std::span<float> out) {
  check(first >= 0 && count >= 0 && count <= tensor.rows && first <= tensor.rows - count,
        "the rows to decode exist");
  check(out.size() >= static_cast<std::size_t>(count * tensor.columns), "decoded rows fit");
  const Quantization& form = tensor.quantization;
  if (form.encoding == Encoding::mlx_affine || form.encoding == Encoding::mlx_mxfp8) {
    const auto decode =
        form.encoding == Encoding::mlx_affine ? decode_affine_row : decode_mxfp8_row;
    for (std::int64_t row = 0; row < count; ++row) {
      decode(tensor, first + row, out.data() + row * tensor.columns);
    }
    return;
  }
  if (code_table(form.encoding) != nullptr) {
    return decode_coded_rows(tensor, first, count, out.data());
  }
  // Rows lie one after another, each a whole number of blocks: the range is one run of blocks.
  const auto columns = static_cast<std::size_t>(block_columns(form));
  const std::size_t bytes = row_bytes(form, block_columns(form));
  const std::size_t blocks = static_cast<std::size_t>(count * tensor.columns) / columns;
  const auto* source = reinterpret_cast<const std::uint8_t*>(tensor.data.data()) +
                       static_cast<std::size_t>(first) * row_bytes(form, tensor.columns);
  if (const BlockDecoder decode = block_decoder(form.encoding)) {
    for (std::size_t i = 0; i < blocks; ++i) decode(source + i * bytes, out.data() + i * columns);
  } else {
    for (std::size_t i = 0; i < blocks; ++i) {
      out[i] = load_float(source + i * bytes, form.encoding);
    }
  }
}

std::vector<float> dequantize(const Tensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.rows * tensor.columns));
  dequantize_rows(tensor, 0, tensor.rows, values);
  return values;
}

}  // namespace mlxd
