#include "model/weights/safetensors_weights.h"

#include <functional>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/folder.h"
#include "model/quoted.h"
#include "model/weights/gguf_split.h"
#include "model/weights/mlx_quantization.h"

namespace mlxd {
namespace {

std::optional<Encoding> float_encoding(std::string_view dtype) {
  if (dtype == "F32") return Encoding::f32;
  if (dtype == "F16") return Encoding::f16;
  if (dtype == "BF16") return Encoding::bf16;
  return std::nullopt;
}

// Multimodal models hold the text model under a prefix: mlx-lm's and the older transformers'
// "language_model.", the newer "model.language_model.". Those that embed texts lack the "model." of
// the others.
std::string text_model_name(std::string_view name) {
  constexpr std::string_view kOld = "language_model.", kNew = "model.language_model.";
  if (name.starts_with(kOld)) return std::string(name.substr(kOld.size()));
  if (name.starts_with(kNew)) return fmt::format("model.{}", name.substr(kNew.size()));
  for (const std::string_view bare : {"embed_tokens.", "layers.", "norm."}) {
    if (name.starts_with(bare)) return fmt::format("model.{}", name);
  }
  return std::string(name);
}

class SafetensorsWeights : public WeightSource {
 public:
  SafetensorsWeights(std::vector<std::shared_ptr<const SafetensorsFile>> files,
                     const JsonFields& config, const std::filesystem::path& folder)
      : files_(std::move(files)), folder_(folder.string()), quantization_(config) {
    for (const auto& file : files_) {
      for (const SafetensorsEntry& entry : file->entries()) {
        if (!entries_.emplace(entry.name, &entry).second) {
          fail(entry.name, "is in two files");
        }
      }
    }
    for (const auto& [name, entry] : entries_) add(*entry);
    entries_.clear();
  }

  std::optional<Tensor> find(std::string_view name) const override {
    if (const auto refused = refused_.find(name); refused != refused_.end()) {
      fail(name, fmt::format("is stored as {}; mlxd reads F32, F16, BF16 and MLX's quantised form",
                             refused->second));
    }
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return std::nullopt;
    return found->second;
  }

  std::vector<Tensor> all() const override {
    std::vector<Tensor> tensors;
    tensors.reserve(tensors_.size());
    for (const auto& [name, tensor] : tensors_) tensors.push_back(tensor);
    return tensors;
  }

  std::string description() const override { return folder_; }

 private:
  [[noreturn]] void fail(std::string_view name, std::string_view problem) const {
    throw LoadError(fmt::format("{}: tensor {} {}", folder_, in_quotes(name), problem));
  }

  const SafetensorsEntry* entry(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : found->second;
  }

  void add(const SafetensorsEntry& own) {
    const std::string_view name = own.name;
    const auto module_of = [&](std::string_view ending) {
      return std::string(name.substr(0, name.size() - ending.size()));
    };
    for (const std::string_view side : {".scales", ".biases", ".global_scale"}) {
      if (name.ends_with(side) && entry(module_of(side) + ".weight")) return;  // part of the weight
    }
    if (name.ends_with("_scales") && entry(module_of("_scales") + "_blocks")) return;
    Tensor tensor = shaped(own);
    if (name.ends_with("_blocks") && own.dtype == "U8") {
      const std::string module = module_of("_blocks");
      make_blocks(module, own, tensor);
      insert(module + ".weight", std::move(tensor));
      return;
    }
    if (name.ends_with(".weight") && own.dtype == "U32") {
      const std::string module = module_of(".weight");
      if (const SafetensorsEntry* scales = entry(module + ".scales")) {
        scales->dtype == "U8" ? make_small_floats(module, *scales, tensor)
                              : make_affine(module, *scales, tensor);
        insert(own.name, std::move(tensor));
        return;
      }
    }
    if (const auto encoding = float_encoding(own.dtype)) {
      tensor.quantization.encoding = *encoding;
      if (!own.data.empty()) insert(own.name, std::move(tensor));
    } else {
      refused_.emplace(text_model_name(own.name), own.dtype);
    }
  }

  void insert(std::string_view own, Tensor tensor) {
    tensor.name = text_model_name(own);
    std::string name = tensor.name;
    if (!tensors_.emplace(std::move(name), std::move(tensor)).second) {
      fail(own, "has the same meaning as another one");
    }
  }

  // Rows and columns of a shape: all dimensions but the last make up the rows.
  static Tensor shaped(const SafetensorsEntry& own) {
    Tensor tensor;
    tensor.name = own.name;
    tensor.data = own.data;
    tensor.columns = own.shape.empty() ? 1 : own.shape.back();
    for (std::size_t i = 0; i + 1 < own.shape.size(); ++i) tensor.rows *= own.shape[i];
    return tensor;
  }

  // Turns the packed words [rows, columns * bits / 32] of `tensor` into the matrix they stand for.
  void make_affine(const std::string& module, const SafetensorsEntry& scales,
                   Tensor& tensor) const {
    const auto form = quantization_.of(module);
    if (!form) fail(tensor.name, "is quantised, and config.json has no \"quantization\"");
    if (form->encoding != Encoding::mlx_affine) {
      fail(tensor.name,
           fmt::format("is {} by config.json, whose scales are U8, and has scales of {}",
                       to_string(*form), scales.dtype));
    }
    const SafetensorsEntry* biases = entry(module + ".biases");
    if (biases == nullptr) {
      fail(tensor.name, "has scales of floats but no biases, as affine quantisation needs them");
    }
    const auto scale_encoding = float_encoding(scales.dtype);
    if (!scale_encoding || biases->dtype != scales.dtype || biases->shape != scales.shape) {
      fail(scales.name, fmt::format("is {} and its biases {}; both must be floats of one shape",
                                    scales.dtype, biases->dtype));
    }
    const std::int64_t words = tensor.columns;
    const Tensor groups = shaped(scales);
    const std::int64_t columns = groups.columns * form->group_size;  // both bounded by file bytes
    if (tensor.rows < 1 || columns < 1 || groups.rows != tensor.rows ||
        words * 32 != columns * form->bits) {
      fail(tensor.name,
           fmt::format("has {} rows of {} words and {} rows of {} scales, which does not fit {}",
                       tensor.rows, words, groups.rows, groups.columns, to_string(*form)));
    }
    tensor.quantization = *form;
    tensor.quantization.scale_encoding = *scale_encoding;
    tensor.columns = columns;
    tensor.scales = scales.data;
    tensor.biases = biases->data;
  }

  // The same for 8-bit scales without biases: which mode it is, the sizes say (as to mlx-lm, for
  // modules that config.json does not name).
  void make_small_floats(const std::string& module, const SafetensorsEntry& scales,
                         Tensor& tensor) const {
    if (entry(module + ".global_scale") != nullptr) {
      fail(tensor.name,
           "has a scale for the whole tensor, which mlxd does not read; convert the "
           "model with mlx_lm.convert and without global scales");
    }
    const Tensor groups = shaped(scales);
    const auto form = small_floats_of(tensor.columns, groups.columns);
    if (!form || tensor.rows < 1 || groups.columns < 1 || groups.rows != tensor.rows) {
      fail(tensor.name, fmt::format("has {} rows of {} words and {} rows of {} scales of 8 bits, "
                                    "which fits none of mxfp4, nvfp4 and mxfp8",
                                    tensor.rows, tensor.columns, groups.rows, groups.columns));
    }
    tensor.quantization = *form;
    tensor.columns = groups.columns * form->group_size;
    tensor.scales = scales.data;
  }

  // gpt-oss as OpenAI writes it: x_blocks [..., groups, 16], of each group 32 numbers of 4 bits in
  // the order of mxfp4's words, and x_scales [..., groups].
  void make_blocks(const std::string& module, const SafetensorsEntry& own, Tensor& tensor) const {
    constexpr std::int64_t kBytes = 16;
    const Quantization form{Encoding::mlx_mxfp4, 4, 32};
    const SafetensorsEntry* scales = entry(module + "_scales");
    if (scales == nullptr || scales->dtype != "U8") {
      fail(own.name, fmt::format("has no scales of 8 bits, {}", in_quotes(module + "_scales")));
    }
    const Tensor groups = shaped(*scales);
    if (own.shape.size() < 3 || own.shape.back() != kBytes || groups.rows < 1 ||
        groups.columns < 1 || tensor.rows != groups.rows * groups.columns ||
        own.shape[own.shape.size() - 2] != groups.columns) {
      fail(own.name, fmt::format("has blocks of {} bytes that do not fit {} rows of {} scales",
                                 tensor.columns, groups.rows, groups.columns));
    }
    tensor.quantization = form;
    tensor.rows = groups.rows;
    tensor.columns = groups.columns * form.group_size;
    tensor.scales = scales->data;
  }

  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::string folder_;
  MlxQuantization quantization_;
  std::map<std::string_view, const SafetensorsEntry*> entries_;  // by file name, while building
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> refused_;  // dtype
};

// A name that stays in its folder.
bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// An index may name the head that a model with tied embeddings shares and does not store.
bool is_head(std::string_view name) { return name.find("lm_head.") != std::string_view::npos; }

std::vector<std::shared_ptr<const SafetensorsFile>> open_indexed(
    const std::filesystem::path& folder, const std::filesystem::path& index_path) {
  const JsonFields index = JsonFields::open(index_path);
  const auto weight_map = index.object("weight_map");
  if (!weight_map) index.fail("weight_map", "is missing");
  std::map<std::string, std::set<std::string>> names_of_shards;
  for (const auto& [key, value] : weight_map->members()) {
    const std::string name(key.data(), key.size());
    const std::string shard = weight_map->string(name).value_or("");
    if (!is_plain_file_name(shard) || !std::string_view(shard).ends_with(".safetensors")) {
      weight_map->fail(name, fmt::format("is {}, not the name of a .safetensors file in the folder",
                                         in_quotes(shard)));
    }
    names_of_shards[shard].insert(name);
  }
  std::vector<std::string> absent;
  for (const auto& [shard, names] : names_of_shards) {
    if (!std::filesystem::exists(folder / shard)) absent.push_back(in_quotes(shard));
  }
  if (!absent.empty()) {
    index.fail("weight_map", fmt::format("names {} files, of which {} are missing: {}. Download "
                                         "the model again",
                                         names_of_shards.size(), absent.size(), list_of(absent)));
  }
  std::vector<std::shared_ptr<const SafetensorsFile>> files;
  for (auto& [shard, names] : names_of_shards) {
    files.push_back(SafetensorsFile::open(folder / shard));
    for (const SafetensorsEntry& entry : files.back()->entries()) names.erase(entry.name);
    std::erase_if(names, is_head);  // the plan asks for it where it is needed
    if (!names.empty()) {
      files.back()->fail("tensor " + in_quotes(*names.begin()),
                         "is missing, and the index says that it is here");
    }
  }
  if (files.empty()) index.fail("weight_map", "names no files");
  return files;
}

// model-00001-of-0000N.safetensors and all its fellows, for which some writers (mlx-lm's too) make
// no index. Nothing when there is none of them.
std::vector<std::shared_ptr<const SafetensorsFile>> open_numbered(
    const std::filesystem::path& folder) {
  constexpr std::string_view kExtension = ".safetensors";
  const auto name_of = [&](int number, int count) {
    return fmt::format("model-{:05}-of-{:05}{}", number, count, kExtension);
  };
  std::set<int> counts;
  for (const std::filesystem::path& entry : entries_of(folder)) {
    const auto part = gguf_part(entry.stem().string() + ".gguf");  // the same numbers
    if (part && part->stem == "model" && entry.extension() == kExtension) {
      counts.insert(part->count);
    }
  }
  if (counts.empty()) return {};
  if (counts.size() > 1) {
    throw LoadError(
        fmt::format("{}: holds parts of models of {} files, and no index says which "
                    "belong together",
                    folder.string(), fmt::join(counts, " and ")));
  }
  std::vector<std::shared_ptr<const SafetensorsFile>> files;
  std::vector<std::string> absent;
  const int count = *counts.begin();
  for (int number = 1; number <= count; ++number) {
    const std::string name = name_of(number, count);
    std::filesystem::exists(folder / name) ? files.push_back(SafetensorsFile::open(folder / name))
                                           : absent.push_back(name);
  }
  if (!absent.empty()) {
    throw LoadError(
        fmt::format("{}: the model has {} files, of which {} are missing: {}. Download "
                    "it again",
                    folder.string(), count, absent.size(), list_of(absent)));
  }
  return files;
}

}  // namespace

std::vector<std::shared_ptr<const SafetensorsFile>> open_safetensors_folder(
    const std::filesystem::path& folder) {
  const auto single = folder / "model.safetensors";
  const auto index_path = folder / "model.safetensors.index.json";
  // As transformers does: one whole file before an index, which may be left from before a merge.
  if (std::filesystem::exists(single)) return {SafetensorsFile::open(single)};
  if (std::filesystem::exists(index_path)) return open_indexed(folder, index_path);
  if (auto files = open_numbered(folder); !files.empty()) return files;
  throw LoadError(fmt::format("{}: has neither model.safetensors nor model.safetensors.index.json",
                              folder.string()));
}

std::shared_ptr<const WeightSource> safetensors_weights(
    std::vector<std::shared_ptr<const SafetensorsFile>> files, const JsonFields& config,
    const std::filesystem::path& folder) {
  return std::make_shared<SafetensorsWeights>(std::move(files), config, folder);
}

}  // namespace mlxd
