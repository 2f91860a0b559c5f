#include "backend/mlx/affine_repack.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/tensor.h"

namespace mlxd::mlx_backend {
namespace {

// Random blocks of a GGUF format: any bits are a valid block once its halves are finite.
class Blocks {
 public:
  Blocks(Encoding encoding, std::vector<int> halves, std::int64_t rows, std::int64_t columns) {
    tensor_.name = "test";
    tensor_.quantization.encoding = encoding;
    tensor_.rows = rows;
    tensor_.columns = columns;
    bytes_.resize(rows * row_bytes(tensor_.quantization, columns));
    std::mt19937 random(static_cast<unsigned>(encoding) + 1);
    for (std::byte& byte : bytes_) byte = static_cast<std::byte>(random());
    const std::size_t block = row_bytes(tensor_.quantization, block_columns(tensor_.quantization));
    for (std::size_t at = 0; at < bytes_.size(); at += block) {
      for (const int half : halves) {
        const float value = std::uniform_real_distribution<float>(-0.1f, 0.1f)(random);
        const std::uint16_t bits = float_to_half(value);
        bytes_[at + half] = static_cast<std::byte>(bits & 255);
        bytes_[at + half + 1] = static_cast<std::byte>(bits >> 8);
      }
    }
    tensor_.data = bytes_;
  }
  const Tensor& tensor() const { return tensor_; }

 private:
  std::vector<std::byte> bytes_;
  Tensor tensor_;
};

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

void expect_same_numbers(Encoding encoding, std::vector<int> halves, int bits) {
  const Blocks blocks(encoding, std::move(halves), 3, 512);
  const auto affine = to_affine(blocks.tensor());
  ASSERT_TRUE(affine);
  EXPECT_EQ(affine->bits, bits);
  const std::vector<float> want = dequantize(blocks.tensor());
  const std::vector<float> got = decode(*affine, blocks.tensor());
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    // Scales, biases and codes are exact; scale * code + bias is rounded in another order.
    ASSERT_NEAR(got[i], want[i], 1e-5f) << "column " << i;
  }
}

TEST(AffineRepack, KeepsTheNumbersOfQ4_0) { expect_same_numbers(Encoding::q4_0, {0}, 4); }
TEST(AffineRepack, KeepsTheNumbersOfQ4_1) { expect_same_numbers(Encoding::q4_1, {0, 2}, 4); }
TEST(AffineRepack, KeepsTheNumbersOfQ5_0) { expect_same_numbers(Encoding::q5_0, {0}, 5); }
TEST(AffineRepack, KeepsTheNumbersOfQ5_1) { expect_same_numbers(Encoding::q5_1, {0, 2}, 5); }
TEST(AffineRepack, KeepsTheNumbersOfQ8_0) { expect_same_numbers(Encoding::q8_0, {0}, 8); }
TEST(AffineRepack, KeepsTheNumbersOfQ4_K) { expect_same_numbers(Encoding::q4_k, {0, 2}, 4); }
TEST(AffineRepack, KeepsTheNumbersOfQ5_K) { expect_same_numbers(Encoding::q5_k, {0, 2}, 5); }

TEST(AffineRepack, LeavesFormatsWithoutAffineGroupsOf32) {
  EXPECT_FALSE(to_affine(Blocks(Encoding::q6_k, {208}, 1, 256).tensor()));
  EXPECT_FALSE(to_affine(Blocks(Encoding::f16, {}, 1, 32).tensor()));
}

}  // namespace
}  // namespace mlxd::mlx_backend
