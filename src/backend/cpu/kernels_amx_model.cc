// What AMX computes, on vector units: so that the arithmetic of prompts, and all that depends on a
// row's role, is tested where no processor has AMX. No model is served with it unless told to.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "backend/cpu/isa.h"
#include "backend/cpu/prompt_attention.h"
#include "backend/cpu/prompt_driver.h"

namespace mlxd::cpu {
namespace {

struct AmxModel {
  struct Session {
    Session() {}  // which is not trivial, as that of AMX
  };

  // Of each pair of columns the products of the first and of the second are added up apart and then
  // together, for each group, as tdpbf16ps does (Intel's manual).
  template <int kRows, int kTiles>
  static void accumulate(const std::uint16_t* input, std::ptrdiff_t block_stride,
                         const std::uint16_t* weights, std::ptrdiff_t tile_stride, int groups,
                         const Sums* from, const Sums& to) {
    for (int block = 0; block < kRows; ++block) {
      for (int tile = 0; tile < kTiles; ++tile) {
        for (int row = 0; row < kPromptRows; ++row) {
          const auto at = [&](const Sums& sums) {
            return sums.values + block * sums.block + tile * sums.tile + row * sums.row;
          };
          __m512 sum = from == nullptr ? _mm512_setzero_ps() : _mm512_loadu_ps(at(*from));
          for (int g = 0; g < groups; ++g) {
            const std::uint16_t* values =
                input + block * block_stride + g * PromptInput::kGroupStride + row * kGroupColumns;
            sum = _mm512_add_ps(sum,
                                group_of(values, weights + tile * tile_stride + g * kTileNumbers));
          }
          _mm512_storeu_ps(at(to), sum);
        }
      }
    }
  }

  template <int kTiles>
  static void row_products(const std::uint16_t* const* rows, const std::uint16_t* const* columns,
                           int count, float* out, std::ptrdiff_t stride) {
    for (int row = 0; row < kPromptRows; ++row) {
      for (int tile = 0; tile < kTiles; ++tile) {
        __m512 sum = _mm512_setzero_ps();
        for (int i = 0; i < count; ++i) {
          sum = _mm512_add_ps(
              sum, group_of(rows[i] + row * kGroupColumns, columns[i] + tile * kTileNumbers));
        }
        _mm512_storeu_ps(out + row * stride + tile * 16, sum);
      }
    }
  }

 private:
  static __m512 group_of(const std::uint16_t* values, const std::uint16_t* weights) {
    __m512 firsts = _mm512_setzero_ps(), seconds = _mm512_setzero_ps();
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    for (int pair = 0; pair < kGroupColumns / 2; ++pair) {
      int both;
      __builtin_memcpy(&both, values + 2 * pair, sizeof both);
      const __m512i value = _mm512_set1_epi32(both);
      const __m512i weight = _mm512_load_si512(weights + 2 * kTileRows * pair);
      const auto low = [](__m512i of) { return _mm512_castsi512_ps(_mm512_slli_epi32(of, 16)); };
      const auto upper = [high](__m512i of) {
        return _mm512_castsi512_ps(_mm512_and_si512(of, high));
      };
      firsts = _mm512_fmadd_ps(low(value), low(weight), firsts);
      seconds = _mm512_fmadd_ps(upper(value), upper(weight), seconds);
    }
    return _mm512_add_ps(firsts, seconds);
  }
};

}  // namespace

constinit const PromptKernels kAmxModelPrompts = {
    .round = PromptDriver<AmxModel>::round,
    .multiply = PromptDriver<AmxModel>::multiply,
    .attend = attend_prompts<AmxModel>,
};

}  // namespace mlxd::cpu
