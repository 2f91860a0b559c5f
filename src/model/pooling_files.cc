#include "model/pooling_files.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "model/config_limits.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

// A path of a module: a folder in the model's own.
bool is_plain_folder(std::string_view path) {
  return !path.empty() && path.size() <= 255 && path != "." && path != ".." &&
         path.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// The class that a module's type names, whatever package it is of.
std::string class_of(const JsonFields& module) {
  const std::string type = module.string("type").value_or("");
  return type.substr(type.rfind('.') + 1);
}

// Newer files name one mode, older ones have a flag for each.
Pooling read_mode(const JsonFields& fields) {
  const auto mode = fields.string("pooling_mode");
  const auto is = [&](std::string_view name, std::string_view flag) {
    return mode ? *mode == name : fields.boolean(flag).value_or(false);
  };
  for (const char* other : {"pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
                            "pooling_mode_weightedmean_tokens"}) {
    if (fields.boolean(other).value_or(false)) {
      fields.fail(other, "is true; mlxd pools by the mean, the first or the last token");
    }
  }
  const bool mean = is("mean", "pooling_mode_mean_tokens");
  const bool first = is("cls", "pooling_mode_cls_token");
  const bool last = is("lasttoken", "pooling_mode_lasttoken");
  if (mean + first + last != 1) {
    fields.fail("pooling_mode", "is not one of mean, cls and lasttoken, which mlxd pools by");
  }
  return mean ? Pooling::mean : first ? Pooling::first : Pooling::last;
}

PooledOutput read_modules(const std::filesystem::path& folder) {
  const JsonFields root = JsonFields::open_list(folder / "modules.json", "modules");
  PooledOutput pooled;
  pooled.normalizes = false;
  bool pools = false;
  for (const boost::json::value& each : *root.array("modules")) {
    const JsonFields module = root.nested("modules", each);
    const std::string name = class_of(module);
    if (name == "Pooling") {
      const std::string path = module.string("path").value_or("");
      if (!is_plain_folder(path)) {
        module.fail("path", fmt::format("is {}, no folder of the model", in_quotes(path)));
      }
      pooled.pooling = read_mode(JsonFields::open(folder / path / "config.json"));
      pools = true;
    } else if (name == "Normalize") {
      pooled.normalizes = true;
    } else if (name != "Transformer") {
      module.fail("type", fmt::format("is {}; mlxd runs Transformer, Pooling and Normalize",
                                      in_quotes(name)));
    }
  }
  if (!pools) root.fail("modules", "lists no Pooling");
  return pooled;
}

// A decoder's rows have not seen the whole text but for the last one.
void check_of_decoder(const ModelConfig& model, const std::optional<PooledOutput>& pooled,
                      std::string_view file) {
  if (model.is_encoder || !pooled || pooled->pooling == Pooling::last) return;
  throw LoadError(fmt::format(
      "{}: pools the rows of a decoder by their mean or their first; mlxd pools the last one",
      file));
}

PooledOutput score_of(const JsonFields& config) {
  PooledOutput score{.pooling = Pooling::first, .normalizes = false, .is_score = true};
  // sentence-transformers keeps the function that a score goes through: a class of PyTorch.
  const auto settings = config.object("sentence_transformers");
  const auto newer = settings ? settings->string("activation_fn") : std::nullopt;
  const auto older = config.string("sbert_ce_default_activation_function");
  const std::string function = newer ? *newer : older.value_or("");
  score.squashes = !function.ends_with("Identity");
  return score;
}

}  // namespace

PoolingFiles read_pooling_files(const std::filesystem::path& folder, const JsonFields& config,
                                const ModelConfig& model) {
  PoolingFiles files;
  if (model.is_cross_encoder) {
    files.pooled = score_of(config);
  } else if (std::filesystem::exists(folder / "modules.json")) {
    files.pooled = read_modules(folder);
  } else if (model.is_encoder) {
    files.pooled.emplace();
  }
  check_of_decoder(model, files.pooled, (folder / "modules.json").string());
  const auto lengths = folder / "sentence_bert_config.json";
  if (files.pooled && std::filesystem::exists(lengths)) {
    const auto most = JsonFields::open(lengths).integer("max_seq_length", 1, kMaxContextLength);
    files.longest_text = static_cast<int>(most.value_or(0));
  }
  return files;
}

PoolingFiles read_gguf_pooling(const GgufFile& file, const ModelConfig& model) {
  enum { kNone, kMean, kFirst, kLast, kRank };
  const std::string key =
      fmt::format("{}.pooling_type", file.string("general.architecture").value_or(""));
  const auto type = file.integer(key, kNone, kRank);
  PoolingFiles files;
  if (model.is_cross_encoder) {
    files.pooled = {.pooling = Pooling::first, .normalizes = false, .is_score = true};
  } else if (type == kRank) {
    file.fail(in_quotes(key), "is 4, a score of pairs; mlxd runs such encoders of the BERT family");
  } else if (type == kMean || type == kFirst || type == kLast || model.is_encoder) {
    files.pooled.emplace();
    files.pooled->pooling = type == kLast    ? Pooling::last
                            : type == kFirst ? Pooling::first
                                             : Pooling::mean;
  }
  check_of_decoder(model, files.pooled, file.name());
  return files;
}

}  // namespace mlxd
