// Matrices on the device against model/tensor.h's decoder, for every format.
#include "backend/mlx/matrix.h"

#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "backend/random_tensor.h"

namespace mlxd::mlx_backend {
namespace {

using test::all_quantizations;
using test::RandomTensor;

constexpr int kRows = 5, kColumns = 512;

std::vector<float> to_vector(mx::array array) {
  array = mx::contiguous(mx::astype(array, mx::float32));
  array.eval();
  return {array.data<float>(), array.data<float>() + array.size()};
}

class Matrices : public testing::Test {
 protected:
  Matrices() { mx::set_default_device(mx::Device::cpu); }
};

TEST_F(Matrices, GiveBackTheirRowsInEveryFormat) {
  for (const Quantization& quantization : all_quantizations()) {
    SCOPED_TRACE(to_string(quantization));
    const RandomTensor tensor(quantization, kRows, kColumns, 1);
    WeightLoader loader(mx::float32);
    const Matrix matrix = loader.matrix(tensor.get());
    const std::vector<float> want = dequantize(tensor.get());
    const std::vector<float> got =
        to_vector(take_rows(matrix, mx::array({0, 1, 2, 3, 4}), mx::float32));
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], 1e-6f * (1 + std::abs(want[i]))) << "number " << i;
    }
    EXPECT_EQ(loader.bytes(), device_bytes(tensor.get(), mx::float32));
  }
}

TEST_F(Matrices, MultiplyAsTheirNumbersDoInEveryFormat) {
  std::vector<float> input(kColumns);
  for (int c = 0; c < kColumns; ++c) {
    input[static_cast<std::size_t>(c)] = std::sin(static_cast<float>(c));
  }
  for (const Quantization& quantization : all_quantizations()) {
    SCOPED_TRACE(to_string(quantization));
    const RandomTensor tensor(quantization, kRows, kColumns, 2);
    WeightLoader loader(mx::float32);
    const std::vector<float> got =
        to_vector(multiply(loader.matrix(tensor.get()), mx::array(input.begin(), {1, kColumns})));
    const std::vector<float> weights = dequantize(tensor.get());
    for (int r = 0; r < kRows; ++r) {
      double exact = 0, magnitude = 0;
      for (int c = 0; c < kColumns; ++c) {
        const double product = double{weights[static_cast<std::size_t>(r * kColumns + c)]} *
                               input[static_cast<std::size_t>(c)];
        exact += product;
        magnitude += std::abs(product);
      }
      EXPECT_NEAR(got[static_cast<std::size_t>(r)], exact, 2e-6 * magnitude) << "row " << r;
    }
  }
}

TEST_F(Matrices, MultiplyByChosenExpertsAsEachAloneDoesInEveryFormat) {
  constexpr int kExperts = 4, kOut = 3;
  std::vector<float> input(kColumns);
  for (int c = 0; c < kColumns; ++c) {
    input[static_cast<std::size_t>(c)] = std::cos(static_cast<float>(c));
  }
  for (const Quantization& quantization : all_quantizations()) {
    SCOPED_TRACE(to_string(quantization));
    const RandomTensor tensor(quantization, kExperts * kOut, kColumns, 3);
    WeightLoader loader(mx::float32);
    const Matrix matrix = loader.matrix(tensor.get());
    const mx::array x(input.begin(), {1, kColumns});
    const std::vector<float> all = to_vector(multiply(matrix, x));
    const std::vector<float> got = to_vector(multiply_chosen(
        matrix, kExperts, mx::expand_dims(x, 1), mx::array({3, 1}, {1, 2}, mx::uint32)));
    ASSERT_EQ(got.size(), 2u * kOut);
    for (int r = 0; r < kOut; ++r) {
      const auto want = [&](int expert) {
        return all[static_cast<std::size_t>(expert * kOut + r)];
      };
      const float near = 1e-4f * (1 + std::abs(want(3)) + std::abs(want(1)));
      EXPECT_NEAR(got[static_cast<std::size_t>(r)], want(3), near);
      EXPECT_NEAR(got[static_cast<std::size_t>(kOut + r)], want(1), near);
    }
  }
}

}  // namespace
}  // namespace mlxd::mlx_backend
