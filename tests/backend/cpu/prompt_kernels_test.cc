#include "backend/cpu/prompt_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/row_buffer.h"
#include "backend/random_tensor.h"

namespace mlxd::cpu {
namespace {

using test::all_quantizations;
using test::RandomTensor;

std::vector<const Kernels*> kernels_with_prompts() {
  std::vector<const Kernels*> all;
  for (const char* name : {"amx_model", "amx"}) {
    if (const Kernels* kernels = find_kernels(name)) all.push_back(kernels);
  }
  return all;
}

int columns_for(const Quantization& quantization, int groups) {
  const int unit = std::max(kGroupColumns, block_columns(quantization));
  return std::max(1, groups * kGroupColumns / unit) * unit;
}

float rounded(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

// Rows of normal numbers with some outliers.
struct Rows {
  Rows(int count, int width, unsigned seed) : columns(width) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int i = 0; i < count * columns; ++i) {
      values.push_back(normal(random) * (random() % 97 == 0 ? 40.0f : 1.0f));
    }
  }
  const float* row(int index) const { return &values[std::size_t(index) * columns]; }

  int columns;
  std::vector<float> values;
};

// Some of the rows, side by side in the form that products read.
class Prompt {
 public:
  // The buffer may be wider than the rows are.
  Prompt(const Kernels& kernels, const Rows& rows, const std::vector<int>& which, int width = 0)
      : rows_(static_cast<int>(which.size())), columns_(std::max(width, rows.columns)) {
    const int blocks = (rows_ + kPromptRows - 1) / kPromptRows;
    tiles_.reserve(blocks * PromptInput::block_size(columns_));
    // What is in the places of rows that are not there must not matter.
    std::fill_n(tiles_.data(), tiles_.bytes() / 2, std::uint16_t{0x7fc0});
    for (int i = 0; i < rows_; ++i) {
      kernels.prompts->round(rows.row(which[i]), rows.columns,
                             tiles_.data() + PromptInput::place(i, columns_));
    }
  }
  PromptInput input() const { return {rows_, columns_, tiles_.data()}; }

 private:
  int rows_, columns_;
  AlignedArray<std::uint16_t> tiles_;
};

std::vector<int> numbers(int first, int end) {
  std::vector<int> all;
  for (int i = first; i < end; ++i) all.push_back(i);
  return all;
}

std::vector<float> multiply(const Kernels& kernels, const PackedMatrix& matrix,
                            const PromptInput& input) {
  static PromptScratch scratch;
  std::vector<float> out(static_cast<std::size_t>(input.rows) * matrix.rows());
  kernels.prompts->multiply(matrix, input, 0, matrix.tiles(), {out.data(), matrix.rows()}, scratch);
  return out;
}

bool same_bits(const float* left, const float* right, int count) {
  return std::memcmp(left, right, static_cast<std::size_t>(count) * sizeof(float)) == 0;
}

// Formats whose matrices are codes.
std::vector<Quantization> code_formats() {
  std::vector<Quantization> formats;
  for (const Quantization& quantization : all_quantizations()) {
    const RandomTensor tensor(quantization, 1, columns_for(quantization, 1), 1);
    if (find_kernels("portable")->pack(tensor.get())->reads_quantized()) {
      formats.push_back(quantization);
    }
  }
  return formats;
}

TEST(FindKernels, TakesTheModelOfAMatrixUnitOnlyByName) {
  EXPECT_NE(find_kernels("")->name, "amx_model");
  if (find_kernels("avx512_vnni") == nullptr) GTEST_SKIP() << "the model needs AVX-512";
  ASSERT_NE(find_kernels("amx_model"), nullptr);
  EXPECT_NE(find_kernels("amx_model")->prompts, nullptr);
}

class PromptKernelsOf : public testing::TestWithParam<const Kernels*> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PromptKernelsOf);
INSTANTIATE_TEST_SUITE_P(Isa, PromptKernelsOf, testing::ValuesIn(kernels_with_prompts()),
                         [](const auto& test) { return std::string(test.param->name); });

TEST_P(PromptKernelsOf, MultiplyEachFormatAsNumbersRoundedToBfloat16) {
  for (const Quantization& quantization : code_formats()) {
    SCOPED_TRACE(to_string(quantization));
    const int columns = columns_for(quantization, 19), outputs = 85, count = 37;
    const RandomTensor tensor(quantization, outputs, columns, 1);
    const auto matrix = GetParam()->pack(tensor.get());
    const Rows rows(count, columns, 2);
    const Prompt prompt(*GetParam(), rows, numbers(0, count));
    const std::vector<float> weights = dequantize(tensor.get());
    const std::vector<float> out = multiply(*GetParam(), *matrix, prompt.input());
    for (int row = 0; row < count; ++row) {
      for (int r = 0; r < outputs; ++r) {
        double exact = 0, magnitude = 0, twice_rounded = 0;
        for (int c = 0; c < columns; ++c) {
          const float weight = weights[static_cast<std::size_t>(r) * columns + c];
          const double value = rounded(rows.row(row)[c]);
          exact += value * rounded(weight);
          magnitude += std::abs(value * weight);
          // The formats' own arithmetic may be one rounding of a float from ours, and then a weight
          // that is half-way goes to the other neighbour.
          const float off = weight * (1 - 0x1p-20f), on = weight * (1 + 0x1p-20f);
          if (rounded(off) != rounded(on)) twice_rounded += std::abs(value * weight) * 0x1p-7;
        }
        ASSERT_NEAR(out[static_cast<std::size_t>(row) * outputs + r], exact,
                    2e-6 * magnitude + twice_rounded);
      }
    }
  }
}

TEST_P(PromptKernelsOf, GiveARowTheSameBitsWhateverElseTheCallCovers) {
  std::mt19937 random(3);
  const auto die = [&](int sides) { return static_cast<int>(random() % unsigned(sides)); };
  for (const Quantization& quantization : code_formats()) {
    SCOPED_TRACE(to_string(quantization));
    for (int trial = 0; trial < 4; ++trial) {
      // At first more rows than a pass has, and more columns than a panel of them.
      const bool large = trial == 0;
      const int columns = columns_for(quantization, large ? 40 : 1 + die(40));
      const int outputs = 1 + die(150), count = large ? 530 : 1 + die(60);
      const auto matrix =
          GetParam()->pack(RandomTensor(quantization, outputs, columns, random()).get());
      const Rows rows(count, columns, random());
      const Prompt prompt(*GetParam(), rows, numbers(0, count));
      const std::vector<float> whole = multiply(*GetParam(), *matrix, prompt.input());
      for (int part = 0; part < 6; ++part) {
        // Some rows in an order of their own, written to places that ascend.
        std::vector<int> which = numbers(0, count);
        std::shuffle(which.begin(), which.end(), random);
        which.resize(1 + die(count));
        std::vector<int> places = which;
        std::sort(places.begin(), places.end());
        const int tile = die(matrix->tiles()), end = tile + 1 + die(matrix->tiles() - tile);
        const Prompt some(*GetParam(), rows, which, columns + kGroupColumns * die(3));
        constexpr float kUntouched = -12345;
        std::vector<float> out(static_cast<std::size_t>(count) * outputs, kUntouched);
        static PromptScratch scratch;
        GetParam()->prompts->multiply(*matrix, some.input(), tile, end,
                                      {out.data(), outputs, places.data()}, scratch);
        const int first = tile * kTileRows, last = std::min(end * kTileRows, outputs);
        for (std::size_t i = 0; i < which.size(); ++i) {
          const float* got = &out[static_cast<std::size_t>(places[i]) * outputs];
          const float* expected = &whole[static_cast<std::size_t>(which[i]) * outputs];
          ASSERT_TRUE(same_bits(got + first, expected + first, last - first))
              << "row " << which[i] << " of " << which.size();
          ASSERT_TRUE(std::all_of(got, got + first, [](float x) { return x == kUntouched; }));
          ASSERT_TRUE(
              std::all_of(got + last, got + outputs, [](float x) { return x == kUntouched; }));
        }
      }
    }
  }
}

TEST_P(PromptKernelsOf, TakePartsOfAnInput) {
  const auto matrix =
      GetParam()->pack(RandomTensor({.encoding = Encoding::q4_k}, 40, 512, 4).get());
  const Rows rows(70, 512, 5);
  const Prompt prompt(*GetParam(), rows, numbers(0, 70));
  const std::vector<float> whole = multiply(*GetParam(), *matrix, prompt.input());
  const std::vector<float> part = multiply(*GetParam(), *matrix, prompt.input().part(32, 70));
  EXPECT_TRUE(same_bits(part.data(), &whole[32 * 40], 38 * 40));
}

}  // namespace
}  // namespace mlxd::cpu
