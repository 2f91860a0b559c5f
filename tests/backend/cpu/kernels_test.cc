// The linear kernels: every instruction set of this processor, against a double-precision product
// with the weights as model/tensor.h decodes them, and against each other to the last bit.
#include "backend/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cpu/kernel_input.h"
#include "backend/random_tensor.h"
#include "base/error.h"

namespace mlxd::cpu {
namespace {

using test::all_quantizations;
using test::RandomTensor;

// ---------------------------------------------------------------- weights and inputs made at
// random

// Input rows in both forms; the quantised one made by `kernels`.
class Input {
 public:
  Input(const Kernels& kernels, int rows, int columns, unsigned seed)
      : rows_(rows), columns_(columns), stride_((columns + 63) / 64 * 64) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    allocate(values_, rows * stride_);
    allocate(quantized_, rows * stride_);
    allocate(scales_, rows * stride_ / 4);
    allocate(sums_, rows * stride_ / 4);
    for (int row = 0; row < rows; ++row) {
      float* values = values_.get() + row * stride_;
      for (int c = 0; c < columns; ++c) {
        values[c] = normal(random) * (random() % 97 == 0 ? 40.0f : 1.0f);  // some outliers
      }
      kernels.quantize(values, columns, quantized_.get() + row * stride_,
                       scales_.get() + row * stride_ / 4, sums_.get() + row * stride_ / 4);
    }
  }

  // Rows [first, first + count).
  InputRows rows(int first, int count) const {
    InputRows view;
    view.rows = count;
    view.columns = columns_;
    view.values = values_.get() + first * stride_;
    view.quantized = quantized_.get() + first * stride_;
    view.scales = scales_.get() + first * stride_ / 4;
    view.sums = sums_.get() + first * stride_ / 4;
    view.value_stride = view.quantized_stride = stride_;
    view.group_stride = stride_ / 4;
    return view;
  }
  InputRows all() const { return rows(0, rows_); }

  // The number that the kernels see: exact, or as quantised.
  double value(int row, int column, bool quantized) const {
    if (!quantized) return values_.get()[row * stride_ + column];
    return static_cast<double>(scales_.get()[row * stride_ / 4 + column / kGroupColumns]) *
           quantized_.get()[row * stride_ + column];
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  template <class T>
  using Array = std::unique_ptr<T, Free>;

  template <class T>
  static void allocate(Array<T>& array, int count) {
    const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    array.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
    std::memset(array.get(), 0, bytes);
  }

  int rows_, columns_, stride_;
  Array<float> values_;
  Array<std::int8_t> quantized_;
  Array<float> scales_, sums_;
};

std::vector<float> multiply(const Kernels& kernels, const PackedMatrix& matrix,
                            const InputRows& input) {
  std::vector<float> out(static_cast<std::size_t>(input.rows) *
                         static_cast<std::size_t>(matrix.rows()));
  PreparedInput prepared;
  kernels.prepare(matrix, input, prepared);
  kernels.multiply(matrix, prepared, 0, input.rows, 0, matrix.tiles(), out.data(), matrix.rows());
  return out;
}

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> all;
  for (const char* name :
       {"portable", "avx2", "avx512_vnni", "amx", "neon", "neon_dotprod", "neon_i8mm"}) {
    if (const Kernels* kernels = find_kernels(name)) all.push_back(kernels);
  }
  return all;
}

// A number of columns that the format allows, some `groups` groups of 32.
int columns_for(const Quantization& quantization, int groups) {
  const int unit = std::max(kGroupColumns, block_columns(quantization));
  return std::max(1, groups * kGroupColumns / unit) * unit;
}

bool same_bits(const std::vector<float>& left, const std::vector<float>& right) {
  return left.size() == right.size() &&
         std::memcmp(left.data(), right.data(), left.size() * sizeof(float)) == 0;
}

// ------------------------------------------------------------------------------------------ tests

TEST(FindKernels, KnowsEachNameAndPrefersTheBest) {
  ASSERT_NE(find_kernels("portable"), nullptr);
  EXPECT_EQ(find_kernels("portable")->name, "portable");
  EXPECT_EQ(find_kernels("sse9"), nullptr);
  EXPECT_EQ(find_kernels(""), all_kernels().back());
}

class KernelsOf : public testing::TestWithParam<const Kernels*> {};
INSTANTIATE_TEST_SUITE_P(Isa, KernelsOf, testing::ValuesIn(all_kernels()),
                         [](const auto& test) { return std::string(test.param->name); });

TEST_P(KernelsOf, MultiplyEachFormatAsADoublePrecisionProductDoes) {
  for (const Quantization& quantization : all_quantizations()) {
    SCOPED_TRACE(to_string(quantization));
    const int columns = columns_for(quantization, 19), rows = 53;
    const RandomTensor tensor(quantization, rows, columns, 1);
    const auto matrix = GetParam()->pack(tensor.get());
    const Input input(*GetParam(), 17, columns, 2);
    const std::vector<float> weights = dequantize(tensor.get());
    const std::vector<float> out = multiply(*GetParam(), *matrix, input.all());
    for (int row = 0; row < 17; ++row) {
      for (int r = 0; r < rows; ++r) {
        double exact = 0, magnitude = 0;
        for (int c = 0; c < columns; ++c) {
          const double product = input.value(row, c, matrix->reads_quantized()) *
                                 weights[static_cast<std::size_t>(r * columns + c)];
          exact += product;
          magnitude += std::abs(product);
        }
        ASSERT_NEAR(out[static_cast<std::size_t>(row * rows + r)], exact, 2e-6 * magnitude);
      }
    }
  }
}

TEST_P(KernelsOf, GiveARowTheSameBitsWhateverElseTheCallCovers) {
  std::mt19937 random(3);
  for (const Quantization& quantization : all_quantizations()) {
    SCOPED_TRACE(to_string(quantization));
    for (int trial = 0; trial < 12; ++trial) {
      const int columns = columns_for(quantization, 1 + static_cast<int>(random() % 40));
      const int matrix_rows = 1 + static_cast<int>(random() % 70);
      const RandomTensor tensor(quantization, matrix_rows, columns, random());
      const auto matrix = GetParam()->pack(tensor.get());
      const Input input(*GetParam(), 1 + static_cast<int>(random() % 40), columns, random());
      const int rows = input.all().rows;
      const std::vector<float> whole = multiply(*GetParam(), *matrix, input.all());
      PreparedInput prepared;
      for (int part = 0; part < 12; ++part) {
        const int first_row = static_cast<int>(random() % static_cast<unsigned>(rows));
        const int count = 1 + static_cast<int>(random() % static_cast<unsigned>(rows - first_row));
        const int tile = static_cast<int>(random() % static_cast<unsigned>(matrix->tiles()));
        const int end =
            tile + 1 + static_cast<int>(random() % static_cast<unsigned>(matrix->tiles() - tile));
        constexpr float kUntouched = -12345;
        std::vector<float> out(static_cast<std::size_t>(count * matrix_rows), kUntouched);
        GetParam()->prepare(*matrix, input.rows(first_row, count), prepared);
        GetParam()->multiply(*matrix, prepared, 0, count, tile, end, out.data(), matrix_rows);
        for (int row = 0; row < count; ++row) {
          for (int r = 0; r < matrix_rows; ++r) {
            const bool covered = r >= tile * kTileRows && r < end * kTileRows;
            const float expected =
                covered ? whole[static_cast<std::size_t>((first_row + row) * matrix_rows + r)]
                        : kUntouched;
            const float got = out[static_cast<std::size_t>(row * matrix_rows + r)];
            ASSERT_EQ(std::memcmp(&got, &expected, sizeof got), 0)
                << got << " instead of " << expected << " at row " << row << " of " << count
                << ", output " << r;
          }
        }
      }
    }
  }
}

TEST_P(KernelsOf, MayBeginAndEndAtWholeBlocksOfAPreparedInput) {
  for (const Quantization& quantization : all_quantizations()) {
    SCOPED_TRACE(to_string(quantization));
    const int rows = 2 * kPreparedRows + 7, matrix_rows = 20;
    const int columns = columns_for(quantization, 8);
    const auto matrix = GetParam()->pack(RandomTensor(quantization, matrix_rows, columns, 7).get());
    const Input input(*GetParam(), rows, columns, 8);
    PreparedInput prepared;
    GetParam()->prepare(*matrix, input.all(), prepared);
    std::vector<float> parts(static_cast<std::size_t>(rows * matrix_rows));
    for (int row = 0; row < rows; row += kPreparedRows) {
      GetParam()->multiply(*matrix, prepared, row, std::min(kPreparedRows, rows - row), 0,
                           matrix->tiles(), &parts[static_cast<std::size_t>(row * matrix_rows)],
                           matrix_rows);
    }
    EXPECT_TRUE(same_bits(parts, multiply(*GetParam(), *matrix, input.all())));
  }
}

TEST_P(KernelsOf, AgreeWithPortableToTheLastBit) {
  const Kernels& portable = *find_kernels("portable");
  for (const Quantization& quantization : all_quantizations()) {
    SCOPED_TRACE(to_string(quantization));
    for (const int rows : {1, 2, 3, 7, 12, 33}) {
      const int columns = columns_for(quantization, 8 + rows);
      const RandomTensor tensor(quantization, 40, columns, 5);
      const Input input(portable, rows, columns, 6);
      EXPECT_TRUE(same_bits(multiply(*GetParam(), *GetParam()->pack(tensor.get()), input.all()),
                            multiply(portable, *portable.pack(tensor.get()), input.all())));
    }
  }
}

TEST_P(KernelsOf, DecodeARowAsTheFormatDefinesIt) {
  for (const Quantization& quantization : all_quantizations()) {
    SCOPED_TRACE(to_string(quantization));
    const int columns = columns_for(quantization, 24);
    const RandomTensor tensor(quantization, 21, columns, 7);
    const auto matrix = GetParam()->pack(tensor.get());
    const std::vector<float> expected = dequantize(tensor.get());
    for (int row = 0; row < 21; ++row) {
      std::vector<float> out(static_cast<std::size_t>(columns));
      GetParam()->decode_row(*matrix, row, out.data());
      for (int c = 0; c < columns; ++c) {
        const float value = expected[static_cast<std::size_t>(row * columns + c)];
        ASSERT_NEAR(out[static_cast<std::size_t>(c)], value, 1e-6f * (1 + std::abs(value)));
      }
    }
  }
}

TEST_P(KernelsOf, PackTilesInPartsAsInOneGo) {
  const RandomTensor tensor({.encoding = Encoding::q4_k}, 70, 512, 8);
  const auto whole = GetParam()->pack(tensor.get());
  const auto parts = GetParam()->allocate(tensor.get());
  GetParam()->pack_tiles(*parts, tensor.get(), 3, 5);
  GetParam()->pack_tiles(*parts, tensor.get(), 0, 3);
  const Input input(*GetParam(), 2, 512, 9);
  EXPECT_TRUE(same_bits(multiply(*GetParam(), *whole, input.all()),
                        multiply(*GetParam(), *parts, input.all())));
}

TEST_P(KernelsOf, QuantizeToTheNearestCodeWithExactSums) {
  constexpr int kColumns = 64 * kGroupColumns;
  const Input input(*GetParam(), 3, kColumns, 10);
  const InputRows rows = input.all();
  for (int row = 0; row < 3; ++row) {
    for (int g = 0; g < kColumns / kGroupColumns; ++g) {
      const float* values = rows.values + row * rows.value_stride + g * kGroupColumns;
      const std::int8_t* codes = rows.quantized + row * rows.quantized_stride + g * kGroupColumns;
      const float scale = rows.scales[row * rows.group_stride + g];
      float maximum = 0;
      int sum = 0;
      for (int c = 0; c < kGroupColumns; ++c) {
        maximum = std::max(maximum, std::abs(values[c]));
        sum += codes[c];
        EXPECT_NEAR(codes[c] * scale, values[c], 0.50001f * scale);
      }
      EXPECT_EQ(scale, maximum / 127);
      EXPECT_EQ(rows.sums[row * rows.group_stride + g], scale * static_cast<float>(sum));
    }
  }
}

TEST_P(KernelsOf, QuantizeTiesToEven) {
  float values[kGroupColumns] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f};
  std::int8_t codes[kGroupColumns];
  float scale, sum;
  GetParam()->quantize(values, kGroupColumns, codes, &scale, &sum);
  EXPECT_EQ(scale, 1);
  EXPECT_THAT(std::vector<int>(codes, codes + 7), testing::ElementsAre(127, 0, 2, 2, 0, -2, -2));
}

TEST_P(KernelsOf, QuantizeZerosAndTheTiniestNumbersToZero) {
  for (const float tiny : {0.0f, std::numeric_limits<float>::denorm_min(), 1e-38f}) {
    const std::vector<float> values(kGroupColumns, tiny);
    std::vector<std::int8_t> codes(kGroupColumns, 1);
    float scale = 1, sum = 1;
    GetParam()->quantize(values.data(), kGroupColumns, codes.data(), &scale, &sum);
    EXPECT_EQ(scale, 0);
    EXPECT_EQ(sum, 0);
    EXPECT_THAT(codes, testing::Each(0));
  }
}

TEST_P(KernelsOf, RefuseColumnsThatAreNoMultipleOf32) {
  const RandomTensor tensor({.encoding = Encoding::f32}, 4, 33, 11);
  EXPECT_THROW(GetParam()->pack(tensor.get()), LoadError);
}

TEST_P(KernelsOf, RefuseAffineFormatsThatMlxDoesNotHave) {
  const RandomTensor tensor({Encoding::mlx_affine, 4, 64, Encoding::f16}, 4, 128, 12);
  for (const auto& [bits, group_size] : {std::pair{7, 64}, {0, 64}, {4, 48}, {16, 32}}) {
    Tensor odd = tensor.get();
    odd.quantization = {Encoding::mlx_affine, bits, group_size, Encoding::f16};
    EXPECT_THROW(GetParam()->pack(odd), LoadError) << bits << " bits, group " << group_size;
  }
}

}  // namespace
}  // namespace mlxd::cpu
