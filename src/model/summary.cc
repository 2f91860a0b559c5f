#include "model/summary.h"

#include <algorithm>
#include <map>
#include <variant>

namespace mlxd {
namespace {

std::int64_t numbers_in(const Tensor& tensor) { return tensor.rows * tensor.columns; }

std::int64_t numbers_in(const Linear& linear) {
  return linear.out() * linear.weight.columns + static_cast<std::int64_t>(linear.bias.size());
}

std::int64_t numbers_in(const RmsNorm& norm) {
  return static_cast<std::int64_t>(norm.weight.size());
}

std::int64_t numbers_in(const std::optional<RmsNorm>& norm) { return norm ? numbers_in(*norm) : 0; }

// Of a block what is beside its products.
std::int64_t others_in(const AttentionBlock& block) {
  return numbers_in(block.input_norm) + numbers_in(block.query_norm) + numbers_in(block.post_norm) +
         (block.shares_cache ? 0 : numbers_in(block.key_norm));
}

std::int64_t others_in(const LatentAttentionBlock& block) {
  return numbers_in(block.input_norm) + numbers_in(block.query_norm) +
         numbers_in(block.latent_norm);
}

std::int64_t others_in(const FeedForwardBlock& block) {
  return numbers_in(block.input_norm) + numbers_in(block.post_norm);
}

std::int64_t others_in(const ExpertsBlock& block) {
  std::int64_t count =
      numbers_in(block.input_norm) + numbers_in(block.router_norm) +
      numbers_in(block.experts_norm) + numbers_in(block.post_norm) +
      static_cast<std::int64_t>(block.choice.bias.size() + block.choice.expert_scales.size());
  if (block.shared) {
    count += numbers_in(block.shared->input_norm) + numbers_in(block.shared->output_norm);
  }
  return count;
}

std::int64_t others_in(const LayerInputBlock& block) { return numbers_in(block.post_norm); }

std::int64_t others_in(const DeltaNetBlock& block) {
  return numbers_in(block.input_norm) + numbers_in(block.norm) +
         static_cast<std::int64_t>(block.convolution.size() + block.decay.size() +
                                   block.time_bias.size());
}

std::int64_t others_in(const ShortConvBlock& block) {
  return numbers_in(block.input_norm) +
         static_cast<std::int64_t>(block.convolution.size() + block.convolution_bias.size());
}

std::int64_t others_in(const Mamba2Block& block) {
  return numbers_in(block.input_norm) + numbers_in(block.norm) +
         static_cast<std::int64_t>(block.convolution.size() + block.convolution_bias.size() +
                                   block.decay.size() + block.time_bias.size() + block.skip.size());
}

std::int64_t numbers_in(const Block& block) {
  std::int64_t count = std::visit([](const auto& each) { return others_in(each); }, block);
  for (const Linear* linear : linears_of(block)) count += numbers_in(*linear);
  return count;
}

std::int64_t numbers_in(const LayerNorm& norm) {
  return static_cast<std::int64_t>(norm.weight.size() + norm.bias.size());
}

std::int64_t numbers_in(const EncoderPlan& encoder) {
  std::int64_t count =
      numbers_in(encoder.embedding_norm) + static_cast<std::int64_t>(encoder.types.size());
  if (encoder.positions) count += numbers_in(*encoder.positions);
  for (const EncoderLayer& layer : encoder.layers) {
    for (const Linear* linear : linears_of(layer)) count += numbers_in(*linear);
    count += numbers_in(layer.attention_norm) + numbers_in(layer.output_norm);
  }
  if (const auto& classifier = encoder.classifier) {
    count +=
        numbers_in(classifier->dense) + static_cast<std::int64_t>(classifier->weight.size()) + 1;
  }
  return count;
}

std::int64_t count_parameters(const ModelPlan& plan) {
  if (plan.encoder) return numbers_in(plan.embed.table) + numbers_in(*plan.encoder);
  std::int64_t count = numbers_in(plan.embed.table) + numbers_in(plan.head.norm);
  if (!plan.config.tied_embeddings) count += numbers_in(plan.head.weight);
  if (const auto& inputs = plan.layer_inputs) {
    count += numbers_in(inputs->table) + numbers_in(inputs->projection) + numbers_in(inputs->norm);
  }
  for (const Block& block : plan.blocks) count += numbers_in(block);
  return count;
}

std::vector<ModelSummary::Format> list_formats(const WeightSource& weights) {
  std::map<std::string, ModelSummary::Format> formats;
  for (const Tensor& tensor : weights.all()) {
    const std::string name = to_string(tensor.quantization);
    ModelSummary::Format& format = formats[name];
    format.name = name;
    ++format.tensors;
    format.bytes += tensor.byte_size();
  }
  std::vector<ModelSummary::Format> list;
  for (const auto& [name, format] : formats) list.push_back(format);
  std::sort(list.begin(), list.end(),
            [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  return list;
}

}  // namespace

ModelSummary summarize(const ModelFiles& model) {
  const ModelConfig& config = model.plan.config;
  ModelSummary summary;
  summary.name = config.name;
  summary.architecture = config.architecture;
  summary.file_format = model.format;
  summary.fingerprint = model.fingerprint;
  summary.parameters = count_parameters(model.plan);
  summary.layers = config.layers;
  summary.hidden_size = config.hidden_size;
  summary.heads = config.heads;
  summary.kv_heads = config.kv_heads;
  summary.head_dim = config.head_dim;
  summary.context_length = config.context_length;
  summary.vocab_size = config.vocab_size;
  summary.has_chat_template = !model.vocabulary.chat_template.empty();
  if (model.plan.weights) summary.formats = list_formats(*model.plan.weights);
  return summary;
}

}  // namespace mlxd
