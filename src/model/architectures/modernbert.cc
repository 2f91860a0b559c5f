// ModernBERT (Warner et al. 2024): norms before what they are of, gated hidden layers, and most
// layers see a window of their text: gte-modernbert, granite-embedding-r2, nomic's
// modernbert-embed.
#include <string>
#include <utility>
#include <vector>

#include <boost/json/array.hpp>
#include <fmt/format.h>

#include "model/architectures/architecture.h"
#include "model/architectures/encoder_builder.h"
#include "model/config_limits.h"
#include "model/gguf_fields.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

constexpr int kUsualPattern = 3;
constexpr float kUsualTheta = 160000, kUsualLocalTheta = 10000;
constexpr std::string_view kWords = "embeddings.tok_embeddings";

// What files call the modules of a model and of a layer.
struct Names {
  std::string words, embedding_norm, layers, norm;
};

Names names_of(const EncoderBuilder& builder) {
  if (builder.has("model.embed_tokens.weight")) {  // GGUF, as gguf_weights.h leaves them
    return {"model.embed_tokens", "token_embd_norm", "model.layers", "model.norm"};
  }
  const std::string prefix =
      builder.prefix_of(fmt::format("{}.weight", kWords), {"", "model.", "modernbert."});
  // "layers" alone is found under its usual prefix (safetensors_weights.cc).
  const std::string layers = prefix.empty() ? "model.layers" : prefix + "layers";
  return {fmt::format("{}{}", prefix, kWords), prefix + "embeddings.norm", layers,
          prefix + "final_norm"};
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  EncoderBuilder builder(config, std::move(weights));
  const Names names = names_of(builder);
  const int d = config.hidden_size, f = config.intermediate_size;
  const auto module = [&](int layer, std::string_view part) {
    return fmt::format("{}.{}.{}", names.layers, layer, part);
  };
  builder.set_words(names.words);
  EncoderPlan& encoder = builder.encoder();
  encoder.types.assign(2 * static_cast<std::size_t>(d), 0.0f);
  encoder.embedding_norm = builder.norm(names.embedding_norm);
  encoder.norms = EncoderNorms::beside_stream;
  // The first layer reads what the embedding's norm gives.
  if (builder.has(module(0, "attn_norm") + ".weight")) {
    builder.fail(module(0, "attn_norm") + ".weight",
                 "is there; mlxd knows no norm before the "
                 "first layer");
  }
  for (int i = 0; i < config.layers; ++i) {
    const bool last = i + 1 == config.layers;
    EncoderLayer layer;
    builder.set_fused_attention(module(i, "attn.Wqkv"), layer);
    builder.set_positions(i, layer);
    layer.output = builder.linear(module(i, "attn.Wo"), d, d);
    layer.attention_norm = builder.norm(module(i, "mlp_norm"));
    auto [gate, up] = builder.gate_and_up(module(i, "mlp.Wi"));
    layer.gate = std::move(gate);
    layer.up = std::move(up);
    layer.down = builder.linear(module(i, "mlp.Wo"), d, f);
    layer.activation = config.activation;
    layer.output_norm = builder.norm(last ? names.norm : module(i + 1, "attn_norm"));
    builder.add(std::move(layer));
  }
  return builder.finish(module(config.layers, "attn.Wqkv") + ".weight");
}

// Which layers see a window.
using Local = std::vector<bool>;

// Every `pattern`-th layer from the first on sees all.
Local local_by_pattern(int layers, int pattern) {
  Local local;
  for (int i = 0; i < layers; ++i) local.push_back(i % pattern != 0);
  return local;
}

// layer_types, or the pattern in older files.
Local json_local(const JsonFields& fields, int layers) {
  const boost::json::array* types = fields.array("layer_types");
  if (types == nullptr) {
    return local_by_pattern(layers,
                            fields.count("global_attn_every_n_layers", kMaxLayers, kUsualPattern));
  }
  if (types->size() != static_cast<std::size_t>(layers)) {
    fields.fail("layer_types", fmt::format("has {} entries for {} layers", types->size(), layers));
  }
  Local local;
  for (const boost::json::value& type : *types) {
    const auto* text = type.if_string();
    if (text == nullptr || (*text != "full_attention" && *text != "sliding_attention")) {
      fields.fail_type("layer_types", type, "full_attention or sliding_attention");
    }
    local.push_back(*text == "sliding_attention");
  }
  return local;
}

// `window`: tokens on either side. The layers that see one turn by a theta of their own.
void describe_layers(ModelConfig& config, const Local& local_layers, int window, float theta,
                     float local_theta) {
  for (const bool local : local_layers) {
    AttentionConfig& attention = config.attention.emplace_back();
    attention.kv_heads = config.heads;
    attention.head_dim = config.head_dim;
    attention.window = local ? window : 0;
    RopeConfig& rope = attention.rope.emplace();
    rope.theta = local ? local_theta : theta;
    rope.dimensions = config.head_dim;
  }
}

Activation activation_of(std::string_view name) {
  return name == "silu" ? Activation::silu : Activation::gelu;
}

// Of the layers of one kind: rope_parameters, or a field in older files.
float json_theta(const JsonFields& fields, std::string_view kind, std::string_view older,
                 float usual) {
  const auto kinds = fields.object("rope_parameters");
  const auto own = kinds ? kinds->object(kind) : std::nullopt;
  if (own) {
    static constexpr std::string_view kDefault[] = {"default"};
    own->require_one_of("rope_type", kDefault);
  }
  const auto theta = own ? own->number("rope_theta", 1, 1e12) : fields.number(older, 1, 1e12);
  return static_cast<float>(theta.value_or(usual));
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  if (config.is_cross_encoder) {
    fields.fail("architectures", "names a model that scores pairs; mlxd runs those of bert");
  }
  if (fields.has("rope_scaling")) {
    fields.fail("rope_scaling", "is set; mlxd runs modernbert without it");
  }
  config.activation = activation_of(fields.string("hidden_activation").value_or("gelu"));
  const auto span = fields.integer("local_attention", 2, kMaxContextLength).value_or(128);
  describe_layers(config, json_local(fields, config.layers), static_cast<int>(span) / 2,
                  json_theta(fields, "full_attention", "global_rope_theta", kUsualTheta),
                  json_theta(fields, "sliding_attention", "local_rope_theta", kUsualLocalTheta));
}

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  const GgufFields fields(file, "modern-bert");
  if (config.is_cross_encoder) {
    file.fail(in_quotes(fields.key("pooling_type")),
              "is 4, a score of pairs; mlxd runs those of bert");
  }
  const std::string key = fields.key("hidden_activation");
  const std::string activation(file.string(key).value_or("gelu"));
  if (activation != "gelu" && activation != "silu") {
    file.fail(in_quotes(key), fmt::format("is {}; mlxd runs gelu and silu", in_quotes(activation)));
  }
  config.activation = activation_of(activation);
  const int pattern = fields.optional_integer("attention.sliding_window_pattern", 1, kMaxLayers)
                          .value_or(kUsualPattern);
  const int span =
      fields.optional_integer("attention.sliding_window", 2, kMaxContextLength).value_or(0);
  const float theta = fields.number("rope.freq_base", 1, 1e12, kUsualTheta);
  const float local = fields.number("rope.freq_base_swa", 1, 1e12, kUsualLocalTheta);
  // Without a window all layers are alike.
  describe_layers(config, local_by_pattern(config.layers, span > 0 ? pattern : 1), span / 2, theta,
                  local);
}

constexpr std::string_view kModelTypes[] = {"modernbert"};
constexpr std::string_view kActivations[] = {"gelu", "silu"};
constexpr GgufName kGgufNames[] = {{"attn_norm", "attn_norm"}, {"attn_qkv", "attn.Wqkv"},
                                   {"attn_output", "attn.Wo"}, {"ffn_norm", "mlp_norm"},
                                   {"ffn_up", "mlp.Wi"},       {"ffn_down", "mlp.Wo"}};

}  // namespace

Architecture modernbert_architecture() {
  return {
      .name = "modernbert",
      .model_types = kModelTypes,
      .gguf_name = "modern-bert",
      .gguf_names = kGgufNames,
      .is_encoder = true,
      .activation_key = "hidden_activation",
      .activations = kActivations,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
