#include "backend/mlx/affine_repack.h"

#include <array>
#include <span>

#include "base/check.h"
#include "model/coded_blocks.h"

namespace mlxd::mlx_backend {
namespace {

// 32 columns of any of the formats: w = scale * code + bias. The block layouts are those of
// ggml-common.h; of a 32-column block the low nibbles are columns 0-15, the high ones 16-31.
struct Group {
  float scale = 0, bias = 0;
  std::array<std::uint8_t, AffineMatrix::kGroupSize> codes;
};

using Bytes = const std::uint8_t*;

float half_at(Bytes bytes) {
  return half_to_float(static_cast<std::uint16_t>(bytes[0] | (bytes[1] << 8)));
}

void read_nibbles(Bytes packed, Group& group) {
  for (int i = 0; i < 16; ++i) {
    group.codes[i] = packed[i] & 15;
    group.codes[i + 16] = packed[i] >> 4;
  }
}

void add_fifth_bits(Bytes high, Group& group) {
  for (int i = 0; i < 32; ++i) group.codes[i] |= ((high[i / 8] >> (i % 8)) & 1) << 4;
}

void read_q4_0(Bytes block, Group* groups) {
  groups->scale = half_at(block);
  groups->bias = -8 * groups->scale;
  read_nibbles(block + 2, *groups);
}

void read_q4_1(Bytes block, Group* groups) {
  groups->scale = half_at(block);
  groups->bias = half_at(block + 2);
  read_nibbles(block + 4, *groups);
}

void read_q5_0(Bytes block, Group* groups) {
  groups->scale = half_at(block);
  groups->bias = -16 * groups->scale;
  read_nibbles(block + 6, *groups);
  add_fifth_bits(block + 2, *groups);
}

void read_q5_1(Bytes block, Group* groups) {
  groups->scale = half_at(block);
  groups->bias = half_at(block + 2);
  read_nibbles(block + 8, *groups);
  add_fifth_bits(block + 4, *groups);
}

void read_q8_0(Bytes block, Group* groups) {
  groups->scale = half_at(block);
  groups->bias = -128 * groups->scale;
  for (int i = 0; i < 32; ++i) groups->codes[i] = block[2 + i] ^ 0x80;  // + 128
}

// Q4_K and Q5_K: eight groups with 6-bit scales and minima in 12 bytes; two groups share the
// nibbles of 32 bytes; bit g of byte i of `high` is the fifth bit of column i of group g.
void read_k_groups(Bytes block, Bytes high, Bytes nibbles, Group* groups) {
  const float scale = half_at(block), minimum = half_at(block + 2);
  const Bytes packed = block + 4;
  for (int g = 0; g < 8; ++g) {
    const int own_scale = g < 4 ? packed[g] & 63 : (packed[g + 4] & 15) | (packed[g - 4] >> 6 << 4);
    const int own_minimum =
        g < 4 ? packed[g + 4] & 63 : (packed[g + 4] >> 4) | (packed[g] >> 6 << 4);
    groups[g].scale = scale * static_cast<float>(own_scale);
    groups[g].bias = -minimum * static_cast<float>(own_minimum);
    for (int i = 0; i < 32; ++i) {
      const int byte = nibbles[g / 2 * 32 + i];
      int code = g % 2 == 0 ? byte & 15 : byte >> 4;
      if (high != nullptr) code |= ((high[i] >> g) & 1) << 4;
      groups[g].codes[i] = static_cast<std::uint8_t>(code);
    }
  }
}

void read_q4_k(Bytes block, Group* groups) { read_k_groups(block, nullptr, block + 16, groups); }
void read_q5_k(Bytes block, Group* groups) { read_k_groups(block, block + 16, block + 48, groups); }

struct Format {
  int bits;
  void (*read)(Bytes block, Group* groups);
};

std::optional<Format> format_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::q4_0:
      return Format{4, read_q4_0};
    case Encoding::q4_1:
      return Format{4, read_q4_1};
    case Encoding::q5_0:
      return Format{5, read_q5_0};
    case Encoding::q5_1:
      return Format{5, read_q5_1};
    case Encoding::q8_0:
      return Format{8, read_q8_0};
    case Encoding::q4_k:
      return Format{4, read_q4_k};
    case Encoding::q5_k:
      return Format{5, read_q5_k};
    default:
      return std::nullopt;
  }
}

// Appends one group's codes as a stream of bits: `bits` whole words, since there are 32 codes.
void pack(const Group& group, int bits, std::vector<std::uint32_t>& words) {
  std::uint64_t stream = 0;
  int filled = 0;
  for (const std::uint8_t code : group.codes) {
    stream |= static_cast<std::uint64_t>(code) << filled;
    filled += bits;
    if (filled >= 32) {
      words.push_back(static_cast<std::uint32_t>(stream));
      stream >>= 32;
      filled -= 32;
    }
  }
}

// Numbers out of a table (model/coded_blocks.h) in even steps: number = lowest + step * code.
struct EvenSteps {
  int bits;
  int lowest, step;
};

std::optional<EvenSteps> even_steps(Encoding encoding) {
  switch (encoding) {
    case Encoding::iq3_s:
      return EvenSteps{4, -15, 2};
    case Encoding::iq1_s:
      return EvenSteps{4, -9, 2};
    case Encoding::tq1_0:
    case Encoding::tq2_0:
    case Encoding::q1_0:
    case Encoding::q2_0:
      return EvenSteps{2, -1, 1};
    default:
      return std::nullopt;
  }
}

AffineMatrix from_even_steps(const Tensor& tensor, const EvenSteps& steps) {
  const auto& numbers = code_table(tensor.quantization.encoding)->values;
  std::vector<CodeRun> runs(static_cast<std::size_t>(tensor.columns / kRunColumns));
  AffineMatrix out;
  out.bits = steps.bits;
  for (std::int64_t row = 0; row < tensor.rows; ++row) {
    read_code_runs(tensor, row, runs);
    for (std::size_t r = 0; r < runs.size(); r += 2) {
      Group group;
      for (std::size_t i = 0; i < group.codes.size(); ++i) {
        const int number = numbers[runs[r + i / kRunColumns].codes[i % kRunColumns]];
        group.codes[i] = static_cast<std::uint8_t>((number - steps.lowest) / steps.step);
      }
      pack(group, steps.bits, out.words);
      out.scales.push_back(runs[r].scale * static_cast<float>(steps.step));
      out.biases.push_back(runs[r].scale * static_cast<float>(steps.lowest));
    }
  }
  return out;
}

}  // namespace

int affine_bits(Encoding encoding) {
  if (const auto steps = even_steps(encoding)) return steps->bits;
  const std::optional<Format> format = format_of(encoding);
  return format ? format->bits : 0;
}

SmallFloatMatrix to_small_floats(const Tensor& tensor) {
  const Encoding encoding = tensor.quantization.encoding;
  check(encoding == Encoding::mxfp4 || encoding == Encoding::nvfp4, "4-bit floats of GGUF");
  const std::size_t runs_of_scale = encoding == Encoding::mxfp4 ? 2 : 1;
  std::vector<CodeRun> runs(static_cast<std::size_t>(tensor.columns / kRunColumns));
  SmallFloatMatrix out;
  out.codes.reserve(static_cast<std::size_t>(tensor.rows) * runs.size() * kRunColumns / 2);
  out.scales.reserve(static_cast<std::size_t>(tensor.rows) * runs.size() / runs_of_scale);
  for (std::int64_t row = 0; row < tensor.rows; ++row) {
    read_code_runs(tensor, row, runs);
    for (std::size_t r = 0; r < runs.size(); ++r) {
      const auto& codes = runs[r].codes;
      for (std::size_t i = 0; i < codes.size(); i += 2) {
        out.codes.push_back(static_cast<std::uint8_t>(codes[i] | codes[i + 1] << 4));
      }
      if (r % runs_of_scale != 0) continue;
      // 127 is 480 in GGUF, where no writer makes it, and no number to MLX.
      const int level = runs[r].level;
      const bool is_number = encoding == Encoding::mxfp4 || level < 127;
      out.scales.push_back(static_cast<std::uint8_t>(is_number ? level : 126));
    }
  }
  return out;
}

std::optional<AffineMatrix> to_affine(const Tensor& tensor) {
  if (const auto steps = even_steps(tensor.quantization.encoding)) {
    return from_even_steps(tensor, *steps);
  }
  const std::optional<Format> format = format_of(tensor.quantization.encoding);
  if (!format) return std::nullopt;
  const int columns = block_columns(tensor.quantization);
  const std::size_t block_bytes = row_bytes(tensor.quantization, columns);
  const auto group_count =
      static_cast<std::size_t>(tensor.rows * tensor.columns / AffineMatrix::kGroupSize);

  AffineMatrix out;
  out.bits = format->bits;
  out.words.reserve(group_count * static_cast<std::size_t>(format->bits));
  out.scales.reserve(group_count);
  out.biases.reserve(group_count);
  std::array<Group, 8> groups;
  const auto* block = reinterpret_cast<Bytes>(tensor.data.data());
  for (std::size_t done = 0; done < tensor.data.size(); done += block_bytes, block += block_bytes) {
    format->read(block, groups.data());
    for (int g = 0; g < columns / AffineMatrix::kGroupSize; ++g) {
      pack(groups[g], format->bits, out.words);
      out.scales.push_back(groups[g].scale);
      out.biases.push_back(groups[g].bias);
    }
  }
  return out;
}

}  // namespace mlxd::mlx_backend
