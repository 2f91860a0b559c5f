// Nomic BERT (Nussbaum et al. 2024): BERT whose heads turn, with gated hidden layers and without
// biases in its matrices: nomic-embed-text 1 and 1.5.
#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "model/architectures/architecture.h"
#include "model/architectures/encoder_builder.h"
#include "model/config_limits.h"
#include "model/gguf_fields.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

constexpr int kTrainedPositions = 2048;
constexpr float kUsualTheta = 1000;
constexpr std::string_view kWords = "embeddings.word_embeddings";

// What files call the modules of a model and of a layer.
struct Names {
  std::string words, types, norm, layers;
};

Names names_of(const EncoderBuilder& builder) {
  if (builder.has("model.embed_tokens.weight")) {  // GGUF, as gguf_weights.h leaves them
    return {"model.embed_tokens", "token_types", "token_embd_norm", "model.layers"};
  }
  const std::string prefix =
      builder.prefix_of(fmt::format("{}.weight", kWords), {"", "bert.", "nomic_bert."});
  return {fmt::format("{}{}", prefix, kWords), prefix + "embeddings.token_type_embeddings",
          prefix + "emb_ln", prefix + "encoder.layers"};
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  EncoderBuilder builder(config, std::move(weights));
  const Names names = names_of(builder);
  const int d = config.hidden_size, f = config.intermediate_size;
  const auto module = [&](int layer, std::string_view part) {
    return fmt::format("{}.{}.{}", names.layers, layer, part);
  };
  builder.set_words(names.words);
  builder.encoder().types = builder.types(names.types);
  builder.encoder().embedding_norm = builder.norm(names.norm);
  for (int i = 0; i < config.layers; ++i) {
    EncoderLayer layer;
    builder.set_fused_attention(module(i, "attn.Wqkv"), layer);
    builder.set_positions(i, layer);
    layer.output = builder.linear(module(i, "attn.out_proj"), d, d);
    layer.attention_norm = builder.norm(module(i, "norm1"));
    layer.up = builder.linear(module(i, "mlp.fc11"), f, d);
    layer.gate = builder.linear(module(i, "mlp.fc12"), f, d);
    layer.down = builder.linear(module(i, "mlp.fc2"), d, f);
    layer.activation = Activation::silu;
    layer.output_norm = builder.norm(module(i, "norm2"));
    builder.add(std::move(layer));
  }
  return builder.finish(module(config.layers, "attn.Wqkv") + ".weight");
}

// Every layer sees all and turns by `rope`.
void turn_heads(ModelConfig& config, const RopeConfig& rope) {
  AttentionConfig attention;
  attention.kv_heads = config.heads;
  attention.head_dim = config.head_dim;
  attention.rope = rope;
  config.attention.assign(static_cast<std::size_t>(config.layers), attention);
}

// The model's own code writes rotary_emb_base, transformers rope_parameters.
RopeConfig json_rope(const JsonFields& fields, int head_dim) {
  const auto parameters = fields.object("rope_parameters");
  if (parameters) {
    static constexpr std::string_view kDefault[] = {"default"};
    parameters->require_one_of("rope_type", kDefault);
  }
  const auto theta = parameters ? parameters->number("rope_theta", 1, 1e12)
                                : fields.number("rotary_emb_base", 1, 1e12);
  const double part = fields.number("rotary_emb_fraction", 0, 1).value_or(1);
  RopeConfig rope;
  rope.theta = static_cast<float>(theta.value_or(kUsualTheta));
  rope.dimensions = static_cast<int>(head_dim * part);
  return rope;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  fields.require_one_of("hidden_act", kSilu);
  for (const char* field :
       {"prenorm", "use_rms_norm", "parallel_block", "causal", "rotary_emb_interleaved"}) {
    if (fields.boolean(field).value_or(false)) {
      fields.fail(field, "is true; mlxd runs nomic_bert without it");
    }
  }
  if (fields.has("rotary_emb_scale_base")) {
    fields.fail("rotary_emb_scale_base", "is set; mlxd turns heads without scaling them");
  }
  if (const auto every = fields.integer("moe_every_n_layers", 0, kMaxLayers).value_or(0)) {
    fields.fail("moe_every_n_layers",
                fmt::format("is {}; mlxd runs nomic_bert without experts", every));
  }
  if (config.is_cross_encoder) {
    fields.fail("architectures", "names a model that scores pairs; mlxd runs those of bert");
  }
  const auto head_dim = fields.integer("head_dim", 1, kMaxHeadDim).value_or(config.head_dim);
  if (head_dim != config.head_dim) {
    fields.fail("head_dim", fmt::format("is {}; {} heads of {} numbers have {}", head_dim,
                                        config.heads, config.hidden_size, config.head_dim));
  }
  // With a factor, texts longer than those it was trained with turn by angles that depend on the
  // text's length: they are refused as too long.
  if (fields.has("rotary_scaling_factor")) {
    const auto trained =
        fields.count("max_trained_positions", kMaxContextLength, kTrainedPositions);
    config.context_length = std::min(config.context_length, trained);
  }
  turn_heads(config, json_rope(fields, config.head_dim));
}

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  const GgufFields fields(file, "nomic-bert");
  if (config.is_cross_encoder) {
    file.fail(in_quotes(fields.key("pooling_type")),
              "is 4, a score of pairs; mlxd runs those of bert");
  }
  RopeConfig rope;
  rope.theta = fields.number("rope.freq_base", 1, 1e12, kUsualTheta);
  rope.dimensions =
      fields.optional_integer("rope.dimension_count", 1, kMaxHeadDim).value_or(config.head_dim);
  turn_heads(config, rope);
}

constexpr std::string_view kModelTypes[] = {"nomic_bert"};
constexpr std::string_view kSwiglu[] = {"swiglu"};
constexpr GgufName kGgufNames[] = {{"attn_qkv", "attn.Wqkv"},     {"attn_output", "attn.out_proj"},
                                   {"attn_output_norm", "norm1"}, {"ffn_up", "mlp.fc11"},
                                   {"ffn_gate", "mlp.fc12"},      {"ffn_down", "mlp.fc2"},
                                   {"layer_output_norm", "norm2"}};

}  // namespace

Architecture nomic_bert_architecture() {
  return {
      .name = "nomic_bert",
      .model_types = kModelTypes,
      .gguf_name = "nomic-bert",
      .gguf_names = kGgufNames,
      .is_encoder = true,
      .activation_key = "activation_function",
      .activations = kSwiglu,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
