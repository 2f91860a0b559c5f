#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

// What clients see of a model, loaded or not. It does not change while the process lives.
struct ModelFacts {
  std::string id;
  std::vector<std::string> aliases;  // "gpt-*" stands for whatever begins with "gpt-"
  std::string fingerprint;           // "mlxd-<version>-<model hash>-<backend>"
  long created = 0;                  // Unix time of the model file
  ModelCard card;

  bool is_called(std::string_view name) const {
    return id == name || std::ranges::find(aliases, name) != aliases.end();
  }
  bool has_pattern_for(std::string_view name) const {
    return std::ranges::any_of(aliases, [name](std::string_view alias) {
      return alias.ends_with('*') && name.starts_with(alias.substr(0, alias.size() - 1));
    });
  }
};

// The one of `models` that a request means, before all that is called so: `facts` gives one's
// ModelFacts. The end of `models` where it is none.
template <class Models, class Facts>
auto find_named(Models& models, std::string_view name, Facts facts) {
  const auto called =
      std::ranges::find_if(models, [&](const auto& model) { return facts(model).is_called(name); });
  if (called != models.end()) return called;
  return std::ranges::find_if(
      models, [&](const auto& model) { return facts(model).has_pattern_for(name); });
}

}  // namespace mlxd
