#pragma once

#include <map>
#include <optional>
#include <string>

#include "model/encoder_plan.h"
#include "model/summary.h"

namespace mlxd {

// What a model's files say of it, for those who show it. It does not change while it is served.
struct ModelCard {
  ModelSummary summary;
  std::string chat_template;  // its source in Jinja; "": a base model
  // The texts of tokens that have a role, by its name: "bos_token", "eos_token", ...; none empty.
  std::map<std::string, std::string> special_tokens;
  bool reasons = false;                // it may reason before it answers
  bool generates = true;               // false: an encoder
  std::optional<PooledOutput> pooled;  // what it makes of whole texts; nothing: it embeds none
};

}  // namespace mlxd
