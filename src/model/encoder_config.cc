#include "model/encoder_config.h"

#include <initializer_list>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "model/config_limits.h"
#include "model/gguf_fields.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

void set_heads(ModelConfig& config, std::string_view file) {
  if (config.hidden_size % config.heads != 0) {
    throw LoadError(fmt::format("{}: {} attention heads do not divide the hidden size {}", file,
                                config.heads, config.hidden_size));
  }
  config.kv_heads = config.heads;
  config.head_dim = config.hidden_size / config.heads;
}

// The first of these names that the file has; the usual one stands first.
std::string_view name_in(const JsonFields& fields, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (fields.has(name)) return name;
  }
  return *names.begin();
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
  fields.require_one_of(architecture.activation_key, architecture.activations);
  static constexpr std::string_view kAbsolute[] = {"absolute"};
  fields.require_one_of("position_embedding_type", kAbsolute);
  for (const char* field : {"is_decoder", "add_cross_attention"}) {
    if (fields.boolean(field).value_or(false)) {
      fields.fail(field, "is true; mlxd runs such models as encoders");
    }
  }
  const auto count = [&](std::initializer_list<std::string_view> names, std::int64_t most) {
    return fields.count(name_in(fields, names), most);
  };
  config.layers = count({"num_hidden_layers", "n_layer"}, kMaxLayers);
  config.hidden_size = count({"hidden_size", "n_embd"}, kMaxHiddenSize);
  config.heads = count({"num_attention_heads", "n_head"}, kMaxHeads);
  set_heads(config, fields.file());
  config.intermediate_size = count({"intermediate_size", "n_inner"}, kMaxIntermediateSize);
  config.context_length = count({"max_position_embeddings", "n_positions"}, kMaxContextLength);
  config.vocab_size = fields.count("vocab_size", kMaxVocabSize);
  const auto epsilon = name_in(fields, {"layer_norm_eps", "layer_norm_epsilon", "norm_eps"});
  config.norm_epsilon = static_cast<float>(fields.number(epsilon, 0, 1).value_or(1e-12));
  config.is_cross_encoder = reads_pairs(fields);
  if (architecture.json_finish) architecture.json_finish(config, fields);
  check_config(config, fields.file());
  return config;
}

ModelConfig read_gguf_encoder_config(const GgufFile& file, const Architecture& architecture) {
  const GgufFields fields(file, architecture.gguf_name);
  const auto key = [&](std::string_view field) { return fields.key(field); };
  ModelConfig config;
  config.architecture = architecture.name;
  config.name = file.string("general.name").value_or("");
  config.is_encoder = true;
  if (file.boolean(key("attention.causal")).value_or(false)) {
    file.fail(in_quotes(key("attention.causal")), "is true; mlxd runs such models as encoders");
  }
  config.layers = fields.integer("block_count", kMaxLayers);
  config.hidden_size = fields.integer("embedding_length", kMaxHiddenSize);
  config.heads = fields.integer("attention.head_count", kMaxHeads);
  set_heads(config, file.name());
  config.intermediate_size = fields.integer("feed_forward_length", kMaxIntermediateSize);
  config.context_length = fields.integer("context_length", kMaxContextLength);
  const auto tokens = file.strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty() || tokens->size() > static_cast<std::size_t>(kMaxVocabSize)) {
    file.fail("\"tokenizer.ggml.tokens\"", "is missing, empty or too long");
  }
  config.vocab_size = static_cast<int>(tokens->size());
  config.norm_epsilon = fields.number("attention.layer_norm_epsilon", 0, 1);
  config.is_cross_encoder = file.integer(key("pooling_type"), 0, 4).value_or(0) == 4;
  if (architecture.gguf_finish) architecture.gguf_finish(config, file);
  check_config(config, file.name());
  return config;
}

}  // namespace mlxd
