#include "cli/chat_model.h"

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/hub_models.h"
#include "cli/load_report.h"
#include "cli/messages.h"
#include "cli/version.h"
#include "models/local_models.h"

namespace mlxd {

ChatModel::ChatModel(const ChatSettings& settings) : settings_(settings) {
  open(the_model(settings.models, settings.pulls ? "run" : "chat"));
}

void ChatModel::open(ModelSetting setting) {
  std::vector<ModelSetting> named = {std::move(setting)};
  locate_models(named, settings_.pulls ? Missing::pull : Missing::refuse);
  {  // What can be known beforehand, or the one before stays.
    const LocalModels readable(named, settings_.engine, kVersion);
    if (readable.files(0).vocabulary.chat_template.empty()) {
      throw StartupError(fmt::format(
          "{} is a base model without a chat template; serve it and use /v1/completions",
          named.front().name));
    }
  }
  model_ = nullptr;
  LocalModels models(named, settings_.engine, kVersion);  // with the memory that is free now
  admit(models.memory());
  for (const std::string& warning : models.memory().warnings) print_warning(warning);
  model_ = models.load(0, load_report(named.front().name));
  setting_ = std::move(named.front());
}

void ChatModel::change(const std::string& name) {
  try {
    open(the_model({.files = {name}, .flags = {}}, "/model"));
  } catch (const std::exception& failure) {
    const std::string words = failure.what();
    if (!model_) open(ModelSetting(setting_));
    throw StartupError(words);
  }
}

}  // namespace mlxd
