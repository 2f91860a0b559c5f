#include "model/encoder_config.h"

#include <algorithm>
#include <span>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "model/config_limits.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

int require_count(const JsonFields& fields, std::string_view field, std::int64_t high) {
  const auto value = fields.integer(field, 1, high);
  if (!value) fields.fail(field, "is missing");
  return static_cast<int>(*value);
}

int require_count(const GgufFile& file, const std::string& key, std::int64_t high) {
  const auto value = file.integer(key, 1, high);
  if (!value) file.fail(in_quotes(key), "is missing");
  return static_cast<int>(*value);
}

void require_text(const JsonFields& fields, std::string_view field,
                  std::span<const std::string_view> known) {
  const auto text = fields.string(field);
  if (text && std::ranges::count(known, *text) == 0) {
    fields.fail(field, fmt::format("is {}; mlxd computes {} here", in_quotes(*text),
                                   fmt::join(known, " or ")));
  }
}

void set_heads(ModelConfig& config, std::string_view file) {
  if (config.hidden_size % config.heads != 0) {
    throw LoadError(fmt::format("{}: {} attention heads do not divide the hidden size {}", file,
                                config.heads, config.hidden_size));
  }
  config.kv_heads = config.heads;
  config.head_dim = config.hidden_size / config.heads;
}

// Whether the model scores pairs of texts. One that tells several classes apart is another thing.
bool reads_pairs(const JsonFields& fields) {
  const boost::json::array* names = fields.array("architectures");
  if (names == nullptr || names->empty() || !names->front().is_string()) return false;
  const std::string name(names->front().get_string().c_str());
  if (name.ends_with("ForSequenceClassification")) {
    const auto labels = fields.object("id2label");
    const std::size_t count = labels ? labels->members().size() : 2;
    if (fields.integer("num_labels", 1, kMaxVocabSize).value_or(static_cast<int>(count)) != 1) {
      fields.fail("architectures",
                  fmt::format("is {}, which tells {} classes apart; mlxd runs those with one score",
                              in_quotes(name), count));
    }
    return true;
  }
  return false;
}

}  // namespace

ModelConfig read_json_encoder_config(const JsonFields& fields, const Architecture& architecture) {
  ModelConfig config;
  config.architecture = architecture.name;
  config.name = fields.string("_name_or_path").value_or("");
  config.is_encoder = true;
  require_text(fields, architecture.activation_key, architecture.activations);
  static constexpr std::string_view kAbsolute[] = {"absolute"};
  require_text(fields, "position_embedding_type", kAbsolute);
  for (const char* field : {"is_decoder", "add_cross_attention"}) {
    if (fields.boolean(field).value_or(false)) {
      fields.fail(field, "is true; mlxd runs such models as encoders");
    }
  }
  config.layers = require_count(fields, "num_hidden_layers", kMaxLayers);
  config.hidden_size = require_count(fields, "hidden_size", kMaxHiddenSize);
  config.heads = require_count(fields, "num_attention_heads", kMaxHeads);
  set_heads(config, fields.file());
  config.intermediate_size = require_count(fields, "intermediate_size", kMaxIntermediateSize);
  config.context_length = require_count(fields, "max_position_embeddings", kMaxContextLength);
  config.vocab_size = require_count(fields, "vocab_size", kMaxVocabSize);
  config.norm_epsilon = static_cast<float>(fields.number("layer_norm_eps", 0, 1).value_or(1e-12));
  config.is_cross_encoder = reads_pairs(fields);
  if (architecture.json_finish) architecture.json_finish(config, fields);
  check_config(config, fields.file());
  return config;
}

ModelConfig read_gguf_encoder_config(const GgufFile& file, const Architecture& architecture) {
  const auto key = [&](std::string_view field) {
    return fmt::format("{}.{}", architecture.gguf_name, field);
  };
  ModelConfig config;
  config.architecture = architecture.name;
  config.name = file.string("general.name").value_or("");
  config.is_encoder = true;
  if (file.boolean(key("attention.causal")).value_or(false)) {
    file.fail(in_quotes(key("attention.causal")), "is true; mlxd runs such models as encoders");
  }
  config.layers = require_count(file, key("block_count"), kMaxLayers);
  config.hidden_size = require_count(file, key("embedding_length"), kMaxHiddenSize);
  config.heads = require_count(file, key("attention.head_count"), kMaxHeads);
  set_heads(config, file.name());
  config.intermediate_size = require_count(file, key("feed_forward_length"), kMaxIntermediateSize);
  config.context_length = require_count(file, key("context_length"), kMaxContextLength);
  const auto tokens = file.strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty() || tokens->size() > static_cast<std::size_t>(kMaxVocabSize)) {
    file.fail("\"tokenizer.ggml.tokens\"", "is missing, empty or too long");
  }
  config.vocab_size = static_cast<int>(tokens->size());
  const auto epsilon = file.number(key("attention.layer_norm_epsilon"), 0, 1);
  if (!epsilon) file.fail(in_quotes(key("attention.layer_norm_epsilon")), "is missing");
  config.norm_epsilon = static_cast<float>(*epsilon);
  config.is_cross_encoder = file.integer(key("pooling_type"), 0, 4).value_or(0) == 4;
  check_config(config, file.name());
  return config;
}

}  // namespace mlxd
