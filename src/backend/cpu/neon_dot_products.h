// Dot products of four bytes (FEAT_DotProd): one sdot advances 4 rows of a tile by four columns, of
// which the input's are a lane.
#pragma once

#include <cstdint>

#include <arm_neon.h>

#include "backend/cpu/kernel_input.h"
#include "backend/cpu/neon_codes.h"

namespace mlxd::cpu {
namespace {

struct DotProducts {
  static constexpr int kRowBlocks[] = {4, 3, 2, 1};

  template <Codes kCodes, int kStep, int kEnd, int kRows, int kQuarters>
  [[gnu::always_inline]] static void add(const std::uint8_t* group, int quarter, int8x16_t table,
                                         const InputGroup* input,
                                         int32x4_t (&dots)[kRows][kQuarters]) {
    int8x16_t columns[kRows];
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) columns[b] = vld1q_s8(input[b].quantized + kStep / 4 * 16);
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      const int8x16_t codes = load_codes<kCodes, kStep>(group, quarter + q, table);
#pragma GCC unroll 4
      for (int b = 0; b < kRows; ++b) {
        dots[b][q] = vdotq_laneq_s32(dots[b][q], codes, columns[b], kStep % 4);
      }
    }
    if constexpr (kStep + 1 < kEnd) {
      add<kCodes, kStep + 1, kEnd>(group, quarter, table, input, dots);
    }
  }
};

}  // namespace
}  // namespace mlxd::cpu
