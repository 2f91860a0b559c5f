#include "model/weights/gguf_weights.h"

#include <functional>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "model/architectures/registry.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

constexpr GgufName kModelNames[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};

// Those of a Llama.
constexpr GgufName kLayerNames[] = {{"attn_norm", "input_layernorm"},
                                    {"attn_q", "self_attn.q_proj"},
                                    {"attn_k", "self_attn.k_proj"},
                                    {"attn_v", "self_attn.v_proj"},
                                    {"attn_output", "self_attn.o_proj"},
                                    {"ffn_norm", "post_attention_layernorm"},
                                    {"ffn_gate", "mlp.gate_proj"},
                                    {"ffn_up", "mlp.up_proj"},
                                    {"ffn_down", "mlp.down_proj"},
                                    {"ffn_gate_inp", "mlp.gate"},
                                    {"ffn_gate_exps", "mlp.switch_mlp.gate_proj"},
                                    {"ffn_up_exps", "mlp.switch_mlp.up_proj"},
                                    {"ffn_down_exps", "mlp.switch_mlp.down_proj"},
                                    {"exp_probs_b", "mlp.gate.e_score_correction"},
                                    {"ffn_gate_inp_shexp", "mlp.shared_expert_gate"},
                                    {"ffn_gate_shexp", "mlp.shared_expert.gate_proj"},
                                    {"ffn_up_shexp", "mlp.shared_expert.up_proj"},
                                    {"ffn_down_shexp", "mlp.shared_expert.down_proj"}};

std::string_view counterpart(std::span<const GgufName> names, std::string_view name) {
  for (const auto& [gguf, hugging_face] : names) {
    if (gguf == name) return hugging_face;
  }
  return {};
}

// A layer number as files write it: digits without a leading zero.
bool is_layer_number(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text[0] == '0')) return false;
  return text.find_first_not_of("0123456789") == std::string_view::npos;
}

class GgufWeights : public WeightSource {
 public:
  explicit GgufWeights(std::vector<std::shared_ptr<const GgufFile>> parts)
      : parts_(std::move(parts)) {
    const auto own = gguf_names_of(parts_.front()->string("general.architecture").value_or(""));
    for (const auto& part : parts_) {
      for (Tensor tensor : part->tensors()) {
        const std::string gguf_name = tensor.name;
        tensor.name = hugging_face_name(gguf_name, own);
        std::string name = tensor.name;
        if (!tensors_.emplace(std::move(name), std::move(tensor)).second) {
          part->fail("tensor " + in_quotes(gguf_name), "has the same meaning as another one");
        }
      }
    }
    for (auto& [name, tensor] : tensors_) add_tensor_scale(name, tensor);
  }

  std::optional<Tensor> find(std::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return std::nullopt;
    return found->second;
  }

  std::vector<Tensor> all() const override {
    std::vector<Tensor> tensors;
    tensors.reserve(tensors_.size());
    for (const auto& [name, tensor] : tensors_) tensors.push_back(tensor);
    return tensors;
  }

  std::string description() const override { return parts_.front()->name(); }

 private:
  // llama.cpp's converter puts NVFP4's scale of a whole tensor beside it: x.weight, x.scale.
  void add_tensor_scale(const std::string& name, Tensor& tensor) {
    constexpr std::string_view kWeight = ".weight";
    if (tensor.quantization.encoding != Encoding::nvfp4 || !name.ends_with(kWeight)) return;
    const auto scale = tensors_.find(name.substr(0, name.size() - kWeight.size()) + ".scale");
    if (scale == tensors_.end()) return;
    const Tensor& one = scale->second;
    if (one.quantization.encoding != Encoding::f32 || one.rows * one.columns != 1) {
      fail(one, "is not the one float that scales a whole NVFP4 tensor");
    }
    constexpr float kMost = 256;  // kernels multiply it by 2^119
    const float value = dequantize(one).front();
    if (!(value > 0 && value <= kMost)) {
      fail(one, fmt::format("is {}; a scale of NVFP4 is above 0 and at most {}", value, kMost));
    }
    tensor.scale = value;
  }

  [[noreturn]] void fail(const Tensor& tensor, std::string_view problem) const {
    parts_.front()->fail("tensor " + in_quotes(tensor.name), problem);
  }

  std::vector<std::shared_ptr<const GgufFile>> parts_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

}  // namespace

std::string hugging_face_name(std::string_view gguf_name, std::span<const GgufName> own) {
  const std::size_t dot = gguf_name.rfind('.');
  if (dot == std::string_view::npos) return std::string(gguf_name);
  const std::string_view module = gguf_name.substr(0, dot);
  const std::string_view parameter = gguf_name.substr(dot + 1);  // "weight" or "bias"

  if (const std::string_view name = counterpart(kModelNames, module); !name.empty()) {
    return fmt::format("{}.{}", name, parameter);
  }
  constexpr std::string_view kLayer = "blk.";
  if (!module.starts_with(kLayer)) {
    const std::string_view name = counterpart(own, module);
    return name.empty() ? std::string(gguf_name) : fmt::format("{}.{}", name, parameter);
  }
  const std::string_view rest = module.substr(kLayer.size());
  // A tensor that is no module's ("blk.0.ssm_a").
  if (const auto alone = counterpart(own, parameter); !alone.empty() && is_layer_number(rest)) {
    return fmt::format("model.layers.{}.{}", rest, alone);
  }
  const std::size_t end_of_number = rest.find('.');
  if (end_of_number == std::string_view::npos) return std::string(gguf_name);
  const std::string_view number = rest.substr(0, end_of_number);
  const std::string_view part = rest.substr(end_of_number + 1);
  std::string_view name = counterpart(own, part);
  if (name.empty()) name = counterpart(kLayerNames, part);
  if (name.empty() || !is_layer_number(number)) return std::string(gguf_name);
  return fmt::format("model.layers.{}.{}.{}", number, name, parameter);
}

std::shared_ptr<const WeightSource> gguf_weights(
    std::vector<std::shared_ptr<const GgufFile>> parts) {
  return std::make_shared<GgufWeights>(std::move(parts));
}

}  // namespace mlxd
