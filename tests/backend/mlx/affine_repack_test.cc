#include "backend/mlx/affine_repack.h"

#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backend/random_tensor.h"
#include "model/tensor.h"

namespace mlxd::mlx_backend {
namespace {

using test::RandomTensor;

// The affine matrix as a tensor, which dequantize_rows decodes by MLX's definition.
std::vector<float> decode(const AffineMatrix& affine, const Tensor& like) {
  Tensor tensor;
  tensor.name = like.name;
  tensor.quantization = {Encoding::mlx_affine, affine.bits, AffineMatrix::kGroupSize,
                         Encoding::f32};
  tensor.rows = like.rows;
  tensor.columns = like.columns;
  tensor.data = std::as_bytes(std::span(affine.words));
  tensor.scales = std::as_bytes(std::span(affine.scales));
  tensor.biases = std::as_bytes(std::span(affine.biases));
  return dequantize(tensor);
}

void expect_same_numbers(Encoding encoding, int bits) {
  const RandomTensor random({.encoding = encoding}, 3, 512, 1);
  const auto affine = to_affine(random.get());
  ASSERT_TRUE(affine);
  EXPECT_EQ(affine->bits, bits);
  const std::vector<float> want = dequantize(random.get());
  const std::vector<float> got = decode(*affine, random.get());
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    // Scales, biases and codes are exact; scale * code + bias is rounded in another order.
    ASSERT_NEAR(got[i], want[i], 1e-5f) << "column " << i;
  }
}

TEST(AffineRepack, KeepsTheNumbersOfQ4_0) { expect_same_numbers(Encoding::q4_0, 4); }
TEST(AffineRepack, KeepsTheNumbersOfQ4_1) { expect_same_numbers(Encoding::q4_1, 4); }
TEST(AffineRepack, KeepsTheNumbersOfQ5_0) { expect_same_numbers(Encoding::q5_0, 5); }
TEST(AffineRepack, KeepsTheNumbersOfQ5_1) { expect_same_numbers(Encoding::q5_1, 5); }
TEST(AffineRepack, KeepsTheNumbersOfQ8_0) { expect_same_numbers(Encoding::q8_0, 8); }
TEST(AffineRepack, KeepsTheNumbersOfQ4_K) { expect_same_numbers(Encoding::q4_k, 4); }
TEST(AffineRepack, KeepsTheNumbersOfQ5_K) { expect_same_numbers(Encoding::q5_k, 5); }

TEST(AffineRepack, KeepsTheOddNumbersOfIQ3_SAndIQ1_S) {
  expect_same_numbers(Encoding::iq3_s, 4);
  expect_same_numbers(Encoding::iq1_s, 4);
}

TEST(AffineRepack, KeepsTernaryAndBinaryNumbers) {
  for (const Encoding encoding :
       {Encoding::tq1_0, Encoding::tq2_0, Encoding::q1_0, Encoding::q2_0}) {
    SCOPED_TRACE(to_string({encoding}));
    expect_same_numbers(encoding, 2);
  }
}

TEST(AffineRepack, LeavesFormatsWithoutAffineGroupsOf32) {
  for (const Encoding encoding :
       {Encoding::q6_k, Encoding::q2_k, Encoding::q3_k, Encoding::iq4_xs, Encoding::iq2_xxs,
        Encoding::iq1_m, Encoding::mxfp4, Encoding::f16}) {
    SCOPED_TRACE(to_string({encoding}));
    EXPECT_FALSE(to_affine(RandomTensor({.encoding = encoding}, 1, 256, 1).get()));
    EXPECT_EQ(affine_bits(encoding), 0);
  }
}

TEST(SmallFloats, KeepTheNumbersOfGgufsMxfp4AndNvfp4) {
  const std::pair<Encoding, Quantization> forms[] = {
      {Encoding::mxfp4, {Encoding::mlx_mxfp4, 4, 32}},
      {Encoding::nvfp4, {Encoding::mlx_nvfp4, 4, 16}}};
  for (const auto& [encoding, form] : forms) {
    SCOPED_TRACE(to_string({encoding}));
    const RandomTensor random({.encoding = encoding}, 3, 512, 2);
    Tensor source = random.get();
    source.scale = 1;  // of the whole tensor, which MLX's format does not have
    const SmallFloatMatrix packed = to_small_floats(source);
    Tensor tensor = source;
    tensor.quantization = form;
    tensor.data = std::as_bytes(std::span(packed.codes));
    tensor.scales = std::as_bytes(std::span(packed.scales));
    EXPECT_EQ(dequantize(tensor), dequantize(source));
  }
}

}  // namespace
}  // namespace mlxd::mlx_backend
