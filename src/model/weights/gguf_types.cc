#include "model/weights/gguf_types.h"

#include <array>

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

std::optional<Encoding> tensor_encoding(std::uint32_t ggml_type) {
  switch (ggml_type) {  // enum ggml_type in ggml.h
    case 0:
      return Encoding::f32;
    case 1:
      return Encoding::f16;
    case 2:
      return Encoding::q4_0;
    case 3:
      return Encoding::q4_1;
    case 6:
      return Encoding::q5_0;
    case 7:
      return Encoding::q5_1;
    case 8:
      return Encoding::q8_0;
    case 12:
      return Encoding::q4_k;
    case 13:
      return Encoding::q5_k;
    case 14:
      return Encoding::q6_k;
    case 30:
      return Encoding::bf16;
    default:
      return std::nullopt;
  }
}

std::string tensor_type_name(std::uint32_t ggml_type) {
  // "" where ggml has retired the number.
  static constexpr std::array<std::string_view, 40> kNames = {
      "F32",     "F16",    "Q4_0",    "Q4_1",  "",       "",      "Q5_0",  "Q5_1",
      "Q8_0",    "Q8_1",   "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
      "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
      "I8",      "I16",    "I32",     "I64",   "F64",    "IQ1_M", "BF16",  "",
      "",        "",       "TQ1_0",   "TQ2_0", "",       "",      "",      "MXFP4"};
  if (ggml_type < kNames.size() && !kNames[ggml_type].empty()) {
    return std::string(kNames[ggml_type]);
  }
  return fmt::format("type {}", ggml_type);
}

}  // namespace mlxd::gguf
