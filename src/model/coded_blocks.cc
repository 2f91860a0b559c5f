#include "model/coded_blocks.h"

#include <bit>

#include "base/check.h"
#include "model/grid_blocks.h"
#include "model/little_endian.h"

namespace mlxd {
namespace {

// The decoders below take one block in the layout of ggml-common.h and write its runs.
using Bytes = const std::uint8_t*;

constexpr CodeTable kQ2 = {2, {0, 1, 2, 3}};
constexpr CodeTable kQ3 = {3, {-4, -3, -2, -1, 0, 1, 2, 3}};
constexpr CodeTable kIq4 = {
    4, {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}};
constexpr CodeTable kFp4 = {4, {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}};
constexpr CodeTable kBinary = {1, {-1, 1}};
constexpr CodeTable kTernary = {2, {-1, 0, 1, 2}};  // Q2_0 uses the last too

void set_scale(CodeRun& run, float factor, int level) {
  run.factor = factor;
  run.level = level;
  run.scale = factor * static_cast<float>(level);
}

// The codes of a run, one from each of 16 bytes: bits `shift` and up, as many as `mask` has in
// each.
void read_bits(Bytes from, int shift, std::uint64_t mask, CodeRun& run) {
  for (int half = 0; half < 2; ++half) {
    const std::uint64_t codes = (load_u64(from + 8 * half) >> shift) & mask;
    store_u64(&run.codes[static_cast<std::size_t>(8 * half)], codes);
  }
}

constexpr std::uint64_t kNibbles = 0x0f0f0f0f0f0f0f0f;
constexpr std::uint64_t kPairs = 0x0303030303030303;
constexpr std::uint64_t kSingles = 0x0101010101010101;

// 16 bytes of nibbles: the low ones are the first run.
void read_nibbles(Bytes packed, CodeRun* runs) {
  read_bits(packed, 0, kNibbles, runs[0]);
  read_bits(packed, 4, kNibbles, runs[1]);
}

// Where the K-quants and TQ2_0 keep the pairs of bits of run `index` (0..15) of a block: 32 bytes
// hold four times 32 columns, of which each has its pair of bits in every byte.
void read_bit_pairs(Bytes pairs, int index, CodeRun& run) {
  read_bits(pairs + 32 * (index / 8) + 16 * (index % 2), index % 8 / 2 * 2, kPairs, run);
}

void read_q2_k(Bytes block, CodeRun* runs) {
  const float factor = load_half(block + 80), minimum_factor = load_half(block + 82);
  for (int r = 0; r < 16; ++r) {
    read_bit_pairs(block + 16, r, runs[r]);
    set_scale(runs[r], factor, block[r] & 15);
    runs[r].minimum_factor = minimum_factor;
    runs[r].minimum_level = block[r] >> 4;
    runs[r].minimum = minimum_factor * static_cast<float>(runs[r].minimum_level);
  }
}

// Q3_K: the third bits in a plane of 32 bytes, of which bit r / 2 belongs to run r; 6-bit scales,
// of which the low four bits come first.
void read_q3_k(Bytes block, CodeRun* runs) {
  const Bytes scales = block + 96;
  const float factor = load_half(block + 108);
  for (int r = 0; r < 16; ++r) {
    read_bit_pairs(block + 32, r, runs[r]);
    for (int half = 0; half < 2; ++half) {
      std::uint8_t* codes = &runs[r].codes[static_cast<std::size_t>(8 * half)];
      const std::uint64_t high = load_u64(block + 16 * (r % 2) + 8 * half) >> (r / 2);
      store_u64(codes, load_u64(codes) | (high & kSingles) << 2);
    }
    const int low = r < 8 ? scales[r] & 15 : scales[r - 8] >> 4;
    const int two = (scales[8 + r % 4] >> (r / 4 * 2)) & 3;
    set_scale(runs[r], factor, (low | two << 4) - 32);
  }
}

void read_iq4_nl(Bytes block, CodeRun* runs) {
  read_nibbles(block + 2, runs);
  set_scale(runs[0], load_half(block), 1);
  set_scale(runs[1], load_half(block), 1);
}

// IQ4_XS: the 6-bit scales of eight groups, their high two bits in the 16-bit word before the low.
void read_iq4_xs(Bytes block, CodeRun* runs) {
  const float factor = load_half(block);
  const int high = load_u16(block + 2);
  for (int g = 0; g < 8; ++g, runs += 2) {
    read_nibbles(block + 8 + 16 * g, runs);
    const int low = (block[4 + g / 2] >> (g % 2 * 4)) & 15;
    const int level = (low | ((high >> (2 * g)) & 3) << 4) - 32;
    set_scale(runs[0], factor, level);
    set_scale(runs[1], factor, level);
  }
}

void set_e8m0_scale(CodeRun& run, int exponent) {
  run.factor = run.scale = half_of_e8m0(exponent);
  run.level = exponent;
}

void read_mxfp4(Bytes block, CodeRun* runs) {
  read_nibbles(block + 1, runs);
  set_e8m0_scale(runs[0], block[0]);
  set_e8m0_scale(runs[1], block[0]);
}

void set_e4m3_scale(CodeRun& run, int byte) {
  run.factor = run.scale = half_of_e4m3(byte);
  run.level = byte;
}

// NVFP4: four scales, then 8 bytes of nibbles for each 16 columns. The sign of a scale is ignored,
// and 127 stands for 0.
void read_nvfp4(Bytes block, CodeRun* runs) {
  for (int r = 0; r < 4; ++r) {
    const Bytes packed = block + 4 + 8 * r;
    for (int i = 0; i < 8; ++i) {
      runs[r].codes[i] = packed[i] & 15;
      runs[r].codes[i + 8] = packed[i] >> 4;
    }
    set_e4m3_scale(runs[r], block[r] == 127 ? 0 : block[r] & 127);
  }
}

// TQ1_0: five ternary digits a byte, the byte being their fraction of 243 in 256ths: the first
// digit is byte * 3 / 256, the next that of the byte times 3 modulo 256.
void read_tq1_0(Bytes block, CodeRun* runs) {
  static constexpr int kPowers[] = {1, 3, 9, 27, 81};
  const auto digit = [](int byte, int position) {
    return static_cast<std::uint8_t>(((byte * kPowers[position]) & 255) * 3 >> 8);
  };
  const float scale = load_half(block + 52);
  for (int r = 0; r < 16; ++r) {
    for (int i = 0; i < kRunColumns; ++i) {
      const int column = r * kRunColumns + i;
      if (column < 160) {
        runs[r].codes[i] = digit(block[column % 32], column / 32);
      } else if (column < 240) {
        runs[r].codes[i] = digit(block[32 + column % 16], (column - 160) / 16);
      } else {
        runs[r].codes[i] = digit(block[48 + column % 4], (column - 240) / 4);
      }
    }
    set_scale(runs[r], scale, 1);
  }
}

void read_tq2_0(Bytes block, CodeRun* runs) {
  for (int r = 0; r < 16; ++r) {
    read_bit_pairs(block, r, runs[r]);
    set_scale(runs[r], load_half(block + 64), 1);
  }
}

// Q1_0: a bit a column.
void read_q1_0(Bytes block, CodeRun* runs) {
  for (int r = 0; r < 8; ++r) {
    for (int half = 0; half < 2; ++half) {
      store_u64(&runs[r].codes[static_cast<std::size_t>(8 * half)],
                spread_bits(block[2 + 2 * r + half]));
    }
    set_scale(runs[r], load_half(block), 1);
  }
}

void read_q2_0(Bytes block, CodeRun* runs) {
  for (int r = 0; r < 4; ++r) {
    for (int i = 0; i < kRunColumns; ++i) {
      runs[r].codes[i] = (block[2 + 4 * r + i / 4] >> (i % 4 * 2)) & 3;
    }
    set_scale(runs[r], load_half(block), 1);
  }
}

struct Format {
  CodeTable table;
  void (*read)(Bytes block, CodeRun* runs);  // null for MLX's, whose scales lie apart
};

const Format* format_of(Encoding encoding) {
  static constexpr Format kQ2K{kQ2, read_q2_k}, kQ3K{kQ3, read_q3_k};
  static constexpr Format kIq4Nl{kIq4, read_iq4_nl}, kIq4Xs{kIq4, read_iq4_xs};
  static constexpr Format kMxfp4{kFp4, read_mxfp4}, kNvfp4{kFp4, read_nvfp4};
  static constexpr Format kMlx{kFp4, nullptr};
  static constexpr Format kTq1{kTernary, read_tq1_0}, kTq2{kTernary, read_tq2_0};
  static constexpr Format kQ1{kBinary, read_q1_0}, kQ20{kTernary, read_q2_0};
  static constexpr Format kIq1S{kIq1Table, read_iq1_s}, kIq1M{kIq1Table, read_iq1_m};
  static constexpr Format kIq2Xxs{kIq2Table, read_iq2_xxs}, kIq2Xs{kIq2Table, read_iq2_xs};
  static constexpr Format kIq2S{kIq2Table, read_iq2_s};
  static constexpr Format kIq3Xxs{kIq3XxsTable, read_iq3_xxs}, kIq3S{kIq3STable, read_iq3_s};
  switch (encoding) {
    case Encoding::q2_k:
      return &kQ2K;
    case Encoding::q3_k:
      return &kQ3K;
    case Encoding::iq4_nl:
      return &kIq4Nl;
    case Encoding::iq4_xs:
      return &kIq4Xs;
    case Encoding::iq3_xxs:
      return &kIq3Xxs;
    case Encoding::iq3_s:
      return &kIq3S;
    case Encoding::iq2_xxs:
      return &kIq2Xxs;
    case Encoding::iq2_xs:
      return &kIq2Xs;
    case Encoding::iq2_s:
      return &kIq2S;
    case Encoding::iq1_s:
      return &kIq1S;
    case Encoding::iq1_m:
      return &kIq1M;
    case Encoding::tq1_0:
      return &kTq1;
    case Encoding::tq2_0:
      return &kTq2;
    case Encoding::q1_0:
      return &kQ1;
    case Encoding::q2_0:
      return &kQ20;
    case Encoding::mxfp4:
      return &kMxfp4;
    case Encoding::nvfp4:
      return &kNvfp4;
    case Encoding::mlx_mxfp4:
    case Encoding::mlx_nvfp4:
      return &kMlx;
    default:
      return nullptr;
  }
}

// MLX packs the codes of a row one after another, two a byte, the first in the low nibble.
void read_mlx_row(const Tensor& tensor, std::int64_t row, std::span<CodeRun> runs) {
  const Quantization& form = tensor.quantization;
  const auto* packed = reinterpret_cast<Bytes>(tensor.data.data()) + row * (tensor.columns / 2);
  const auto* scales =
      reinterpret_cast<Bytes>(tensor.scales.data()) + row * (tensor.columns / form.group_size);
  const auto runs_of_group = static_cast<std::size_t>(form.group_size / kRunColumns);
  for (std::size_t r = 0; r < runs.size(); ++r, packed += kRunColumns / 2) {
    const int scale = scales[r / runs_of_group];
    const bool negative = form.encoding == Encoding::mlx_nvfp4 && (scale & 128) != 0;
    for (int i = 0; i < kRunColumns; ++i) {
      runs[r].codes[i] = ((packed[i / 2] >> (i % 2 * 4)) & 15) ^ (negative ? 8 : 0);
    }
    if (form.encoding == Encoding::mlx_nvfp4) {
      set_e4m3_scale(runs[r], scale & 127);
    } else {
      set_e8m0_scale(runs[r], scale);
    }
  }
}

}  // namespace

float half_of_e8m0(int byte) {
  const auto e = static_cast<std::uint32_t>(byte);
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);  // two are subnormal
}

float half_of_e4m3(int byte) {
  // Exponent and fraction, moved to their places in a float, lack only the bias.
  return std::bit_cast<float>(static_cast<std::uint32_t>(byte) << 20) * 0x1p119f;
}

const CodeTable* code_table(Encoding encoding) {
  const Format* format = format_of(encoding);
  return format == nullptr ? nullptr : &format->table;
}

void read_code_runs(const Tensor& tensor, std::int64_t row, std::span<CodeRun> runs) {
  const Format* format = format_of(tensor.quantization.encoding);
  check(format != nullptr, "the format has a code table");
  check(runs.size() == static_cast<std::size_t>(tensor.columns / kRunColumns), "a row fits");
  if (format->read == nullptr) return read_mlx_row(tensor, row, runs);
  const int columns = block_columns(tensor.quantization);
  const std::size_t bytes = row_bytes(tensor.quantization, columns);
  const auto* block =
      reinterpret_cast<Bytes>(tensor.data.data()) +
      static_cast<std::size_t>(row) * row_bytes(tensor.quantization, tensor.columns);
  for (std::size_t r = 0; r < runs.size(); r += static_cast<std::size_t>(columns / kRunColumns)) {
    format->read(block, &runs[r]);
    block += bytes;
  }
  if (tensor.scale == 1) return;
  for (CodeRun& run : runs) {
    run.factor *= tensor.scale;
    run.scale *= tensor.scale;
  }
}

}  // namespace mlxd
