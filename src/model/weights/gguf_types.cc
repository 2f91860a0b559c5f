#include "model/weights/gguf_types.h"

#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/format.h>

namespace mlxd::gguf {

std::string_view value_type_name(std::uint32_t type) {
  static constexpr std::array<std::string_view, 13> kNames = {
      "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
      "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return type < kNames.size() ? kNames[type] : "unknown type";
}

std::size_t value_size(std::uint32_t type) {
  static constexpr std::array<std::size_t, 13> kSizes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < kSizes.size() ? kSizes[type] : 0;
}

namespace {

// enum ggml_type in ggml.h, of which the types that mlxd reads have an encoding.
struct TensorType {
  std::uint32_t id;
  std::string_view name;
  std::optional<Encoding> encoding;
};

constexpr TensorType kTensorTypes[] = {
    {0, "F32", Encoding::f32},
    {1, "F16", Encoding::f16},
    {2, "Q4_0", Encoding::q4_0},
    {3, "Q4_1", Encoding::q4_1},
    {6, "Q5_0", Encoding::q5_0},
    {7, "Q5_1", Encoding::q5_1},
    {8, "Q8_0", Encoding::q8_0},
    {9, "Q8_1", {}},
    {10, "Q2_K", Encoding::q2_k},
    {11, "Q3_K", Encoding::q3_k},
    {12, "Q4_K", Encoding::q4_k},
    {13, "Q5_K", Encoding::q5_k},
    {14, "Q6_K", Encoding::q6_k},
    {15, "Q8_K", {}},
    {16, "IQ2_XXS", Encoding::iq2_xxs},
    {17, "IQ2_XS", Encoding::iq2_xs},
    {18, "IQ3_XXS", Encoding::iq3_xxs},
    {19, "IQ1_S", Encoding::iq1_s},
    {20, "IQ4_NL", Encoding::iq4_nl},
    {21, "IQ3_S", Encoding::iq3_s},
    {22, "IQ2_S", Encoding::iq2_s},
    {23, "IQ4_XS", Encoding::iq4_xs},
    {24, "I8", {}},
    {25, "I16", {}},
    {26, "I32", {}},
    {27, "I64", {}},
    {28, "F64", {}},
    {29, "IQ1_M", Encoding::iq1_m},
    {30, "BF16", Encoding::bf16},
    {34, "TQ1_0", Encoding::tq1_0},
    {35, "TQ2_0", Encoding::tq2_0},
    {39, "MXFP4", Encoding::mxfp4},
    {40, "NVFP4", Encoding::nvfp4},
    {41, "Q1_0", Encoding::q1_0},
    {42, "Q2_0", Encoding::q2_0},
};

const TensorType* find_type(std::uint32_t id) {
  const auto* const found = std::ranges::find(kTensorTypes, id, &TensorType::id);
  return found == std::end(kTensorTypes) ? nullptr : found;
}

}  // namespace

std::optional<Encoding> tensor_encoding(std::uint32_t ggml_type) {
  const TensorType* type = find_type(ggml_type);
  return type == nullptr ? std::nullopt : type->encoding;
}

std::string tensor_type_name(std::uint32_t ggml_type) {
  const TensorType* type = find_type(ggml_type);
  if (type != nullptr) return std::string(type->name);
  return fmt::format("type {} (of a fork of llama.cpp, or of a later version)", ggml_type);
}

}  // namespace mlxd::gguf
