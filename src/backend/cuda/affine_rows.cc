#include "backend/cuda/affine_rows.h"

#include <algorithm>
#include <bit>
#include <span>

#include "model/coded_blocks.h"
#include "model/little_endian.h"

namespace mlxd::cuda_backend {
namespace {

constexpr int kRun = 16;

// What lies at a block's beginning; layouts are those of ggml-common.h.
class BlockReader {
 public:
  explicit BlockReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  int byte(std::size_t at) const { return std::to_integer<int>(bytes_[at]); }
  int signed_byte(std::size_t at) const { return static_cast<std::int8_t>(byte(at)); }
  float half(std::size_t at) const {
    return half_to_float(static_cast<std::uint16_t>(byte(at) | byte(at + 1) << 8));
  }
  int bit(std::size_t at, int index) const {
    return byte(at + static_cast<std::size_t>(index / 8)) >> index % 8 & 1;
  }

 private:
  std::span<const std::byte> bytes_;
};

// Where a block's numbers go.
class BlockWriter {
 public:
  BlockWriter(AffineRow& row, std::size_t first) : row_(row), first_(first) {}

  void code(int column, int value) {
    row_.codes[first_ + static_cast<std::size_t>(column)] = static_cast<std::uint8_t>(value);
  }
  // Of these columns, whole runs.
  void scale(int column, int count, float scale, float bias) {
    const std::size_t run = (first_ + static_cast<std::size_t>(column)) / kRun;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count / kRun); ++i) {
      row_.scales[run + i] = scale;
      row_.biases[run + i] = bias;
    }
  }

 private:
  AffineRow& row_;
  std::size_t first_;
};

// Q4_0, Q4_1, Q5_0 and Q5_1: 32 numbers of a scale, and perhaps a minimum and fifth bits.
void read_legacy(const BlockReader& in, BlockWriter& out, bool has_minimum, bool has_fifth) {
  const std::size_t fifth = has_minimum ? 4 : 2, low = fifth + (has_fifth ? 4 : 0);
  for (int i = 0; i < 32; ++i) {
    const int four = in.byte(low + static_cast<std::size_t>(i % 16)) >> (i < 16 ? 0 : 4) & 15;
    out.code(i, four | (has_fifth ? in.bit(fifth, i) << 4 : 0));
  }
  const float scale = in.half(0);
  out.scale(0, 32, scale, has_minimum ? in.half(2) : -scale * (has_fifth ? 16 : 8));
}

void read_q8_0(const BlockReader& in, BlockWriter& out) {
  for (int i = 0; i < 32; ++i) out.code(i, in.signed_byte(2 + static_cast<std::size_t>(i)) + 128);
  const float scale = in.half(0);
  out.scale(0, 32, scale, -128 * scale);
}

// Q4_K and Q5_K: eight times 32 numbers, each with a scale and a minimum of six bits.
void read_q45_k(const BlockReader& in, BlockWriter& out, bool has_fifth) {
  constexpr std::size_t kLevels = 4, kFifth = 16;
  const std::size_t low = has_fifth ? kFifth + 32 : kFifth;
  const float scale = in.half(0), minimum = in.half(2);
  for (int part = 0; part < 8; ++part) {
    const auto p = static_cast<std::size_t>(part);
    int level, minimum_level;
    if (part < 4) {
      level = in.byte(kLevels + p) & 63;
      minimum_level = in.byte(kLevels + p + 4) & 63;
    } else {
      level = (in.byte(kLevels + p + 4) & 15) | in.byte(kLevels + p - 4) >> 6 << 4;
      minimum_level = in.byte(kLevels + p + 4) >> 4 | in.byte(kLevels + p) >> 6 << 4;
    }
    for (int i = 0; i < 32; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const int four = in.byte(low + p / 2 * 32 + at) >> (part % 2 * 4) & 15;
      const int fifth = has_fifth ? in.byte(kFifth + at) >> part & 1 : 0;
      out.code(32 * part + i, four | fifth << 4);
    }
    out.scale(32 * part, 32, scale * static_cast<float>(level),
              -minimum * static_cast<float>(minimum_level));
  }
}

// Q6_K: sixteen times 16 numbers, each with a scale of eight bits.
void read_q6_k(const BlockReader& in, BlockWriter& out) {
  constexpr std::size_t kHigh = 128, kLevels = 192, kScale = 208;
  for (int column = 0; column < 256; ++column) {
    const int half = column / 128, quarter = column / 32 % 4, i = column % 32;
    const auto low = static_cast<std::size_t>(64 * half + quarter % 2 * 32 + i);
    const auto high = static_cast<std::size_t>(32 * half + i);
    out.code(column, (in.byte(low) >> (quarter / 2 * 4) & 15) |
                         (in.byte(kHigh + high) >> (2 * quarter) & 3) << 4);
  }
  for (int run = 0; run < 16; ++run) {
    const auto level = in.signed_byte(kLevels + static_cast<std::size_t>(run));
    const float scale = in.half(kScale) * static_cast<float>(level);
    out.scale(kRun * run, kRun, scale, -32 * scale);
  }
}

void read_mlx(const Tensor& tensor, std::int64_t row, AffineRow& out) {
  const Quantization& form = tensor.quantization;
  const auto columns = static_cast<std::size_t>(tensor.columns);
  const auto bits = static_cast<std::size_t>(form.bits);
  const std::size_t bytes = row_bytes(form, tensor.columns);
  const auto data = tensor.data.subspan(static_cast<std::size_t>(row) * bytes, bytes);
  for (std::size_t i = 0; i < columns; ++i) {
    const std::size_t bit = i * bits;
    int two = std::to_integer<int>(data[bit / 8]);
    if (bit / 8 + 1 < bytes) two |= std::to_integer<int>(data[bit / 8 + 1]) << 8;
    out.codes[i] = static_cast<std::uint8_t>(two >> bit % 8 & ((1 << bits) - 1));
  }
  const auto group = static_cast<std::size_t>(form.group_size);
  const bool floats = form.scale_encoding == Encoding::f32;
  const auto number = [&](std::span<const std::byte> from, std::size_t index) {
    const auto* bytes_of = reinterpret_cast<const std::uint8_t*>(from.data());
    if (floats) return std::bit_cast<float>(load_u32(bytes_of + 4 * index));
    const std::uint16_t half = load_u16(bytes_of + 2 * index);
    return form.scale_encoding == Encoding::bf16 ? bfloat16_to_float(half) : half_to_float(half);
  };
  const std::size_t first = static_cast<std::size_t>(row) * (columns / group);
  for (std::size_t run = 0; run < columns / kRun; ++run) {
    out.scales[run] = number(tensor.scales, first + run * kRun / group);
    out.biases[run] = number(tensor.biases, first + run * kRun / group);
  }
}

// The least and the largest number of a code table.
struct Span {
  int least, largest;
};

Span span_of(const CodeTable& table) {
  const auto end = table.values.begin() + (1 << table.bits);
  const auto [least, largest] = std::minmax_element(table.values.begin(), end);
  return {*least, *largest};
}

void read_coded(const Tensor& tensor, const CodeTable& table, std::int64_t row, AffineRow& out) {
  std::vector<CodeRun> runs(static_cast<std::size_t>(tensor.columns / kRunColumns));
  read_code_runs(tensor, row, runs);
  const int least = span_of(table).least;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    for (std::size_t i = 0; i < kRun; ++i) {
      out.codes[run * kRun + i] =
          static_cast<std::uint8_t>(table.values[runs[run].codes[i]] - least);
    }
    out.scales[run] = runs[run].scale;
    out.biases[run] = runs[run].scale * static_cast<float>(least) - runs[run].minimum;
  }
}

}  // namespace

AffineForm affine_form(const Quantization& quantization) {
  switch (quantization.encoding) {
    case Encoding::mlx_affine:
      return {quantization.bits <= 4 ? 4 : 8, std::min(quantization.group_size, 64)};
    case Encoding::q4_0:
    case Encoding::q4_1:
    case Encoding::q4_k:
      return {4, 32};
    case Encoding::q5_0:
    case Encoding::q5_1:
    case Encoding::q5_k:
    case Encoding::q8_0:
      return {8, 32};
    case Encoding::q6_k:
      return {8, 16};
    default:
      break;
  }
  const CodeTable* table = code_table(quantization.encoding);
  if (!table) return {};
  const Span span = span_of(*table);
  return {span.largest - span.least < 16 ? 4 : 8, 16};
}

void read_affine_row(const Tensor& tensor, std::int64_t row, AffineRow& out) {
  const auto columns = static_cast<std::size_t>(tensor.columns);
  out.codes.resize(columns);
  out.scales.resize(columns / kRun);
  out.biases.resize(columns / kRun);
  const Quantization& form = tensor.quantization;
  if (form.encoding == Encoding::mlx_affine) return read_mlx(tensor, row, out);
  if (const CodeTable* table = code_table(form.encoding)) {
    return read_coded(tensor, *table, row, out);
  }
  const auto block = static_cast<std::size_t>(block_columns(form));
  const std::size_t bytes = row_bytes(form, tensor.columns) / (columns / block);
  for (std::size_t first = 0; first < columns; first += block) {
    const std::size_t index = (static_cast<std::size_t>(row) * columns + first) / block;
    const BlockReader in(tensor.data.subspan(index * bytes, bytes));
    BlockWriter to(out, first);
    switch (form.encoding) {
      case Encoding::q4_0:
        read_legacy(in, to, false, false);
        break;
      case Encoding::q4_1:
        read_legacy(in, to, true, false);
        break;
      case Encoding::q5_0:
        read_legacy(in, to, false, true);
        break;
      case Encoding::q5_1:
        read_legacy(in, to, true, true);
        break;
      case Encoding::q8_0:
        read_q8_0(in, to);
        break;
      case Encoding::q4_k:
        read_q45_k(in, to, false);
        break;
      case Encoding::q5_k:
        read_q45_k(in, to, true);
        break;
      default:
        read_q6_k(in, to);
        break;
    }
  }
}

}  // namespace mlxd::cuda_backend
