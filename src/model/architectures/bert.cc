// BERT (Devlin et al. 2019) and those of its form, RoBERTa and XLM-RoBERTa (Liu et al. 2019,
// Conneau et al. 2020), as encoders of texts and as cross-encoders of pairs: MiniLM, bge, e5, gte.
#include <string>
#include <utility>

#include <fmt/format.h>

#include "model/architectures/architecture.h"
#include "model/architectures/encoder_builder.h"

namespace mlxd {
namespace {

// What files call the modules of a model and of a layer.
struct Names {
  std::string prefix;  // of all
  std::string_view words, positions, types, norm;
  std::string_view layer;  // before a layer's number
  std::string_view dense, score;
};

constexpr std::string_view kWords = "embeddings.word_embeddings";

// GGUF's own where they are not Llama's, as gguf_weights.h leaves them.
Names gguf_names() {
  return {.prefix = "",
          .words = "model.embed_tokens",
          .positions = "position_embd",
          .types = "token_types",
          .norm = "token_embd_norm",
          .layer = "model.layers",
          .dense = "cls",
          .score = "cls.output"};
}

// Models with a head on top have the encoder under a name; a RoBERTa's head is unlike BERT's.
Names folder_names(std::string prefix) {
  const bool roberta = prefix == "roberta.";
  return {.prefix = std::move(prefix),
          .words = kWords,
          .positions = "embeddings.position_embeddings",
          .types = "embeddings.token_type_embeddings",
          .norm = "embeddings.LayerNorm",
          .layer = "encoder.layer",
          .dense = roberta ? "classifier.dense" : "pooler.dense",
          .score = roberta ? "classifier.out_proj" : "classifier"};
}

// A BERT's matrices and norms all have biases.
constexpr EncoderBuilder::Bias kBias = EncoderBuilder::Bias::required;

class BertBuilder : EncoderBuilder {
 public:
  BertBuilder(const ModelConfig& config, std::shared_ptr<const WeightSource> weights)
      : EncoderBuilder(config, std::move(weights)), config_(config), names_(find_names()) {}

  ModelPlan build() {
    set_words(module(names_.words));
    EncoderPlan& plan = encoder();
    plan.positions = learnt_positions(module(names_.positions) + ".weight");
    plan.types = types(module(names_.types));
    plan.embedding_norm = norm(module(names_.norm), kBias);
    for (int i = 0; i < config_.layers; ++i) add(layer(i));
    if (config_.is_cross_encoder) plan.classifier = classifier(config_.hidden_size);
    return finish(module(config_.layers, "attention.self.query") + ".weight");
  }

 private:
  Names find_names() const {
    if (has("model.embed_tokens.weight")) return gguf_names();
    return folder_names(
        prefix_of(fmt::format("{}.weight", kWords), {"", "bert.", "roberta.", "model."}));
  }

  std::string module(std::string_view name) const {
    return fmt::format("{}{}", names_.prefix, name);
  }
  std::string module(int layer, std::string_view part) const {
    return fmt::format("{}{}.{}.{}", names_.prefix, names_.layer, layer, part);
  }

  Tensor learnt_positions(const std::string& name) const {
    Tensor positions = matrix(name, -1, config_.hidden_size);
    const int end = config_.first_position + config_.context_length;
    if (positions.rows < end) {
      fail(name, fmt::format("has {} rows for positions {} to {}", positions.rows,
                             config_.first_position, end));
    }
    return positions;
  }

  EncoderLayer layer(int i) const {
    const int d = config_.hidden_size, f = config_.intermediate_size;
    EncoderLayer layer;
    layer.query = linear(module(i, "attention.self.query"), d, d, kBias);
    layer.key = linear(module(i, "attention.self.key"), d, d, kBias);
    layer.value = linear(module(i, "attention.self.value"), d, d, kBias);
    layer.output = linear(module(i, "attention.output.dense"), d, d, kBias);
    layer.attention_norm = norm(module(i, "attention.output.LayerNorm"), kBias);
    layer.up = linear(module(i, "intermediate.dense"), f, d, kBias);
    layer.down = linear(module(i, "output.dense"), d, f, kBias);
    layer.output_norm = norm(module(i, "output.LayerNorm"), kBias);
    return layer;
  }

  // The head stands beside the encoder, but for BERT's pooler, which is a part of it.
  Classifier classifier(int size) const {
    const bool in_encoder = names_.dense == "pooler.dense";
    const std::string dense(names_.dense), score(names_.score);
    Classifier classifier;
    classifier.dense = linear(in_encoder ? module(dense) : dense, size, size, kBias);
    classifier.weight = vector(score + ".weight", size);
    classifier.bias = vector(score + ".bias", 1)[0];
    return classifier;
  }

  const ModelConfig& config_;
  const Names names_;
};

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  return BertBuilder(config, std::move(weights)).build();
}

// transformers begins to count positions behind the padding's.
void json_finish(ModelConfig& config, const JsonFields& fields) {
  if (fields.string("model_type").value_or("") == "bert") return;
  const auto padding = fields.integer("pad_token_id", 0, config.context_length).value_or(1);
  config.first_position = static_cast<int>(padding) + 1;
  config.context_length -= config.first_position;
  if (config.context_length < 1) {
    fields.fail("max_position_embeddings", "leaves no position for a text");
  }
}

constexpr std::string_view kModelTypes[] = {"bert", "roberta", "xlm-roberta"};
constexpr std::string_view kGelu[] = {"gelu"};
constexpr GgufName kGgufNames[] = {{"attn_q", "attention.self.query"},
                                   {"attn_k", "attention.self.key"},
                                   {"attn_v", "attention.self.value"},
                                   {"attn_output", "attention.output.dense"},
                                   {"attn_output_norm", "attention.output.LayerNorm"},
                                   {"ffn_up", "intermediate.dense"},
                                   {"ffn_down", "output.dense"},
                                   {"layer_output_norm", "output.LayerNorm"}};

}  // namespace

Architecture bert_architecture() {
  return {
      .name = "bert",
      .model_types = kModelTypes,
      .gguf_name = "bert",
      .gguf_names = kGgufNames,
      .is_encoder = true,
      .activations = kGelu,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
