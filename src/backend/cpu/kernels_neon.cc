// NEON as every 64-bit Arm processor has it: products of bytes are added up in 16 bits, as many as
// cannot overflow, then widened.
#include "backend/cpu/neon_tiles.h"

namespace mlxd::cpu {
namespace {

// How many steps fit into 16 bits: each adds at most 127 * (greatest code).
constexpr int steps_in_16_bits(Codes codes) {
  switch (codes) {
    case Codes::bits6:
      return 4;
    case Codes::bits8:
    case Codes::table3:
    case Codes::table4:
      return 2;
    default:
      return kSteps;
  }
}

struct WideningDots {
  static constexpr int kRowBlocks[] = {4, 2, 1};

  template <Codes kCodes, int kFirst, int kEnd, int kRows, int kQuarters>
  [[gnu::always_inline]] static void add(const std::uint8_t* group, int quarter, int8x16_t table,
                                         const InputGroup* input,
                                         int32x4_t (&dots)[kRows][kQuarters]) {
    constexpr int kTogether = steps_in_16_bits(kCodes);
    constexpr int kEndTogether = kFirst + kTogether < kEnd ? kFirst + kTogether : kEnd;
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      int16x8_t low[kRows], high[kRows];  // of the first two rows of the quarter, of the others
#pragma GCC unroll 4
      for (int b = 0; b < kRows; ++b) low[b] = high[b] = vdupq_n_s16(0);
      add_steps<kCodes, kFirst, kEndTogether>(group, quarter + q, table, input, low, high);
#pragma GCC unroll 4
      for (int b = 0; b < kRows; ++b) {
        const int32x4_t sums = vpaddq_s32(vpaddlq_s16(low[b]), vpaddlq_s16(high[b]));
        dots[b][q] = vaddq_s32(dots[b][q], sums);
      }
    }
    if constexpr (kEndTogether < kEnd) {
      add<kCodes, kEndTogether, kEnd>(group, quarter, table, input, dots);
    }
  }

 private:
  template <Codes kCodes, int kStep, int kEnd, int kRows>
  [[gnu::always_inline]] static void add_steps(const std::uint8_t* group, int quarter,
                                               int8x16_t table, const InputGroup* input,
                                               int16x8_t (&low)[kRows], int16x8_t (&high)[kRows]) {
    const int8x16_t codes = load_codes<kCodes, kStep>(group, quarter, table);
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) {
      std::int32_t four;
      __builtin_memcpy(&four, input[b].quantized + 4 * kStep, sizeof four);
      const int8x16_t columns = vreinterpretq_s8_s32(vdupq_n_s32(four));
      low[b] = vmlal_s8(low[b], vget_low_s8(codes), vget_low_s8(columns));
      high[b] = vmlal_high_s8(high[b], codes, columns);
    }
    if constexpr (kStep + 1 < kEnd) {
      add_steps<kCodes, kStep + 1, kEnd>(group, quarter, table, input, low, high);
    }
  }
};

}  // namespace

constinit const Kernels kNeonKernels = kernels_of<WideningDots>("neon");

}  // namespace mlxd::cpu
