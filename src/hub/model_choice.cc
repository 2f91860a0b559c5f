#include "hub/model_choice.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "model/weights/gguf_split.h"

namespace mlxd::hub {
namespace {

// What to take where nobody said: what most people run, then smaller or larger ones about as good.
constexpr std::array<std::string_view, 12> kBestFirst = {"Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "Q4_K_L",
                                                         "Q4_0",   "Q4_1",       "IQ4_XS", "MXFP4",
                                                         "Q5_K_M", "Q6_K",       "Q8_0",   "BF16"};

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

std::string upper(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return std::toupper(c); });
  return result;
}

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool ends_a_word(char c) { return c == '-' || c == '.' || c == '/'; }

// Whether `word` stands in the path between separators; both in lower case.
bool has_word(std::string_view path, std::string_view word) {
  for (std::size_t at = path.find(word); at != std::string_view::npos;
       at = path.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || ends_a_word(path[at - 1])) && end < path.size() && ends_a_word(path[end])) {
      return true;
    }
  }
  return false;
}

bool is_quant(std::string_view word) {  // in upper case
  for (const std::string_view prefix : {"IQ", "TQ", "Q", "MXFP", "NVFP"}) {
    if (word.starts_with(prefix) && word.size() > prefix.size() &&
        std::isdigit(static_cast<unsigned char>(word[prefix.size()])) != 0) {
      return true;
    }
  }
  return word == "F16" || word == "BF16" || word == "F32" || word == "FP16";
}

// The last word of the path that names a quantisation; "" without one.
std::string quant_in(std::string_view path) {
  std::string found, before;
  for (std::size_t begin = 0; begin < path.size();) {
    const auto end =
        std::find_if(path.begin() + static_cast<std::ptrdiff_t>(begin), path.end(), ends_a_word) -
        path.begin();
    const std::string word = upper(path.substr(begin, static_cast<std::size_t>(end) - begin));
    if (is_quant(word)) found = before == "UD" ? "UD-" + word : word;
    before = word;
    begin = static_cast<std::size_t>(end) + 1;
  }
  return found;
}

bool only_goes_with_a_model(std::string_view path) {
  const std::string name = lower(file_name(path));
  return name.find("mmproj") != std::string::npos || name.find("imatrix") != std::string::npos;
}

bool is_folder_file(std::string_view path, bool has_standard_weights, bool pools) {
  constexpr std::array<std::string_view, 10> kNames = {"config.json",
                                                       "model.safetensors.index.json",
                                                       "tokenizer.json",
                                                       "tokenizer_config.json",
                                                       "special_tokens_map.json",
                                                       "added_tokens.json",
                                                       "generation_config.json",
                                                       "chat_template.jinja",
                                                       "chat_template.json",
                                                       "modules.json"};
  if (std::ranges::find(kNames, path) != kNames.end()) return true;
  if (path == "sentence_bert_config.json") return pools;
  if (path.starts_with("additional_chat_templates/")) return path.ends_with(".jinja");
  if (path.find('/') != std::string_view::npos) {  // "1_Pooling/config.json"
    return pools && path.substr(path.find('/')) == "/config.json" &&
           std::isdigit(static_cast<unsigned char>(path.front())) != 0;
  }
  return path.ends_with(".safetensors") && (!has_standard_weights || path.starts_with("model"));
}

bool is_weights(std::string_view path) { return path.ends_with(".safetensors"); }

}  // namespace

std::vector<GgufModel> gguf_models(std::span<const std::string> paths) {
  std::map<std::string, std::vector<std::pair<int, std::string>>> parts;
  std::map<std::string, int> counts;
  for (const std::string& path : paths) {
    if (!lower(path).ends_with(".gguf") || only_goes_with_a_model(path)) continue;
    const auto part = gguf_part(path);
    const std::string name = part ? part->stem : path;
    parts[name].emplace_back(part ? part->number : 1, path);
    counts[name] = part ? part->count : 1;
  }
  std::vector<GgufModel> models;
  for (auto& [name, files] : parts) {
    std::ranges::sort(files);
    GgufModel& model = models.emplace_back();
    model.name = name;
    model.quant = quant_in(name + ".");
    if (model.quant.empty()) model.quant = name;
    model.complete = static_cast<int>(files.size()) == counts[name];
    for (auto& [number, path] : files) model.files.push_back(path);
  }
  return models;
}

const GgufModel* choose_gguf(std::span<const GgufModel> models, std::string_view quant) {
  if (models.empty()) return nullptr;
  const auto first_with = [&](std::string_view word) -> const GgufModel* {
    const std::string wanted = lower(word);
    const GgufModel* found = nullptr;
    for (const GgufModel& model : models) {
      const std::string path = lower(model.files.front());
      if (path == wanted || file_name(path) == wanted || lower(model.name) == wanted) {
        return &model;
      }
      if (!has_word(path, wanted)) continue;
      // Of "x-Q4_K_M" and "x-UD-Q4_K_M" the plain one; else the first by name.
      if (found == nullptr || (lower(found->quant) != wanted && lower(model.quant) == wanted)) {
        found = &model;
      }
    }
    return found;
  };
  if (!quant.empty()) return first_with(quant);
  for (const std::string_view word : kBestFirst) {
    if (const GgufModel* found = first_with(word)) return found;
  }
  return &models.front();
}

bool is_model_folder(std::span<const std::string> paths) {
  return std::ranges::find(paths, "config.json") != paths.end() &&
         std::ranges::any_of(paths, [](const std::string& path) {
           return is_weights(path) && path.find('/') == std::string::npos;
         });
}

std::vector<std::string> folder_files(std::span<const std::string> paths) {
  // Repositories with "model*.safetensors" may hold the same once more
  // ("consolidated.safetensors").
  const bool has_standard_weights = std::ranges::any_of(
      paths, [](const std::string& path) { return path.starts_with("model") && is_weights(path); });
  const bool pools = std::ranges::find(paths, "modules.json") != paths.end();
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    if (is_folder_file(path, has_standard_weights, pools)) files.push_back(path);
  }
  std::ranges::stable_partition(files, [](const std::string& path) { return !is_weights(path); });
  return files;
}

Choice choose_files(const HubId& id, std::span<const std::string> paths) {
  const std::vector<GgufModel> models = gguf_models(paths);
  if (id.quant.empty() && is_model_folder(paths)) return {false, "", folder_files(paths)};
  if (const GgufModel* model = choose_gguf(models, id.quant)) {
    if (model->complete) return {true, model->quant, model->files};
    throw StartupError(fmt::format("{} has only some parts of {}: {}", id.repository(), model->name,
                                   fmt::join(model->files, ", ")));
  }
  if (!models.empty()) {
    std::vector<std::string> quants;
    for (const GgufModel& model : models) quants.push_back(model.quant);
    throw StartupError(fmt::format("{} has no {}; name one that it has: {}", id.repository(),
                                   id.quant, fmt::join(quants, ", ")));
  }
  if (is_model_folder(paths)) {
    throw StartupError(fmt::format(
        "{0} has no .gguf files, so there is no {1} of it; it is an MLX folder, which {0} alone "
        "names",
        id.repository(), id.quant));
  }
  constexpr std::size_t kShown = 12;
  const auto shown = paths.first(std::min(paths.size(), kShown));
  throw StartupError(fmt::format(
      "{} has nothing that mlxd reads: no .gguf file, and no config.json with safetensors; it has "
      "{}"
      "{}",
      id.repository(), paths.empty() ? "no files" : fmt::format("{}", fmt::join(shown, ", ")),
      paths.size() > kShown ? fmt::format(" and {} more", paths.size() - kShown) : ""));
}

}  // namespace mlxd::hub
