// The loops around one instruction set's inner kernels. Each kernels_<isa>.cc includes this and
// names its own `Isa` type from an unnamed namespace, so that every instance of these templates,
// compiled with that file's instruction set, stays inside that file. For the same reason nothing
// here calls an inline function of the standard library.
//
// An Isa provides
//   static constexpr int kRowBlocks[]: numbers of input rows it has inner kernels for, falling to
//   1; template <Codes kCodes, ScaleKind kKind, int kRows> static void quantized_tile(
//       const TileLayout&, const uint8_t* tile, const InputGroup* input, float* out, ptrdiff_t
//       stride): out[row * stride + r] of kRows input rows (interleaved) and the tile's 16 rows;
//   template <Encoding kFloats, int kRows> static void float_tile(columns, tile, values,
//       value_stride, out, stride): the same over plain floats;
//   static constexpr int kFloatRowBlocks[];
//   static HalfSums half_sums(const int8_t* quantized): of the two halves of a group;
//   optionally static void arrange(InputGroup* groups, int count, int rows): a prepared block of
//   count groups of kRows rows becomes what quantized_tile reads.
// Each computes a row the same way for every kRows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernel_input.h"
#include "backend/cpu/packed_matrix.h"

namespace mlxd::cpu {

// What the input rows of one pass over the matrix may take: half of a 1 MiB level-2 cache, which
// leaves room for a tile.
inline constexpr std::size_t kInputBudget = std::size_t{512} << 10;

struct HalfSums {
  std::int32_t low;
  std::int32_t high;
};

template <class Isa>
class KernelDriver {
 public:
  static void prepare(const PackedMatrix& matrix, const InputRows& input, PreparedInput& prepared) {
    const TileLayout& layout = static_cast<const PackedTiles&>(matrix).layout();
    InputGroup* groups = prepared.begin(input, layout.codes != Codes::none);
    if (layout.codes == Codes::none) return;
    const bool halves = has_halves(layout.scale_kind);
    const int zero = bias_zero(layout.codes, layout.scale_kind);
    const int row_groups = input.columns / kGroupColumns;
    for (int done = 0; done < input.rows;) {
      const int block = next_block(Isa::kRowBlocks, input.rows - done);
      if (zero == 0) {
        interleave<false, false>(input, done, block, zero, groups);
      } else if (halves) {
        interleave<true, true>(input, done, block, zero, groups);
      } else {
        interleave<true, false>(input, done, block, zero, groups);
      }
      if constexpr (requires { Isa::arrange(groups, row_groups, block); }) {
        Isa::arrange(groups, row_groups, block);
      }
      groups += static_cast<std::ptrdiff_t>(row_groups) * block;
      done += block;
    }
  }

  static void multiply(const PackedMatrix& matrix, const PreparedInput& input, int first_row,
                       int rows, int first_tile, int end_tile, float* out,
                       std::ptrdiff_t out_stride) {
    static_assert(kPreparedRows % Isa::kRowBlocks[0] == 0);
    const Product product{
        static_cast<const PackedTiles&>(matrix), input, first_row, rows, first_tile, end_tile,
        {matrix.rows(), out, out_stride}};
    switch (product.matrix.layout().codes) {
      case Codes::none:
        return multiply_floats(product);
      case Codes::bits1:
        return multiply_codes<Codes::bits1, ScaleKind::scale>(product);
      case Codes::bits2:
        return multiply_codes<Codes::bits2, ScaleKind::scale, ScaleKind::k_half_scale_and_min>(
            product);
      case Codes::bits3:
        return multiply_codes<Codes::bits3, ScaleKind::k_half_scale>(product);
      case Codes::bits4:
        return multiply_codes<Codes::bits4, ScaleKind::scale, ScaleKind::scale_and_min,
                              ScaleKind::k_scale_and_min>(product);
      case Codes::bits5:
        return multiply_codes<Codes::bits5, ScaleKind::scale, ScaleKind::scale_and_min,
                              ScaleKind::k_scale_and_min>(product);
      case Codes::bits6:
        return multiply_codes<Codes::bits6, ScaleKind::scale_and_min, ScaleKind::k_half_scale>(
            product);
      case Codes::bits8:
        return multiply_codes<Codes::bits8, ScaleKind::scale, ScaleKind::scale_and_min>(product);
      case Codes::table3:
        return multiply_codes<Codes::table3, ScaleKind::k_scale, ScaleKind::k_half_scale>(product);
      case Codes::table4:
        return multiply_codes<Codes::table4, ScaleKind::scale, ScaleKind::k_scale>(product);
      case Codes::small_table4:
        return multiply_codes<Codes::small_table4, ScaleKind::k_scale, ScaleKind::exponent,
                              ScaleKind::half_e4m3>(product);
    }
  }

 private:
  struct Output {
    int matrix_rows;
    float* values;
    std::ptrdiff_t stride;
  };

  struct Product {
    const PackedTiles& matrix;
    const PreparedInput& input;
    int first_row, rows;
    int first_tile, end_tile;
    Output output;
  };

  // The kinds of scales that layouts of these codes have.
  template <Codes kCodes, ScaleKind... kKinds>
  static void multiply_codes(const Product& product) {
    const ScaleKind kind = product.matrix.layout().scale_kind;
    ((kind == kKinds ? multiply_tiles<kCodes, kKinds>(product) : void()), ...);
  }

  // A pass over the tiles for as many input rows as stay in cache: each tile is read from memory
  // once a pass, and from cache for the pass's further row blocks.
  template <Codes kCodes, ScaleKind kKind>
  static void multiply_tiles(const Product& product) {
    const TileLayout& layout = product.matrix.layout();
    const std::size_t row_bytes = sizeof(InputGroup) * static_cast<std::size_t>(layout.groups);
    const int whole_blocks = static_cast<int>(kInputBudget / row_bytes) / Isa::kRowBlocks[0];
    const int pass_rows = Isa::kRowBlocks[0] * (whole_blocks > 0 ? whole_blocks : 1);
    for (int first = 0; first < product.rows; first += pass_rows) {
      const int rows = product.rows - first < pass_rows ? product.rows - first : pass_rows;
      const InputGroup* input =
          product.input.groups() +
          static_cast<std::ptrdiff_t>(product.first_row + first) * layout.groups;
      for (int t = product.first_tile; t < product.end_tile; ++t) {
        multiply_tile<kCodes, kKind>(layout, product.matrix.tile(t), t, input, first, rows,
                                     product.output);
      }
    }
  }

  // Writes rows [first, first + count) as [columns / 32][count], so that what a kernel reads for a
  // group lies together.
  template <bool kBias, bool kHalves>
  static void interleave(const InputRows& input, int first, int count, int zero, InputGroup* out) {
    const int groups = input.columns / kGroupColumns;
    for (int row = 0; row < count; ++row) {
      const std::int8_t* quantized = input.quantized + (first + row) * input.quantized_stride;
      const float* scales = input.scales + (first + row) * input.group_stride;
      const float* sums = input.sums + (first + row) * input.group_stride;
      for (int g = 0; g < groups; ++g, quantized += kGroupColumns) {
        InputGroup& to = out[g * count + row];
        __builtin_memcpy(to.quantized, quantized, kGroupColumns);
        to.scale = scales[g];
        to.sum = sums[g];
        if constexpr (kBias) {
          const HalfSums of = Isa::half_sums(quantized);
          if (zero < 0) {
            const float sums_of_halves[] = {static_cast<float>(of.low),
                                            static_cast<float>(of.high)};
            __builtin_memcpy(to.bias, sums_of_halves, sizeof to.bias);
            continue;
          }
          to.bias[0] = -zero * (kHalves ? of.low : of.low + of.high);
          to.bias[1] = kHalves ? -zero * of.high : 0;
        }
      }
    }
  }

  template <Codes kCodes, ScaleKind kKind>
  static void multiply_tile(const TileLayout& layout, const std::uint8_t* tile, int index,
                            const InputGroup* input, int first, int rows, const Output& output) {
    for (int done = 0; done < rows;) {
      const int block = next_block(Isa::kRowBlocks, rows - done);
      write_tile(output, index, first + done, block, [&](float* out, std::ptrdiff_t stride) {
        run_quantized<kCodes, kKind>(block, layout, tile, input, out, stride);
      });
      input += static_cast<std::ptrdiff_t>(layout.groups) * block;
      done += block;
    }
  }

  static void multiply_floats(const Product& product) {
    const InputRows& input = product.input.rows();
    for (int t = product.first_tile; t < product.end_tile; ++t) {
      for (int done = 0; done < product.rows;) {
        const int block = next_block(Isa::kFloatRowBlocks, product.rows - done);
        const float* values = input.values + (product.first_row + done) * input.value_stride;
        write_tile(product.output, t, done, block, [&](float* out, std::ptrdiff_t stride) {
          run_floats(block, product.matrix, t, values, input.value_stride, out, stride);
        });
        done += block;
      }
    }
  }

  // Calls compute(out, stride) with the place of the tile's results, or, for a tile with padding,
  // with a place from which the real rows are then copied.
  template <class Compute>
  static void write_tile(const Output& output, int tile, int first_row, int rows,
                         Compute&& compute) {
    const int first_output = tile * kTileRows;
    float* out = output.values + first_row * output.stride + first_output;
    const int real = output.matrix_rows - first_output;
    if (real >= kTileRows) return compute(out, output.stride);
    alignas(64) float padded[Isa::kRowBlocks[0] * kTileRows];
    compute(padded, kTileRows);
    for (int row = 0; row < rows; ++row) {
      for (int r = 0; r < real; ++r) out[row * output.stride + r] = padded[row * kTileRows + r];
    }
  }

  template <int kCount>
  static int next_block(const int (&blocks)[kCount], int rows) {
    for (const int block : blocks) {
      if (block <= rows) return block;
    }
    return 1;
  }

  template <Codes kCodes, ScaleKind kKind, int kIndex = 0>
  static void run_quantized(int rows, const TileLayout& layout, const std::uint8_t* tile,
                            const InputGroup* input, float* out, std::ptrdiff_t stride) {
    constexpr int kRows = Isa::kRowBlocks[kIndex];
    if constexpr (kRows > 1) {
      if (rows != kRows) {
        return run_quantized<kCodes, kKind, kIndex + 1>(rows, layout, tile, input, out, stride);
      }
    }
    Isa::template quantized_tile<kCodes, kKind, kRows>(layout, tile, input, out, stride);
  }

  static void run_floats(int rows, const PackedTiles& matrix, int tile, const float* values,
                         std::ptrdiff_t value_stride, float* out, std::ptrdiff_t stride) {
    switch (matrix.layout().floats) {
      case Encoding::f16:
        return run_floats_of<Encoding::f16>(rows, matrix, tile, values, value_stride, out, stride);
      case Encoding::bf16:
        return run_floats_of<Encoding::bf16>(rows, matrix, tile, values, value_stride, out, stride);
      default:
        return run_floats_of<Encoding::f32>(rows, matrix, tile, values, value_stride, out, stride);
    }
  }

  template <Encoding kFloats, int kIndex = 0>
  static void run_floats_of(int rows, const PackedTiles& matrix, int tile, const float* values,
                            std::ptrdiff_t value_stride, float* out, std::ptrdiff_t stride) {
    constexpr int kRows = Isa::kFloatRowBlocks[kIndex];
    if constexpr (kRows > 1) {
      if (rows != kRows) {
        return run_floats_of<kFloats, kIndex + 1>(rows, matrix, tile, values, value_stride, out,
                                                  stride);
      }
    }
    Isa::template float_tile<kFloats, kRows>(matrix.columns(), matrix.tile(tile), values,
                                             value_stride, out, stride);
  }
};

}  // namespace mlxd::cpu
