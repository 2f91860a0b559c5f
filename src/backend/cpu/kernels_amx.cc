// AMX: one tdpbf16ps adds to 16 rows and 16 outputs the products of 32 columns.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "backend/cpu/isa.h"
#include "backend/cpu/prompt_attention.h"
#include "backend/cpu/prompt_driver.h"

namespace mlxd::cpu {
namespace {

// Loads and stores clobber memory, which the intrinsics of g++ 12 do not say.
#define TILE_LOAD(tile, from, stride)                          \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), \
               "r"(static_cast<std::ptrdiff_t>(stride))        \
               : "memory")
#define TILE_STORE(tile, to, stride)                             \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), \
               "r"(static_cast<std::ptrdiff_t>(stride))          \
               : "memory")
#define TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile ::)
#define TILE_MULTIPLY(sum, input, weights) \
  asm volatile("tdpbf16ps %%tmm" #weights ", %%tmm" #input ", %%tmm" #sum ::)

// All eight tiles have 16 rows of 64 bytes. In static storage: g++ 12 loses stores to one on the
// stack.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constinit const TileConfig kTileConfig;

constexpr std::ptrdiff_t kFloat = sizeof(float);

struct Amx {
  class Session {
   public:
    Session() { asm volatile("ldtilecfg %0" ::"m"(kTileConfig) : "memory"); }
    ~Session() { asm volatile("tilerelease" ::); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
  };

  // Sums in tiles 0 (and 1 of the second tile, 2 and 3 of the second block), rows in 4 and 5,
  // weights in 6 and 7.
  template <int kRows, int kTiles>
  static void accumulate(const std::uint16_t* input, std::ptrdiff_t block_stride,
                         const std::uint16_t* weights, std::ptrdiff_t tile_stride, int groups,
                         const Sums* from, const Sums& to) {
    constexpr int kLine = 64;  // bytes of a tile's row
    if (from == nullptr) {
      TILE_ZERO(0);
      if constexpr (kTiles == 2) TILE_ZERO(1);
      if constexpr (kRows == 2) TILE_ZERO(2);
      if constexpr (kRows == 2 && kTiles == 2) TILE_ZERO(3);
    } else {
      const std::ptrdiff_t line = from->row * kFloat;
      float* const second = from->values + from->block;
      TILE_LOAD(0, from->values, line);
      if constexpr (kTiles == 2) TILE_LOAD(1, from->values + from->tile, line);
      if constexpr (kRows == 2) TILE_LOAD(2, second, line);
      if constexpr (kRows == 2 && kTiles == 2) TILE_LOAD(3, second + from->tile, line);
    }
    // All loads before the products: these then wait for none of them one by one.
    for (int g = 0; g < groups; ++g) {
      TILE_LOAD(4, input + g * PromptInput::kGroupStride, kLine);
      TILE_LOAD(6, weights + g * kTileNumbers, kLine);
      if constexpr (kTiles == 2) TILE_LOAD(7, weights + tile_stride + g * kTileNumbers, kLine);
      if constexpr (kRows == 2) {
        TILE_LOAD(5, input + block_stride + g * PromptInput::kGroupStride, kLine);
      }
      TILE_MULTIPLY(0, 4, 6);
      if constexpr (kTiles == 2) TILE_MULTIPLY(1, 4, 7);
      if constexpr (kRows == 2) TILE_MULTIPLY(2, 5, 6);
      if constexpr (kRows == 2 && kTiles == 2) TILE_MULTIPLY(3, 5, 7);
    }
    const std::ptrdiff_t line = to.row * kFloat;
    float* const second = to.values + to.block;
    TILE_STORE(0, to.values, line);
    if constexpr (kTiles == 2) TILE_STORE(1, to.values + to.tile, line);
    if constexpr (kRows == 2) TILE_STORE(2, second, line);
    if constexpr (kRows == 2 && kTiles == 2) TILE_STORE(3, second + to.tile, line);
  }

  // Sums in tiles 0 to 3, rows in 4, columns in the others by turns.
  template <int kTiles>
  static void row_products(const std::uint16_t* const* rows, const std::uint16_t* const* columns,
                           int count, float* out, std::ptrdiff_t stride) {
    constexpr int kLine = 64;
    const std::ptrdiff_t bytes = stride * kFloat;
    TILE_ZERO(0);
    if constexpr (kTiles == 4) {
      TILE_ZERO(1);
      TILE_ZERO(2);
      TILE_ZERO(3);
    }
    for (int i = 0; i < count; ++i) {
      TILE_LOAD(4, rows[i], kLine);
      TILE_LOAD(5, columns[i], kLine);
      TILE_MULTIPLY(0, 4, 5);
      if constexpr (kTiles == 4) {
        TILE_LOAD(6, columns[i] + kTileNumbers, kLine);
        TILE_MULTIPLY(1, 4, 6);
        TILE_LOAD(7, columns[i] + 2 * kTileNumbers, kLine);
        TILE_MULTIPLY(2, 4, 7);
        TILE_LOAD(5, columns[i] + 3 * kTileNumbers, kLine);
        TILE_MULTIPLY(3, 4, 5);
      }
    }
    TILE_STORE(0, out, bytes);
    if constexpr (kTiles == 4) {
      TILE_STORE(1, out + 16, bytes);
      TILE_STORE(2, out + 32, bytes);
      TILE_STORE(3, out + 48, bytes);
    }
  }
};

}  // namespace

constinit const PromptKernels kAmxPrompts = {
    .round = PromptDriver<Amx>::round,
    .multiply = PromptDriver<Amx>::multiply,
    .attend = attend_prompts<Amx>,
};

}  // namespace mlxd::cpu
