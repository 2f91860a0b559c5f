// config.json, as transformers writes it and mlx-lm passes it on.
#include <algorithm>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "model/architectures/registry.h"
#include "model/config_limits.h"
#include "model/config_reader.h"
#include "model/encoder_config.h"
#include "model/json_experts.h"
#include "model/json_rope.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

void read_number(const JsonFields& fields, std::string_view field, double low, double high,
                 float& value) {
  if (const auto stated = fields.number(field, low, high)) value = static_cast<float>(*stated);
}

void read_heads(const JsonFields& fields, ModelConfig& config) {
  config.heads = fields.count("num_attention_heads", kMaxHeads, config.heads);
  if (config.kv_heads == 0) config.kv_heads = config.heads;
  config.kv_heads = fields.count("num_key_value_heads", kMaxHeads, config.kv_heads);
  if (config.head_dim == 0 && !fields.has("head_dim")) {
    if (config.hidden_size % config.heads != 0) {
      fields.fail("num_attention_heads",
                  fmt::format("is {}, which does not divide the hidden size {}", config.heads,
                              config.hidden_size));
    }
    config.head_dim = config.hidden_size / config.heads;
  }
  config.head_dim = fields.count("head_dim", kMaxHeadDim, config.head_dim);
}

// layer_types: which layers see only the sliding window, and which keep a state, that type being
// `recurrent_type`.
void read_layer_types(const JsonFields& fields, std::string_view recurrent_type,
                      ModelConfig& config) {
  const boost::json::array* types = fields.array("layer_types");
  if (types == nullptr) return;
  if (types->size() != config.attention.size()) {
    fields.fail("layer_types",
                fmt::format("has {} entries for {} layers", types->size(), config.layers));
  }
  for (std::size_t layer = 0; layer < types->size(); ++layer) {
    const boost::json::value& type = (*types)[layer];
    const auto* text = type.if_string();
    const bool windowed = text != nullptr && *text == "sliding_attention";
    if (text != nullptr && !recurrent_type.empty() && *text == recurrent_type) {
      config.attention[layer].recurrent = true;
      continue;
    }
    if (!windowed && (text == nullptr || (*text != "full_attention" && *text != "attention"))) {
      fields.fail_type("layer_types", type,
                       recurrent_type.empty()
                           ? "full_attention or sliding_attention"
                           : fmt::format("full_attention or {}", recurrent_type));
    }
    config.attention[layer].window = windowed ? config.sliding_window : 0;
  }
}

void require_false(const JsonFields& fields, std::string_view field, std::string_view why) {
  if (fields.boolean(field).value_or(false)) fields.fail(field, fmt::format("is true; {}", why));
}

// Biases that the configuration promises must be stored; what is stored is used.
void require_bias(const JsonFields& fields, std::string_view field, const WeightSource& weights,
                  std::string_view module) {
  const std::string name = fmt::format("model.layers.0.{}.bias", module);
  if (fields.boolean(field).value_or(false) && !weights.find(name)) {
    fields.fail(field, fmt::format("is true, and there is no tensor {}", in_quotes(name)));
  }
}

// Settings that transformers or mlx-lm read for these architectures and that change what a model
// computes: each must say what is computed here.
void check_settings(const JsonFields& fields, const Architecture& architecture,
                    const WeightSource& weights) {
  fields.require_one_of(architecture.activation_key, architecture.activations);
  // "vision": the tokens of one image see each other, and mlxd serves texts.
  const boost::json::value* both_ways = fields.find("use_bidirectional_attention");
  if (both_ways == nullptr || *both_ways != "vision") {
    require_false(fields, "use_bidirectional_attention", "mlxd's attention looks back alone");
  }
  require_false(fields, "rope_traditional", "mlxd pairs the halves of a head");
  require_false(fields, "is_encoder_decoder", "mlxd runs decoders");
  require_false(fields, "add_cross_attention", "mlxd runs decoders without an encoder");
  require_bias(fields, "attention_bias", weights, "self_attn.q_proj");
  require_bias(fields, "mlp_bias", weights, "mlp.gate_proj");
}

void read_vocab_size(const JsonFields& fields, const WeightSource& weights, ModelConfig& config) {
  if (const auto table = weights.find("model.embed_tokens.weight")) {
    config.vocab_size = static_cast<int>(std::min<std::int64_t>(table->rows, kMaxVocabSize));
  }
  config.vocab_size = fields.count("vocab_size", kMaxVocabSize, config.vocab_size);
}

const Architecture& architecture_of(const JsonFields& root) {
  const auto type = root.string("model_type");
  if (!type) root.fail("model_type", "is missing");
  if (const auto text = root.object("text_config")) {
    const std::string own = text->string("model_type").value_or("");
    for (const Architecture& each : architectures()) {
      if (std::ranges::count(each.text_types, own) > 0) return each;
    }
  }
  return architecture_of_model_type(*type, root.file());
}

}  // namespace

ModelConfig read_json_config(const JsonFields& root, const WeightSource& weights) {
  const Architecture& architecture = architecture_of(root);
  if (architecture.is_encoder) return read_json_encoder_config(root, architecture);
  const JsonFields fields = root.object("text_config").value_or(root);

  ModelConfig config;
  config.architecture = architecture.name;
  config.name = root.string("_name_or_path").value_or("");
  check_settings(fields, architecture, weights);
  if (architecture.json_defaults) architecture.json_defaults(config);
  config.layers = fields.count("num_hidden_layers", kMaxLayers, config.layers);
  config.hidden_size = fields.count("hidden_size", kMaxHiddenSize, config.hidden_size);
  read_heads(fields, config);
  config.intermediate_size =
      fields.count("intermediate_size", kMaxIntermediateSize, config.intermediate_size);
  config.context_length =
      fields.count("max_position_embeddings", kMaxContextLength, config.context_length);
  read_vocab_size(fields, weights, config);
  read_number(fields, "rms_norm_eps", 0, 1, config.norm_epsilon);
  read_number(fields, "attn_logit_softcapping", 0, 1e6, config.attention_softcap);
  read_number(fields, "final_logit_softcapping", 0, 1e6, config.logit_softcap);
  config.sliding_window = static_cast<int>(
      fields.integer("sliding_window", 0, kMaxContextLength).value_or(config.sliding_window));
  read_json_rope(fields, architecture.partial_rope, config);
  describe_layers(config);
  read_layer_types(fields, architecture.recurrent_type, config);
  if (architecture.experts) read_json_experts(fields, config);
  config.draft_layers =
      static_cast<int>(fields.integer("num_nextn_predict_layers", 0, kMaxLayers).value_or(0));
  if (architecture.json_finish) architecture.json_finish(config, fields);

  // Writers disagree on the default, the weights do not: without a head of its own it is tied.
  const auto tied = fields.has("tie_word_embeddings") ? fields.boolean("tie_word_embeddings")
                                                      : root.boolean("tie_word_embeddings");
  config.tied_embeddings = tied.value_or(!weights.find("lm_head.weight").has_value());
  check_config(config, root.file());
  return config;
}

}  // namespace mlxd
