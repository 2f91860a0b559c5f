#include "model/weights/mlx_quantization.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "model/quoted.h"

namespace mlxd {
namespace {

constexpr std::array<std::int64_t, 6> kBits = {2, 3, 4, 5, 6, 8};
constexpr std::array<std::int64_t, 3> kGroupSizes = {32, 64, 128};

constexpr Quantization kSmallFloats[] = {
    {Encoding::mlx_mxfp4, 4, 32}, {Encoding::mlx_nvfp4, 4, 16}, {Encoding::mlx_mxfp8, 8, 32}};

template <std::size_t N>
std::optional<int> one_of(const JsonFields& fields, std::string_view field,
                          const std::array<std::int64_t, N>& allowed, std::string_view list) {
  const auto value = fields.integer(field, 0, 1 << 20);
  if (!value) return std::nullopt;
  if (std::find(allowed.begin(), allowed.end(), *value) == allowed.end()) {
    fields.fail(field, fmt::format("is {}; mlxd reads {}", *value, list));
  }
  return static_cast<int>(*value);
}

constexpr Quantization kAffineDefaults{Encoding::mlx_affine, 4, 64};

// A mode of small floats allows one width and one group size, which need not be stated.
Quantization read_small_floats(const JsonFields& fields, const Quantization& form) {
  const auto must_be = [&](std::string_view field, int only) {
    const auto value = fields.integer(field, 0, 1 << 20);
    if (value && *value != only) {
      fields.fail(field, fmt::format("is {}; {} has {}", *value, to_string(form), only));
    }
  };
  must_be("bits", form.bits);
  must_be("group_size", form.group_size);
  return form;
}

// What is not stated of an affine form is as in `otherwise`.
Quantization read_form(const JsonFields& fields, Quantization otherwise) {
  const auto mode = fields.string("mode").value_or("affine");
  for (const Quantization& form : kSmallFloats) {
    if (mode == to_string(form)) return read_small_floats(fields, form);
  }
  if (mode != "affine") {
    fields.fail("mode",
                fmt::format("is {}; mlxd reads affine, mxfp4, nvfp4 and mxfp8", in_quotes(mode)));
  }
  otherwise.bits = one_of(fields, "bits", kBits, "2, 3, 4, 5, 6 and 8").value_or(otherwise.bits);
  otherwise.group_size =
      one_of(fields, "group_size", kGroupSizes, "32, 64 and 128").value_or(otherwise.group_size);
  return otherwise;
}

}  // namespace

MlxQuantization::MlxQuantization(const JsonFields& config) {
  const char* name = config.has("quantization") ? "quantization" : "quantization_config";
  const auto fields = config.object(name);
  if (!fields) return;
  if (const auto method = fields->string("quant_method")) {
    if (*method == "mxfp4") return;  // of tensors that their names tell: blocks and scales
    fields->fail("quant_method", fmt::format("is {}; mlxd reads MLX's quantisation (fields "
                                             "\"bits\" and \"group_size\"), mxfp4 and GGUF "
                                             "files",
                                             in_quotes(*method)));
  }
  common_ = read_form(*fields, kAffineDefaults);
  // As in mlx-lm, a module's own entry without a mode is affine.
  const Quantization otherwise =
      common_->encoding == Encoding::mlx_affine ? *common_ : kAffineDefaults;
  for (const auto& [key, value] : fields->members()) {
    if (!value.is_object()) continue;  // false: the module is not quantised, as its tensors show
    const std::string module(key.data(), key.size());
    own_.emplace(module, read_form(fields->nested(module, value), otherwise));
  }
}

std::optional<Quantization> small_floats_of(std::int64_t words, std::int64_t scales) {
  for (const Quantization& form : kSmallFloats) {
    if (words * 32 == scales * form.bits * form.group_size) return form;
  }
  return std::nullopt;
}

std::optional<Quantization> MlxQuantization::of(std::string_view module) const {
  const auto found = own_.find(module);
  return found != own_.end() ? found->second : common_;
}

}  // namespace mlxd
