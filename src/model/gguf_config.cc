#include <algorithm>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "model/architectures/registry.h"
#include "model/config_limits.h"
#include "model/config_reader.h"
#include "model/encoder_config.h"
#include "model/gguf_fields.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

int read_vocab_size(const GgufFile& file, const GgufFields& fields) {
  if (const auto tokens = file.strings("tokenizer.ggml.tokens")) {
    if (tokens->empty() || tokens->size() > static_cast<std::size_t>(kMaxVocabSize)) {
      file.fail("\"tokenizer.ggml.tokens\"",
                fmt::format("has {} entries; 1 to {} are allowed", tokens->size(), kMaxVocabSize));
    }
    return static_cast<int>(tokens->size());
  }
  return fields.integer("vocab_size", kMaxVocabSize);
}

RopeScaling read_scaling(const GgufFile& file, const GgufFields& fields, int context_length) {
  RopeScaling scaling;
  // llama.cpp: the factor also goes by its older name, 0 is none, and a factor alone is linear.
  auto factor = file.number(fields.key("rope.scaling.factor"), 0, 1e6);
  if (!factor) factor = file.number(fields.key("rope.scale_linear"), 0, 1e6);
  if (factor && *factor != 0) {
    if (*factor < 1e-3) file.fail("the rope scaling factor", fmt::format("is {}", *factor));
    scaling.factor = static_cast<float>(*factor);
  }
  const auto type = file.string(fields.key("rope.scaling.type")).value_or("linear");
  if (type == "linear") {
    if (scaling.factor != 1) scaling.kind = RopeScaling::Kind::linear;
  } else if (type == "yarn") {
    scaling.kind = RopeScaling::Kind::yarn;
  } else if (type == "none") {
    scaling.factor = 1;
  } else if (type != "longrope") {
    file.fail(in_quotes(fields.key("rope.scaling.type")),
              fmt::format("is {}; mlxd knows none, linear, yarn and longrope", in_quotes(type)));
  }
  scaling.original_context_length =
      fields.optional_integer("rope.scaling.original_context_length", 1, kMaxContextLength)
          .value_or(context_length);
  scaling.beta_fast = fields.number("rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32);
  scaling.beta_slow = fields.number("rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1);
  // llama.cpp multiplies its yarn magnitude by this factor; ours replaces it.
  if (const auto magnitude = file.number(fields.key("rope.scaling.attn_factor"), 1e-3, 1e3)) {
    const bool yarn = scaling.kind == RopeScaling::Kind::yarn;
    scaling.attention_factor =
        static_cast<float>(*magnitude) * (yarn ? 0.1f * std::log(scaling.factor) + 1.0f : 1.0f);
  }
  return scaling;
}

// The divisors of the frequencies that a tensor holds, one a pair; none when it is not there.
std::vector<float> read_divisors(const GgufFile& file, const WeightSource& weights,
                                 std::string_view name, int pairs) {
  const auto tensor = weights.find(name);
  if (!tensor) return {};
  if (tensor->rows != 1 || tensor->columns != pairs) {
    file.fail("tensor " + in_quotes(name), fmt::format("has shape [{}, {}], expected [{}]",
                                                       tensor->rows, tensor->columns, pairs));
  }
  return dequantize(*tensor);
}

void read_rope(const GgufFile& file, const GgufFields& fields, const WeightSource& weights,
               bool partial, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  rope.theta = fields.number("rope.freq_base", 1, 1e12, rope.theta);
  rope.scaling = read_scaling(file, fields, config.context_length);
  rope.dimensions =
      fields.optional_integer("rope.dimension_count", 1, kMaxHeadDim).value_or(config.head_dim);
  if (rope.dimensions != config.head_dim && !partial) {
    file.fail(in_quotes(fields.key("rope.dimension_count")),
              fmt::format("is {}; mlxd rotates whole heads of {} in this architecture",
                          rope.dimensions, config.head_dim));
  }
  const auto divisors = [&](std::string_view name) {
    return read_divisors(file, weights, name, rope.dimensions / 2);
  };
  rope.divisors = divisors("rope_freqs.weight");
  if (rope.divisors.empty()) {
    const bool long_context = config.context_length > rope.scaling.original_context_length;
    rope.divisors =
        divisors(long_context ? "rope_factors_long.weight" : "rope_factors_short.weight");
  }
}

// Settings that change what a model computes and that have one value here.
void check_settings(const GgufFile& file, const GgufFields& fields) {
  const auto type = file.string("general.type").value_or("model");
  if (type != "model") {
    file.fail("\"general.type\"", fmt::format("is {}; mlxd runs models", in_quotes(type)));
  }
  if (!file.boolean(fields.key("attention.causal")).value_or(true)) {
    file.fail(in_quotes(fields.key("attention.causal")),
              "is false; mlxd's attention looks back alone");
  }
  const auto require = [&](std::string_view field, double neutral) {
    const double value = file.number(fields.key(field), -1e30, 1e30).value_or(neutral);
    if (value != neutral) {
      file.fail(
          in_quotes(fields.key(field)),
          fmt::format("is {}; mlxd computes this architecture with {} alone", value, neutral));
    }
  };
  require("attention.clamp_kqv", 0);
  require("attention.max_alibi_bias", 0);
  require("rope.scaling.yarn_ext_factor", 1);
}

constexpr int kMaxShared = 64;

// The experts of a model that has some (llama.cpp, llama-hparams.h). What a file leaves out is as
// the architecture's defaults have it.
void read_experts(const GgufFile& file, const GgufFields& fields, bool known, ModelConfig& config) {
  ExpertsConfig& experts = config.experts;
  experts.count = fields.optional_integer("expert_count", 0, kMaxExperts).value_or(0);
  if (experts.count == 0) return;
  if (!known) {
    file.fail(in_quotes(fields.key("expert_count")),
              fmt::format("is {}; mlxd computes this architecture without experts", experts.count));
  }
  experts.chosen = fields.integer("expert_used_count", kMaxExperts);
  const auto count = [&](std::string_view field, std::int64_t high, int& value) {
    value = fields.optional_integer(field, 0, high).value_or(value);
  };
  count("expert_feed_forward_length", kMaxIntermediateSize, experts.intermediate_size);
  if (experts.intermediate_size == 0) experts.intermediate_size = config.intermediate_size;
  count("expert_shared_feed_forward_length", kMaxIntermediateSize,
        experts.shared_intermediate_size);
  // Some count the shared experts, whose hidden layers are one.
  int shared = 0;
  count("expert_shared_count", kMaxShared, shared);
  if (experts.shared_intermediate_size == 0) {
    experts.shared_intermediate_size = shared * experts.intermediate_size;
  }
  experts.groups =
      fields.optional_integer("expert_group_count", 1, kMaxExperts).value_or(experts.groups);
  experts.chosen_groups = fields.optional_integer("expert_group_used_count", 1, kMaxExperts)
                              .value_or(experts.chosen_groups);
  experts.normalised = file.boolean(fields.key("expert_weights_norm")).value_or(experts.normalised);
  // Written as 0 where there is none.
  const float scale = fields.number("expert_weights_scale", 0, 1e6, experts.scale);
  experts.scale = scale == 0 ? 1 : scale;
  constexpr ExpertScoring kScoring[] = {ExpertScoring::softmax, ExpertScoring::sigmoid,
                                        ExpertScoring::softmax_chosen,
                                        ExpertScoring::sqrt_softplus};
  if (const auto function = fields.optional_integer("expert_gating_func", 1, 4)) {
    experts.scoring = kScoring[*function - 1];
  }
}

}  // namespace

ModelConfig read_gguf_config(const GgufFile& file, const WeightSource& weights) {
  const auto name = file.string("general.architecture");
  if (!name) file.fail("\"general.architecture\"", "is missing");
  const Architecture& architecture = architecture_of_gguf(*name, file.name());
  if (architecture.is_encoder) return read_gguf_encoder_config(file, architecture);
  const GgufFields fields(file, *name);

  check_settings(file, fields);
  ModelConfig config;
  config.architecture = architecture.name;
  config.name = file.string("general.name").value_or("");
  if (architecture.gguf_defaults) architecture.gguf_defaults(config);
  config.layers = fields.integer("block_count", kMaxLayers);
  config.hidden_size = fields.integer("embedding_length", kMaxHiddenSize);
  config.heads = fields.integer("attention.head_count", kMaxHeads);
  // Layers without KV heads keep a state.
  const int least = architecture.recurrent_type.empty() ? 1 : 0;
  const auto kv_heads =
      fields.of_layers("attention.head_count_kv", least, kMaxHeads, config.layers);
  config.kv_heads = kv_heads ? std::max(1, std::ranges::max(*kv_heads)) : config.heads;
  const auto head_dim = fields.optional_integer("attention.key_length", 1, kMaxHeadDim);
  if (!head_dim && config.hidden_size % config.heads != 0) {
    file.fail(in_quotes(fields.key("attention.head_count")),
              fmt::format("is {}, which does not divide the embedding length {}", config.heads,
                          config.hidden_size));
  }
  config.head_dim = head_dim.value_or(config.hidden_size / config.heads);
  const int value_dim =
      fields.optional_integer("attention.value_length", 1, kMaxHeadDim).value_or(config.head_dim);
  if (value_dim != config.head_dim && !architecture.latent) {
    file.fail(in_quotes(fields.key("attention.value_length")),
              fmt::format("is {}, unlike the key length {}", value_dim, config.head_dim));
  }
  if (const auto sizes =
          fields.of_layers("feed_forward_length", least, kMaxIntermediateSize, config.layers)) {
    config.intermediate_size = std::ranges::max(*sizes);
    if (std::ranges::count(*sizes, sizes->front()) < config.layers) {
      config.intermediate_sizes = *sizes;
    }
  }
  if (config.intermediate_size == 0) {
    file.fail(in_quotes(fields.key("feed_forward_length")), "is missing");
  }
  config.vocab_size = read_vocab_size(file, fields);
  config.context_length = fields.integer("context_length", kMaxContextLength);
  config.norm_epsilon = fields.number("attention.layer_norm_rms_epsilon", 0, 1);
  config.sliding_window =
      fields.optional_integer("attention.sliding_window", 0, kMaxContextLength).value_or(0);
  config.attention_softcap = fields.number("attn_logit_softcapping", 0, 1e6, 0);
  config.logit_softcap = fields.number("final_logit_softcapping", 0, 1e6, 0);
  config.tied_embeddings = !weights.find("lm_head.weight").has_value();
  read_rope(file, fields, weights, architecture.partial_rope || architecture.latent, config);
  // Heads that guess further tokens are layers behind the others, and counted with them.
  config.draft_layers =
      fields.optional_integer("nextn_predict_layers", 0, config.layers - 1).value_or(0);
  config.layers -= config.draft_layers;
  if (!config.intermediate_sizes.empty()) config.intermediate_sizes.resize(config.layers);
  describe_layers(config);
  for (int layer = 0; kv_heads && layer < config.layers; ++layer) {
    AttentionConfig& attention = config.attention[layer];
    attention.recurrent = (*kv_heads)[layer] == 0;
    if (!attention.recurrent) attention.kv_heads = (*kv_heads)[layer];
  }
  read_experts(file, fields, architecture.experts, config);
  if (architecture.gguf_finish) architecture.gguf_finish(config, file);
  check_config(config, file.name());
  return config;
}

}  // namespace mlxd
