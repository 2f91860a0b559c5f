// Plain C++: what a processor without a file of its own runs, and what the others are tested
// against. The arithmetic is that of the vector kernels operation by operation, so that they agree
// to the last bit; std::fma is what that costs on a processor without the instruction.
#include <bit>
#include <cmath>
#include <cstring>

#include "backend/cpu/isa.h"
#include "backend/cpu/kernel_driver.h"

namespace mlxd::cpu {
namespace {

constexpr int kSteps = 8;  // of four columns, in a group
constexpr int kStepBytes = 4 * kTileRows;

using Lanes = float[kTileRows];

float load_half(const std::uint8_t* from) {
  std::uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return half_to_float(bits);
}

float load_bfloat(const std::uint8_t* from) {
  std::uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return bfloat16_to_float(bits);
}

float load_float(const std::uint8_t* from) {
  float value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The scales of one group; `second` is the minimum, or the second half's scale; with halves and
// minima both, these are in the last two.
struct GroupScales {
  Lanes first;
  Lanes second;
  Lanes first_min;
  Lanes second_min;
};

// 2^(exponent - 128).
float half_of_e8m0(std::uint8_t exponent) {
  const std::uint32_t bits = std::uint32_t{exponent} << 23;
  constexpr std::uint32_t kLeast = 1u << 22;  // 2^-127, where the exponent alone would say 0
  return std::bit_cast<float>(bits < kLeast ? kLeast : bits) * 0.5f;
}

// Half of E4M3 without a sign, times the tensor's scale; exponent and fraction at their places lack
// only the bias.
float scale_of_e4m3(std::uint8_t byte, float tensor_scale) {
  return std::bit_cast<float>(std::uint32_t{byte} << 20) * (0x1p119f * tensor_scale);
}

template <Codes kCodes, ScaleKind kKind>
GroupScales load_scales(const std::uint8_t* header, int g, const TileLayout& layout) {
  constexpr auto kZero = static_cast<float>(zero_point(kCodes, kKind));
  const std::uint8_t* levels = header + 64;
  GroupScales scales;
  for (int r = 0; r < kTileRows; ++r) {
    if constexpr (kKind == ScaleKind::scale) {
      scales.first[r] = load_half(header + 32 * (g >> layout.scale_shift) + 2 * r);
    } else if constexpr (kKind == ScaleKind::scale_and_min) {
      const auto load = layout.bfloat16_scales ? load_bfloat : load_half;
      scales.first[r] = load(header + 2 * r);
      scales.second[r] = load(header + 32 + 2 * r);
      if (kZero != 0) scales.second[r] = std::fma(scales.first[r], kZero, scales.second[r]);
    } else if constexpr (kKind == ScaleKind::k_scale_and_min) {
      scales.first[r] = load_half(header + 2 * r) * static_cast<float>(levels[16 * g + r]);
      scales.second[r] =
          -load_half(header + 32 + 2 * r) * static_cast<float>(levels[128 + 16 * g + r]);
    } else if constexpr (kKind == ScaleKind::k_scale) {
      const auto level = static_cast<std::int8_t>(levels[16 * g + r]);
      scales.first[r] = load_float(header + 4 * r) * static_cast<float>(level);
    } else if constexpr (kKind == ScaleKind::k_half_scale_and_min) {
      const float d = load_half(header + 2 * r), dmin = -load_half(header + 32 + 2 * r);
      const std::uint8_t low = levels[32 * g + r], high = levels[32 * g + 16 + r];
      scales.first[r] = d * static_cast<float>(low & 15);
      scales.second[r] = d * static_cast<float>(high & 15);
      scales.first_min[r] = dmin * static_cast<float>(low >> 4);
      scales.second_min[r] = dmin * static_cast<float>(high >> 4);
    } else if constexpr (kKind == ScaleKind::exponent) {
      scales.first[r] = half_of_e8m0(header[16 * g + r]);
    } else if constexpr (kKind == ScaleKind::half_e4m3) {
      scales.first[r] = scale_of_e4m3(header[32 * g + r], layout.tensor_scale);
      scales.second[r] = scale_of_e4m3(header[32 * g + 16 + r], layout.tensor_scale);
    } else {
      const auto level = [&](int i) { return static_cast<std::int8_t>(levels[32 * g + i]); };
      const float d = load_float(header + 4 * r);
      scales.first[r] = d * static_cast<float>(level(r));
      scales.second[r] = d * static_cast<float>(level(16 + r));
    }
  }
  return scales;
}

// The codes less nothing: numbers of a table are made unsigned by the zero point.
template <Codes kCodes>
void load_codes(const std::uint8_t* group, const TileLayout& layout,
                std::uint8_t (&codes)[kSteps][kStepBytes]) {
  constexpr int kBits = code_bits(kCodes);
  if constexpr (kBits == 8) {
    std::memcpy(codes, group, sizeof codes);
    return;
  }
  // Where the pairs of bits begin, and the single ones.
  const std::uint8_t* pairs = group + (kBits == 6 ? 4 * kStepBytes : 0);
  const std::uint8_t* singles = group + (kBits == 5 ? 4 : 2) * kStepBytes;
  for (int k = 0; k < kSteps; ++k) {
    for (int i = 0; i < kStepBytes; ++i) {
      const unsigned pair = (pairs[kStepBytes * (k / 4) + i] >> (k % 4 * 2)) & 3u;
      unsigned code = kBits < 4 ? pair : (group[kStepBytes * (k / 2) + i] >> (k % 2 * 4)) & 15u;
      if constexpr (kBits == 1) code = ((group[i] >> k) & 1u) * 2;
      if constexpr (kBits == 6) code |= pair << 4;
      if constexpr (kBits == 3) code |= ((singles[i] >> k) & 1u) << 2;
      if constexpr (kBits == 5) code |= ((singles[i] >> k) & 1u) << 4;
      if constexpr (has_table(kCodes)) {
        code = static_cast<unsigned>(layout.table[code] + zero_point(kCodes, ScaleKind::scale));
      }
      codes[k][i] = static_cast<std::uint8_t>(code);
    }
  }
}

// dots[r] += the products of steps [first, end).
void dot(const std::uint8_t (&codes)[kSteps][kStepBytes], const InputGroup& input, int first,
         int end, std::int32_t (&dots)[kTileRows]) {
  for (int k = first; k < end; ++k) {
    for (int r = 0; r < kTileRows; ++r) {
      std::int32_t sum = 0;
      for (int c = 0; c < 4; ++c) sum += codes[k][4 * r + c] * input.quantized[4 * k + c];
      dots[r] += sum;
    }
  }
}

template <Codes kCodes, ScaleKind kKind>
void accumulate(const std::uint8_t (&codes)[kSteps][kStepBytes], const GroupScales& scales,
                const InputGroup& input, Lanes& sums) {
  constexpr bool kHalves = has_halves(kKind);
  constexpr bool kBias = bias_zero(kCodes, kKind) > 0;
  constexpr bool kMin = kKind == ScaleKind::scale_and_min || kKind == ScaleKind::k_scale_and_min;
  std::int32_t low[kTileRows], high[kTileRows];
  for (int r = 0; r < kTileRows; ++r) {
    low[r] = kBias ? input.bias[0] : 0;
    high[r] = kBias && kHalves ? input.bias[1] : 0;
  }
  dot(codes, input, 0, kHalves ? kSteps / 2 : kSteps, low);
  if (kHalves) dot(codes, input, kSteps / 2, kSteps, high);
  for (int r = 0; r < kTileRows; ++r) {
    float scaled = static_cast<float>(low[r]) * scales.first[r];
    if (kHalves) scaled = std::fma(static_cast<float>(high[r]), scales.second[r], scaled);
    if (kKind == ScaleKind::k_half_scale_and_min) {
      scaled = std::fma(std::bit_cast<float>(input.bias[0]), scales.first_min[r], scaled);
      scaled = std::fma(std::bit_cast<float>(input.bias[1]), scales.second_min[r], scaled);
    }
    sums[r] = std::fma(scaled, input.scale, sums[r]);
    if (kMin) sums[r] = std::fma(scales.second[r], input.sum, sums[r]);
  }
}

template <Encoding kFloats>
float load_weight(const std::uint8_t* tile, int column, int row) {
  const int index = column * kTileRows + row;
  if constexpr (kFloats == Encoding::f32) return load_float(tile + 4 * index);
  if constexpr (kFloats == Encoding::f16) return load_half(tile + 2 * index);
  return load_bfloat(tile + 2 * index);
}

struct Portable {
  static constexpr int kRowBlocks[] = {4, 1};
  static constexpr int kFloatRowBlocks[] = {4, 1};

  static HalfSums half_sums(const std::int8_t* quantized) {
    HalfSums sums{0, 0};
    for (int i = 0; i < kGroupColumns / 2; ++i) {
      sums.low += quantized[i];
      sums.high += quantized[kGroupColumns / 2 + i];
    }
    return sums;
  }

  template <Codes kCodes, ScaleKind kKind, int kRows>
  static void quantized_tile(const TileLayout& layout, const std::uint8_t* tile,
                             const InputGroup* input, float* out, std::ptrdiff_t stride) {
    Lanes sums[kRows] = {};
    for (int left = layout.groups; left > 0; left -= layout.groups_per_block) {
      const std::uint8_t* group = tile + header_bytes(kKind);
      const int count = left < layout.groups_per_block ? left : layout.groups_per_block;
      for (int g = 0; g < count; ++g, input += kRows, group += group_bytes(kCodes)) {
        std::uint8_t codes[kSteps][kStepBytes];
        load_codes<kCodes>(group, layout, codes);
        const GroupScales scales = load_scales<kCodes, kKind>(tile, g, layout);
        for (int b = 0; b < kRows; ++b) {
          accumulate<kCodes, kKind>(codes, scales, input[b], sums[b]);
        }
      }
      tile += layout.block_bytes();
    }
    for (int b = 0; b < kRows; ++b) {
      for (int r = 0; r < kTileRows; ++r) out[b * stride + r] = sums[b][r];
    }
  }

  template <Encoding kFloats, int kRows>
  static void float_tile(int columns, const std::uint8_t* tile, const float* values,
                         std::ptrdiff_t value_stride, float* out, std::ptrdiff_t stride) {
    Lanes sums[kRows][4] = {};
    for (int c = 0; c < columns; ++c) {
      for (int r = 0; r < kTileRows; ++r) {
        const float weight = load_weight<kFloats>(tile, c, r);
        for (int b = 0; b < kRows; ++b) {
          float& sum = sums[b][c % 4][r];
          sum = std::fma(weight, values[b * value_stride + c], sum);
        }
      }
    }
    for (int b = 0; b < kRows; ++b) {
      for (int r = 0; r < kTileRows; ++r) {
        out[b * stride + r] = (sums[b][0][r] + sums[b][1][r]) + (sums[b][2][r] + sums[b][3][r]);
      }
    }
  }
};

void quantize(const float* values, int columns, std::int8_t* quantized, float* scales,
              float* sums) {
  for (int g = 0; g < columns / kGroupColumns; ++g) {
    const float* from = values + g * kGroupColumns;
    std::int8_t* to = quantized + g * kGroupColumns;
    float maximum = 0;
    for (int i = 0; i < kGroupColumns; ++i) maximum = std::fmax(maximum, std::fabs(from[i]));
    const QuantizeFactors factors = quantize_factors(maximum);
    int sum = 0;
    for (int i = 0; i < kGroupColumns; ++i) {
      // Adding 1.5 * 2^23 puts the units at the last bit: it rounds to nearest even, and its low
      // byte is the code.
      const float shifted = from[i] * factors.inverse + 0x1.8p23f;
      to[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(shifted) & 0xff);
      sum += to[i];
    }
    scales[g] = factors.scale;
    sums[g] = factors.scale * static_cast<float>(sum);
  }
}

}  // namespace

constinit const Kernels kPortableKernels = {
    .name = "portable",
    .pack = pack,
    .allocate = allocate_packed,
    .pack_tiles = pack_tiles,
    .prepare = KernelDriver<Portable>::prepare,
    .multiply = KernelDriver<Portable>::multiply,
    .decode_row = decode_row,
    .quantize = quantize,
};

}  // namespace mlxd::cpu
