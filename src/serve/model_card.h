#pragma once

#include <map>
#include <string>

#include "model/summary.h"

namespace mlxd {

// What a model's files say of it, for those who show it. It does not change while it is served.
struct ModelCard {
  ModelSummary summary;
  std::string chat_template;  // its source in Jinja; "": a base model
  // The texts of tokens that have a role, by its name: "bos_token", "eos_token", ...; none empty.
  std::map<std::string, std::string> special_tokens;
  bool reasons = false;  // it may reason before it answers
};

}  // namespace mlxd
