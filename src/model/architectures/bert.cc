// BERT (Devlin et al. 2019) and those of its form, RoBERTa and XLM-RoBERTa (Liu et al. 2019,
// Conneau et al. 2020), as encoders of texts and as cross-encoders of pairs: MiniLM, bge, e5, gte.
#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "model/architectures/architecture.h"
#include "model/quoted.h"

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

class Builder {
 public:
  Builder(const ModelConfig& config, std::shared_ptr<const WeightSource> weights)
      : config_(config), weights_(std::move(weights)), names_(find_names()) {}

  ModelPlan build() {
    const int d = config_.hidden_size;
    ModelPlan plan;
    plan.config = config_;
    plan.weights = weights_;
    plan.embed.table = matrix(module(names_.words) + ".weight", config_.vocab_size, d);
    EncoderPlan& encoder = plan.encoder.emplace();
    encoder.positions = matrix(module(names_.positions) + ".weight", -1, d);
    encoder.first_position = config_.first_position;
    if (encoder.positions.rows < config_.first_position + config_.context_length) {
      fail(encoder.positions.name,
           fmt::format("has {} rows for positions {} to {}", encoder.positions.rows,
                       config_.first_position, config_.first_position + config_.context_length));
    }
    encoder.types = read_types(d);
    encoder.embedding_norm = norm(module(names_.norm), d);
    encoder.heads = config_.heads;
    encoder.head_dim = config_.head_dim;
    for (int i = 0; i < config_.layers; ++i) encoder.layers.push_back(layer(i));
    if (weights_->find(weight_of_layer(config_.layers))) {
      fail(weight_of_layer(config_.layers),
           fmt::format("is there, but the configuration has {} layers", config_.layers));
    }
    if (config_.is_cross_encoder) encoder.classifier = classifier(d);
    return plan;
  }

 private:
  Names find_names() const {
    if (weights_->find("model.embed_tokens.weight")) return gguf_names();
    for (const char* prefix : {"", "bert.", "roberta.", "model."}) {
      if (weights_->find(fmt::format("{}{}.weight", prefix, kWords))) return folder_names(prefix);
    }
    fail(fmt::format("{}.weight", kWords), "is missing");
  }

  [[noreturn]] void fail(const std::string& name, std::string_view problem) const {
    throw LoadError(
        fmt::format("{}: tensor {} {}", weights_->description(), in_quotes(name), problem));
  }

  std::string module(std::string_view name) const {
    return fmt::format("{}{}", names_.prefix, name);
  }
  std::string module(int layer, std::string_view part) const {
    return fmt::format("{}{}.{}.{}", names_.prefix, names_.layer, layer, part);
  }
  std::string weight_of_layer(int layer) const {
    return module(layer, "attention.self.query.weight");
  }

  // Of any number of rows with `rows` -1.
  Tensor matrix(const std::string& name, std::int64_t rows, std::int64_t columns) const {
    auto tensor = weights_->find(name);
    if (!tensor) fail(name, "is missing");
    if ((rows >= 0 && tensor->rows != rows) || tensor->columns != columns) {
      fail(name, fmt::format("has shape [{}, {}], expected [{}, {}]", tensor->rows, tensor->columns,
                             rows >= 0 ? fmt::format("{}", rows) : "any", columns));
    }
    return *std::move(tensor);
  }

  std::vector<float> vector(const std::string& name, int size) const {
    return dequantize(matrix(name, 1, size));
  }

  LayerNorm norm(const std::string& name, int size) const {
    return {vector(name + ".weight", size), vector(name + ".bias", size), config_.norm_epsilon};
  }

  Linear linear(const std::string& name, int out, int in) const {
    return {matrix(name + ".weight", out, in), vector(name + ".bias", out)};
  }

  // Without types, and where a model has one alone, both texts of a pair are the same.
  std::vector<float> read_types(int size) const {
    const std::string name = module(names_.types) + ".weight";
    std::vector<float> types(2 * static_cast<std::size_t>(size));
    if (!weights_->find(name)) return types;
    const Tensor stored = matrix(name, -1, size);
    if (stored.rows < 1) fail(name, "is empty");
    for (std::size_t type = 0; type < 2; ++type) {
      const std::int64_t row =
          std::min<std::int64_t>(static_cast<std::int64_t>(type), stored.rows - 1);
      dequantize_rows(stored, row, 1,
                      std::span(types).subspan(type * static_cast<std::size_t>(size),
                                               static_cast<std::size_t>(size)));
    }
    return types;
  }

  EncoderLayer layer(int i) const {
    const int d = config_.hidden_size, f = config_.intermediate_size;
    EncoderLayer layer;
    layer.query = linear(module(i, "attention.self.query"), d, d);
    layer.key = linear(module(i, "attention.self.key"), d, d);
    layer.value = linear(module(i, "attention.self.value"), d, d);
    layer.output = linear(module(i, "attention.output.dense"), d, d);
    layer.attention_norm = norm(module(i, "attention.output.LayerNorm"), d);
    layer.up = linear(module(i, "intermediate.dense"), f, d);
    layer.down = linear(module(i, "output.dense"), d, f);
    layer.output_norm = norm(module(i, "output.LayerNorm"), d);
    return layer;
  }

  // The head stands beside the encoder, but for BERT's pooler, which is a part of it.
  Classifier classifier(int size) const {
    const bool in_encoder = names_.dense == "pooler.dense";
    const std::string dense(names_.dense), score(names_.score);
    Classifier classifier;
    classifier.dense = linear(in_encoder ? module(dense) : dense, size, size);
    classifier.weight = vector(score + ".weight", size);
    classifier.bias = vector(score + ".bias", 1)[0];
    return classifier;
  }

  const ModelConfig& config_;
  const std::shared_ptr<const WeightSource> weights_;
  const Names names_;
};

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  return Builder(config, std::move(weights)).build();
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
