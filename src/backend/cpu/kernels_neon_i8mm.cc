// NEON with products of matrices of bytes (FEAT_I8MM): one smmla multiplies two rows of a tile by
// two rows of input over eight columns. A single row has dot products.
#include "backend/cpu/neon_dot_products.h"
#include "backend/cpu/neon_tiles.h"

namespace mlxd::cpu {
namespace {

struct MatrixProducts {
  static constexpr int kRowBlocks[] = {8, 4, 2, 1};

  // Two rows' groups side by side, eight columns of each in turns: as smmla reads them.
  static void arrange(InputGroup* groups, int count, int rows) {
    if (rows == 1) return;
    for (int i = 0; i < count * rows; i += 2) {
      std::int8_t* const first = groups[i].quantized;
      std::int8_t* const second = groups[i + 1].quantized;
      const int8x16_t a = vld1q_s8(first), b = vld1q_s8(first + 16);
      const int8x16_t c = vld1q_s8(second), d = vld1q_s8(second + 16);
      store(first, a, c);
      store(second, b, d);
    }
  }

  template <Codes kCodes, int kFirst, int kEnd, int kRows, int kQuarters>
  [[gnu::always_inline]] static void add(const std::uint8_t* group, int quarter, int8x16_t table,
                                         const InputGroup* input,
                                         int32x4_t (&dots)[kRows][kQuarters]) {
    if constexpr (kRows == 1) {
      DotProducts::add<kCodes, kFirst, kEnd>(group, quarter, table, input, dots);
    } else {
      exchange(dots);
      add_steps<kCodes, kFirst, kEnd>(group, quarter, table, input, dots);
      exchange(dots);
    }
  }

 private:
  static void store(std::int8_t* to, int8x16_t a, int8x16_t b) {
    const int64x2_t first = vreinterpretq_s64_s8(a), second = vreinterpretq_s64_s8(b);
    vst1q_s8(to, vreinterpretq_s8_s64(vzip1q_s64(first, second)));
    vst1q_s8(to + 16, vreinterpretq_s8_s64(vzip2q_s64(first, second)));
  }

  // Between four outputs of a row of input, and two outputs of two rows.
  template <int kRows, int kQuarters>
  [[gnu::always_inline]] static void exchange(int32x4_t (&dots)[kRows][kQuarters]) {
#pragma GCC unroll 4
    for (int b = 0; b < kRows; b += 2) {
#pragma GCC unroll 4
      for (int q = 0; q < kQuarters; ++q) {
        const int64x2_t first = vreinterpretq_s64_s32(dots[b][q]);
        const int64x2_t second = vreinterpretq_s64_s32(dots[b + 1][q]);
        dots[b][q] = vreinterpretq_s32_s64(vzip1q_s64(first, second));
        dots[b + 1][q] = vreinterpretq_s32_s64(vzip2q_s64(first, second));
      }
    }
  }

  template <Codes kCodes, int kStep, int kEnd, int kRows, int kQuarters>
  [[gnu::always_inline]] static void add_steps(const std::uint8_t* group, int quarter,
                                               int8x16_t table, const InputGroup* input,
                                               int32x4_t (&dots)[kRows][kQuarters]) {
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      const int32x4_t low =
          vreinterpretq_s32_s8(load_codes<kCodes, kStep>(group, quarter + q, table));
      const int32x4_t high =
          vreinterpretq_s32_s8(load_codes<kCodes, kStep + 1>(group, quarter + q, table));
      const int8x16_t first = vreinterpretq_s8_s32(vzip1q_s32(low, high));
      const int8x16_t second = vreinterpretq_s8_s32(vzip2q_s32(low, high));
#pragma GCC unroll 4
      for (int b = 0; b < kRows; b += 2) {
        const int8x16_t columns = vld1q_s8(input[b + kStep / 4].quantized + kStep % 4 * 8);
        dots[b][q] = vmmlaq_s32(dots[b][q], columns, first);
        dots[b + 1][q] = vmmlaq_s32(dots[b + 1][q], columns, second);
      }
    }
    if constexpr (kStep + 2 < kEnd) {
      add_steps<kCodes, kStep + 2, kEnd>(group, quarter, table, input, dots);
    }
  }
};

}  // namespace

constinit const Kernels kNeonI8mmKernels = kernels_of<MatrixProducts>("neon_i8mm");

}  // namespace mlxd::cpu
