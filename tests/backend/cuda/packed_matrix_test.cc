// Packed weights, read as packed.h says, against model/tensor.h's decoder; no card is needed.
#include "backend/cuda/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "backend/random_tensor.h"
#include "base/error.h"

namespace mlxd::cuda_backend {
namespace {

using test::all_quantizations;
using test::RandomTensor;

constexpr int kRows = 21, kColumns = 256;  // the last of two tiles is not full

template <class T>
T load(const std::vector<std::byte>& from, std::size_t at) {
  T value;
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

float number(std::uint16_t bits, Element element) {
  return element == Element::f16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

// A number of a packed matrix, before it is rounded to an Element.
float read(const PackedMatrix& packed, Element element, int row, int column) {
  const PackedShape& shape = packed.shape;
  const auto unit =
      static_cast<std::size_t>(row / kUnitRows * shape.units() + column / kUnitColumns);
  const int in_tile = row % kUnitRows, in_unit = column % kUnitColumns;
  const int lane = in_tile % 8 * 4 + in_unit / kLaneColumns, i = in_unit % kLaneColumns;
  const int bits = shape.packing == Packing::plain ? 16 : shape.packing == Packing::affine8 ? 8 : 4;
  const int first = in_tile / 8 * kLaneColumns * bits / 8;  // of the row's bytes among the lane's
  const auto byte_at = [&](int of_lane) {
    return unit * shape.unit_bytes() +
           static_cast<std::size_t>(of_lane / 16 * 16 * kLanes + lane * 16 + of_lane % 16);
  };
  if (bits == 16) return number(load<std::uint16_t>(packed.codes, byte_at(first + 2 * i)), element);
  int code;
  if (bits == 8) {
    code = load<std::uint8_t>(packed.codes, byte_at(first + i));
  } else {
    const auto word = load<std::uint32_t>(packed.codes, byte_at(first + i / 8 * 4));
    const int pair = i % 8 / 2;
    code = static_cast<int>(word >> (4 * (i % 2 == 0 ? pair : pair + 4)) & 15);
  }
  const int run = in_unit / (kUnitColumns / shape.scale_runs);
  const std::size_t pair =
      unit * shape.unit_scale_bytes() +
      static_cast<std::size_t>(run * kUnitRows + in_tile) * (shape.wide_scales ? 8 : 4);
  const auto part = [&](std::size_t index) {
    if (shape.wide_scales) return load<float>(packed.scales, pair + 4 * index);
    return number(load<std::uint16_t>(packed.scales, pair + 2 * index), element);
  };
  return std::fma(part(0), static_cast<float>(code), part(1));
}

std::vector<SourceRow> all_rows(const Tensor& tensor) {
  std::vector<SourceRow> rows;
  for (std::int64_t row = 0; row < tensor.rows; ++row) rows.push_back({&tensor, row});
  return rows;
}

Element element_for(const Quantization& quantization) {
  const bool affine = quantization.encoding == Encoding::mlx_affine;
  const Encoding type = affine ? quantization.scale_encoding : quantization.encoding;
  return type == Encoding::bf16 ? Element::bf16 : Element::f16;
}

bool is_refused(const Quantization& quantization) {
  switch (quantization.encoding) {
    case Encoding::f32:  // where its numbers need more bits than an Element has
    case Encoding::mlx_mxfp8:
      return true;
    default:
      return false;
  }
}

TEST(PackedMatrix, HoldsTheNumbersOfEveryFormat) {
  for (const Quantization& quantization : all_quantizations()) {
    if (is_refused(quantization)) continue;
    SCOPED_TRACE(to_string(quantization));
    const RandomTensor tensor(quantization, kRows, kColumns, 3);
    const Element element = element_for(quantization);
    const PackedMatrix packed =
        pack(all_rows(tensor.get()), packed_shape(tensor.get(), element), element);
    const std::vector<float> want = dequantize(tensor.get());
    // A scale of 24 bits times the code of the least number is rounded: NVFP4 with a tensor's
    // scale.
    const float largest =
        *std::ranges::max_element(want, {}, [](float value) { return std::abs(value); });
    for (int row = 0; row < kRows; ++row) {
      for (int column = 0; column < kColumns; ++column) {
        const float expected = want[static_cast<std::size_t>(row * kColumns + column)];
        ASSERT_NEAR(read(packed, element, row, column), expected, 2e-7f * std::abs(largest))
            << "row " << row << ", column " << column;
      }
    }
  }
}

TEST(PackedMatrix, RefusesWithTheTensorsNameWhatWouldNotStayTheSame) {
  for (const Quantization& quantization : all_quantizations()) {
    if (!is_refused(quantization)) continue;
    SCOPED_TRACE(to_string(quantization));
    const RandomTensor random(quantization, kRows, kColumns, 3);
    Tensor tensor = random.get();
    tensor.name = "model.layers.0.mlp.up_proj.weight";
    try {
      pack(all_rows(tensor), packed_shape(tensor, Element::bf16), Element::bf16);
      FAIL() << "no LoadError";
    } catch (const LoadError& error) {
      EXPECT_NE(std::string(error.what()).find(tensor.name), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("--backend cpu"), std::string::npos);
    }
  }
}

TEST(PackedMatrix, TakesRowsOfSeveralTensorsInTheOrderAskedFor) {
  const Quantization form{.encoding = Encoding::q4_0};
  const RandomTensor first(form, 8, kColumns, 1),
      second({.encoding = Encoding::q6_k}, 8, kColumns, 2);
  const auto shape = common_shape(packed_shape(first.get(), Element::f16),
                                  packed_shape(second.get(), Element::f16));
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->packing, Packing::affine8);
  const std::vector<SourceRow> rows = {{&second.get(), 7}, {}, {&first.get(), 3}};
  const PackedMatrix packed = pack(rows, *shape, Element::f16);
  const std::vector<float> of_first = dequantize(first.get()), of_second = dequantize(second.get());
  for (int column = 0; column < kColumns; ++column) {
    const auto at = static_cast<std::size_t>(column);
    EXPECT_NEAR(read(packed, Element::f16, 0, column), of_second[7 * kColumns + at], 1e-6);
    EXPECT_EQ(read(packed, Element::f16, 1, column), 0);
    EXPECT_NEAR(read(packed, Element::f16, 2, column), of_first[3 * kColumns + at], 1e-6);
  }
}

TEST(PackedMatrix, HasNoPackingForPlainNumbersBesideCodes) {
  const RandomTensor plain({.encoding = Encoding::f16}, 8, kColumns, 1);
  const RandomTensor codes({.encoding = Encoding::q8_0}, 8, kColumns, 2);
  EXPECT_FALSE(common_shape(packed_shape(plain.get(), Element::f16),
                            packed_shape(codes.get(), Element::f16)));
}

}  // namespace
}  // namespace mlxd::cuda_backend
