#pragma once

#include <memory>

#include "cli/cli.h"
#include "models/engine_settings.h"
#include "serve/served_model.h"

namespace mlxd {

// The model of a conversation, which may be changed for another. Main thread.
class ChatModel {
 public:
  // Throws StartupError for one that cannot be loaded, or has no chat template.
  explicit ChatModel(const ChatSettings& settings);

  bool is_loaded() const { return model_ != nullptr; }
  ServedModel& operator*() const { return *model_; }
  ServedModel* operator->() const { return model_.get(); }

  // A path, a name or an id, as on the command line. One is let go before the other is loaded,
  // since both may not fit. Throws StartupError, and then the one before is there again, if it
  // still can be loaded.
  void change(const std::string& name);

 private:
  void open(ModelSetting setting);

  const ChatSettings& settings_;
  ModelSetting setting_;  // of the one that is loaded
  std::unique_ptr<ServedModel> model_;
};

}  // namespace mlxd
