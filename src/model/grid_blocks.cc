#include "model/grid_blocks.h"

#include <bit>

#include "model/grid_tables.h"
#include "model/little_endian.h"

namespace mlxd {
namespace {

using Bytes = const std::uint8_t*;

void set_scale(CodeRun& run, float factor, int level) {
  run.factor = factor;
  run.level = level;
  run.scale = factor * static_cast<float>(level);
}

// Columns [column, column + 8) of a block: codes of two bits from a grid entry, bit i of `signs`
// above that of column i.
void put_eight(CodeRun* runs, int column, int entry, int signs) {
  store_u64(&runs[column / kRunColumns].codes[static_cast<std::size_t>(column % kRunColumns)],
            spread_pairs(static_cast<std::uint64_t>(entry)) |
                spread_bits(static_cast<std::uint64_t>(signs)) << 2);
}

// The same for eight columns of two entries with four columns of three bits each.
void put_two_fours(CodeRun* runs, int column, int first, int second, int signs) {
  const auto entries = static_cast<std::uint64_t>(first) | static_cast<std::uint64_t>(second) << 32;
  std::uint64_t codes = (entries | entries << 10) & 0x003f003f003f003f;
  codes = (codes | codes << 5) & 0x0707070707070707;
  store_u64(&runs[column / kRunColumns].codes[static_cast<std::size_t>(column % kRunColumns)],
            codes | spread_bits(static_cast<std::uint64_t>(signs)) << 3);
}

// Seven stored signs; an even number of the eight is negative.
int eight_signs(std::uint32_t seven) {
  seven &= 127;
  return static_cast<int>(seven | (static_cast<std::uint32_t>(std::popcount(seven)) & 1) << 7);
}

}  // namespace

// Of each 32 columns: four entries, then four times seven signs and the scale in one word.
void read_iq2_xxs(Bytes block, CodeRun* runs) {
  const float factor = load_half(block) / 8;
  for (int g = 0; g < 8; ++g) {
    const Bytes entries = block + 2 + 8 * g;
    const std::uint32_t word = load_u32(entries + 4);
    for (int k = 0; k < 4; ++k) {
      put_eight(runs, 32 * g + 8 * k, kIq2XxsGrid[entries[k]], eight_signs(word >> (7 * k)));
    }
    const int level = 2 * static_cast<int>(word >> 28) + 1;
    set_scale(runs[2 * g], factor, level);
    set_scale(runs[2 * g + 1], factor, level);
  }
}

void read_iq2_xs(Bytes block, CodeRun* runs) {
  const float factor = load_half(block) / 8;
  for (int e = 0; e < 32; ++e) {
    const int entry = load_u16(block + 2 + 2 * e);
    put_eight(runs, 8 * e, kIq2XsGrid[entry & 511],
              eight_signs(static_cast<std::uint32_t>(entry >> 9)));
  }
  for (int r = 0; r < 16; ++r) {
    set_scale(runs[r], factor, 2 * ((block[66 + r / 2] >> (r % 2 * 4)) & 15) + 1);
  }
}

void read_iq2_s(Bytes block, CodeRun* runs) {
  const Bytes signs = block + 34, high = block + 66, scales = block + 74;
  const float factor = load_half(block) / 8;
  for (int e = 0; e < 32; ++e) {
    const int entry = block[2 + e] | ((high[e / 4] >> (e % 4 * 2)) & 3) << 8;
    put_eight(runs, 8 * e, kIq2SGrid[entry], signs[e]);
  }
  for (int r = 0; r < 16; ++r) {
    set_scale(runs[r], factor, 2 * ((scales[r / 2] >> (r % 2 * 4)) & 15) + 1);
  }
}

void read_iq3_xxs(Bytes block, CodeRun* runs) {
  const float factor = load_half(block) / 4;
  for (int g = 0; g < 8; ++g) {
    const std::uint32_t word = load_u32(block + 66 + 4 * g);
    for (int k = 0; k < 4; ++k) {
      const Bytes entries = block + 2 + 8 * g + 2 * k;
      put_two_fours(runs, 32 * g + 8 * k, kIq3XxsGrid[entries[0]], kIq3XxsGrid[entries[1]],
                    eight_signs(word >> (7 * k)));
    }
    const int level = 2 * static_cast<int>(word >> 28) + 1;
    set_scale(runs[2 * g], factor, level);
    set_scale(runs[2 * g + 1], factor, level);
  }
}

void read_iq3_s(Bytes block, CodeRun* runs) {
  const Bytes high = block + 66, signs = block + 74, scales = block + 106;
  const float factor = load_half(block);
  const auto entry = [&](int e) {
    return kIq3SGrid[block[2 + e] | ((high[e / 8] >> (e % 8)) & 1) << 8];
  };
  for (int k = 0; k < 32; ++k) {
    put_two_fours(runs, 8 * k, entry(2 * k), entry(2 * k + 1), signs[k]);
  }
  for (int r = 0; r < 16; ++r) {
    set_scale(runs[r], factor, 2 * ((scales[r / 4] >> (r / 2 % 2 * 4)) & 15) + 1);
  }
}

// Of each 32 columns a word: four times three high bits of entries, the scale, the shift's sign.
void read_iq1_s(Bytes block, CodeRun* runs) {
  const float factor = load_half(block) / 8;
  for (int g = 0; g < 8; ++g) {
    const int word = load_u16(block + 34 + 2 * g);
    for (int k = 0; k < 4; ++k) {
      const int entry = block[2 + 4 * g + k] | ((word >> (3 * k)) & 7) << 8;
      put_eight(runs, 32 * g + 8 * k, kIq1Grid[entry], (word & 0x8000) != 0 ? 255 : 0);
    }
    const int level = 2 * ((word >> 12) & 7) + 1;
    set_scale(runs[2 * g], factor, level);
    set_scale(runs[2 * g + 1], factor, level);
  }
}

// Four words of scales, whose top nibbles are the f16 factor.
void read_iq1_m(Bytes block, CodeRun* runs) {
  int half = 0;
  for (int i = 0; i < 4; ++i) half |= load_u16(block + 48 + 2 * i) >> 12 << (4 * i);
  const float factor = half_to_float(static_cast<std::uint16_t>(half)) / 8;
  for (int e = 0; e < 32; ++e) {
    const int high = block[32 + e / 2] >> (e % 2 * 4);
    const int entry = block[e] | (high & 7) << 8;
    put_eight(runs, 8 * e, kIq1Grid[entry], (high & 8) != 0 ? 255 : 0);
  }
  for (int r = 0; r < 16; ++r) {
    set_scale(runs[r], factor, 2 * ((load_u16(block + 48 + r / 4 * 2) >> (r % 4 * 3)) & 7) + 1);
  }
}

}  // namespace mlxd
