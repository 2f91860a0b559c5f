#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/model_plan.h"
#include "model/weights/gguf.h"
#include "model/weights/gguf_weights.h"

namespace mlxd {

inline constexpr std::string_view kSilu[] = {"silu", "swish"};

// One supported architecture: what files call it, what they leave unsaid, and its plan. Everything
// that is its own is in the file that defines it (this folder, named after it); what many families
// share is read by config_reader.h and put together by plan_builder.h.
//
// A config is made in this order: the defaults, the numbers that all families name alike, the
// attention of each layer as those describe it (describe_layers), and what `finish` makes of it.
// Functions that an architecture has no use for are null.
struct Architecture {
  std::string_view name;                          // ModelConfig::architecture
  std::span<const std::string_view> model_types;  // every config.json model_type that means it
  // The text_config's, where it alone tells the model from others in the same multimodal wrapper.
  std::span<const std::string_view> text_types = {};
  std::string_view gguf_name;                 // GGUF general.architecture
  std::span<const GgufName> gguf_names = {};  // of a layer's modules: its own, or unlike others'
  bool partial_rope = false;                  // files may turn a part of each head only
  // What layer_types calls layers that keep a state instead of keys and values; "": none does.
  std::string_view recurrent_type = {};
  bool experts = false;     // layers may have experts
  bool latent = false;      // LatentConfig: `finish` describes all layers
  bool is_encoder = false;  // its numbers are read by encoder_config.h
  // The activation that the plan computes, as config.json names it, and under which key.
  std::string_view activation_key = "hidden_act";
  std::span<const std::string_view> activations = kSilu;

  // The values of fields that metadata may leave out; called on an empty config.
  void (*gguf_defaults)(ModelConfig& config) = nullptr;
  void (*json_defaults)(ModelConfig& config) = nullptr;
  // Works in what is this architecture's own. `fields` is the text model's part of config.json. May
  // throw LoadError.
  void (*gguf_finish)(ModelConfig& config, const GgufFile& file) = nullptr;
  void (*json_finish)(ModelConfig& config, const JsonFields& fields) = nullptr;

  // Throws LoadError that names a tensor which is missing or whose shape the config denies.
  ModelPlan (*plan)(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);
};

}  // namespace mlxd
