#include "model/quantization.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/coded_blocks.h"
#include "model/tensor.h"

namespace mlxd {
namespace {

// One line of quantization_fixtures.txt; make_quantization_fixtures.py says how it came about.
struct Fixture {
  Tensor tensor;
  std::vector<std::byte> data, scales, biases;
  std::vector<float> expected;
};

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  if (hex == "-") return bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

Encoding encoding_named(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(Encoding::mlx_mxfp8); ++i) {
    const auto each = static_cast<Encoding>(i);
    if (each != Encoding::mlx_affine && to_string({each}) == name) return each;
  }
  return Encoding::mlx_affine;
}

std::vector<Fixture> read_fixtures() {
  std::ifstream file(std::string(MLXD_TEST_DATA) + "/model/quantization_fixtures.txt");
  std::vector<Fixture> fixtures;
  std::string encoding, scale_encoding, data, scales, biases, expected;
  int bits, group_size;
  std::int64_t rows, columns;
  while (file >> encoding >> bits >> group_size >> scale_encoding >> rows >> columns >> data >>
         scales >> biases >> expected) {
    Fixture fixture;
    fixture.data = from_hex(data);
    fixture.scales = from_hex(scales);
    fixture.biases = from_hex(biases);
    const auto numbers = from_hex(expected);
    fixture.expected.resize(numbers.size() / sizeof(float));
    std::memcpy(fixture.expected.data(), numbers.data(), numbers.size());
    fixture.tensor.name = "fixture";
    fixture.tensor.quantization = {encoding_named(encoding), bits, group_size,
                                   encoding_named(scale_encoding)};
    fixture.tensor.rows = rows;
    fixture.tensor.columns = columns;
    fixtures.push_back(std::move(fixture));
  }
  for (Fixture& each : fixtures) {  // the views, now that nothing moves any more
    each.tensor.data = each.data;
    each.tensor.scales = each.scales;
    each.tensor.biases = each.biases;
  }
  return fixtures;
}

TEST(Dequantize, ReadsWhatTheFormatsOwnDecodersRead) {
  const std::vector<Fixture> fixtures = read_fixtures();
  // 3 floats, 8 + 17 GGUF formats, 6 widths x 3 groups and 3 modes of MLX
  ASSERT_EQ(fixtures.size(), 49u);
  for (const Fixture& fixture : fixtures) {
    SCOPED_TRACE(to_string(fixture.tensor.quantization));
    const std::vector<float> decoded = dequantize(fixture.tensor);
    ASSERT_EQ(decoded.size(), fixture.expected.size());
    for (std::size_t i = 0; i < decoded.size(); ++i) {
      // A fused multiply-add, where the compiler uses one, may move the last bit.
      ASSERT_NEAR(decoded[i], fixture.expected[i], 2e-6f * (1 + std::abs(fixture.expected[i])))
          << "at " << i;
    }
  }
}

TEST(Dequantize, ReadsIntegersOutOfATableExactly) {
  int count = 0;
  for (const Fixture& fixture : read_fixtures()) {
    const Encoding encoding = fixture.tensor.quantization.encoding;
    if (code_table(encoding) == nullptr && encoding != Encoding::mlx_mxfp8) continue;
    SCOPED_TRACE(to_string(fixture.tensor.quantization));
    EXPECT_EQ(dequantize(fixture.tensor), fixture.expected);
    ++count;
  }
  EXPECT_EQ(count, 20);
}

TEST(Dequantize, ReadsTheSecondRowAlone) {
  for (const Fixture& fixture : read_fixtures()) {
    SCOPED_TRACE(to_string(fixture.tensor.quantization));
    const std::vector<float> all = dequantize(fixture.tensor);
    const auto columns = static_cast<std::size_t>(fixture.tensor.columns);
    std::vector<float> row(columns);
    dequantize_rows(fixture.tensor, 1, 1, row);
    EXPECT_EQ(row,
              std::vector<float>(all.begin() + static_cast<std::ptrdiff_t>(columns), all.end()));
  }
}

TEST(Quantization, ARowTakesTheBytesThatItsFixtureHas) {
  for (const Fixture& fixture : read_fixtures()) {
    SCOPED_TRACE(to_string(fixture.tensor.quantization));
    EXPECT_EQ(row_bytes(fixture.tensor.quantization, fixture.tensor.columns) * 2,
              fixture.data.size());
  }
}

TEST(Quantization, IsNamedAsPeopleNameIt) {
  EXPECT_EQ(to_string({Encoding::q4_k}), "Q4_K");
  EXPECT_EQ(to_string({Encoding::iq4_xs}), "IQ4_XS");
  EXPECT_EQ(to_string({Encoding::mlx_affine, 4, 64}), "affine 4-bit, group 64");
  EXPECT_EQ(to_string({Encoding::mlx_mxfp4, 4, 32}), "mxfp4");
}

TEST(Half, EveryFiniteHalfSurvivesTheWayThroughFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = half_to_float(half);
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_half(value), half) << bits;
  }
}

TEST(Half, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f), 0x3c00);      // a tie goes to the even 1.0
  EXPECT_EQ(float_to_half(1.0f + 3 * 0x1p-11f), 0x3c02);  // a tie goes to the even neighbour
  EXPECT_EQ(float_to_half(1.0f + 0x1.004p-11f), 0x3c01);  // just above the tie
  EXPECT_EQ(float_to_half(65519.0f), 0x7bff);             // still the largest half
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);             // a tie with infinity: infinity
  EXPECT_EQ(float_to_half(0x1p-25f), 0x0000);             // half the smallest: even zero
  EXPECT_EQ(float_to_half(0x1.8p-25f), 0x0001);           // above it: the smallest
  EXPECT_EQ(float_to_half(-0.0f), 0x8000);
  EXPECT_EQ(float_to_half(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_TRUE(std::isnan(half_to_float(float_to_half(std::nanf("")))));
}

}  // namespace
}  // namespace mlxd
