#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hub/pull.h"
#include "models/engine_settings.h"

namespace mlxd {

// Shows on standard error how a pull goes: a bar that is drawn again and again where that is a
// terminal, and a line every few seconds elsewhere.
class PullDisplay {
 public:
  using Line = std::function<void(const std::string&)>;

  // With `line`, lines alone, which go there.
  explicit PullDisplay(std::string name, Line line = nullptr);
  ~PullDisplay();
  PullDisplay(const PullDisplay&) = delete;
  PullDisplay& operator=(const PullDisplay&) = delete;

  void show(const hub::Progress& progress);
  void say(const std::string& sentence);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Fetches a model and shows it. Ctrl-C ends it where `catches_interrupts`, and else the process as
// ever. Throws StartupError.
hub::Pulled pull_model(const hub::HubId& id, int connections, bool catches_interrupts,
                       PullDisplay::Line line = nullptr);

enum class Missing { refuse, pull };  // what to do with an id that is not in the cache

// Puts paths in the place of ids of the hub that are in its cache. Those written "hf:..." are
// fetched when they are not there; with `pull` those without "hf:" are too. What is a path, or lies
// in $MLXD_MODELS_DIR, stays as it is. `line` as PullDisplay's. Throws StartupError.
void locate_models(std::vector<ModelSetting>& models, Missing missing,
                   PullDisplay::Line line = nullptr);

}  // namespace mlxd
