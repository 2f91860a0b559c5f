#include "cli/local_model.h"

#include "cli/local_engine.h"
#include "cli/version.h"
#include "model/model_files.h"
#include "model/model_lookup.h"
#include "serve/load_model.h"

namespace mlxd {

std::unique_ptr<ServedModel> load_local_model(const ModelSetting& model,
                                              const EngineSettings& settings,
                                              EngineObserver* observer) {
  const ModelFiles files = open_model(find_model(model.where));
  return load_model(files, model.name, {}, kVersion,
                    [&] { return start_engine(files, settings, observer); });
}

}  // namespace mlxd
