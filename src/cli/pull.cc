// The commands about models of the hub: pull, list and rm.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/hub_models.h"
#include "hub/inventory.h"
#include "hub/progress.h"

namespace mlxd {
namespace {

// "2026-11-28", where the machine is.
std::string date_text(std::time_t time) {
  std::tm parts{};
  ::localtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

}  // namespace

int run_pull(const PullSettings& settings) {
  if (settings.ids.empty()) {
    throw StartupError(
        "no model is named; give its id on the hub, as in: mlxd pull "
        "mlx-community/Llama-3.2-1B-Instruct-4bit");
  }
  for (const std::string& text : settings.ids) {
    const hub::Pulled pulled =
        pull_model(hub::parse_hub_id(text), settings.connections, /*catches_interrupts=*/true);
    std::fprintf(
        stderr, "%s\n",
        fmt::format("{}: {}, {}; mlxd run {} talks to it", pulled.id, hub::size_text(pulled.bytes),
                    pulled.fetched == 0 ? "all of which was there"
                                        : fmt::format("{} of it fetched and checked",
                                                      hub::size_text(pulled.fetched)),
                    pulled.id)
            .c_str());
    std::printf("%s\n", pulled.path.c_str());
  }
  return 0;
}

int run_list(const ListSettings& settings) {
  const hub::Settings hub_settings = hub::settings_from_environment();
  const std::vector<hub::CachedModel> models = hub::list_models(hub_settings);
  if (settings.json) {
    for (const hub::CachedModel& model : models) {
      const boost::json::object object = {{"id", model.id},
                                          {"quant", model.quant},
                                          {"family", model.family},
                                          {"bytes", model.bytes},
                                          {"complete", model.complete},
                                          {"modified", model.modified},
                                          {"path", model.path.string()}};
      std::printf("%s\n", boost::json::serialize(object).c_str());
    }
    return 0;
  }
  if (models.empty()) {
    std::fprintf(stderr, "%s\n",
                 fmt::format("there are no models in {}; mlxd pull OWNER/NAME fetches one",
                             hub_settings.cache.string())
                     .c_str());
    return 0;
  }
  std::size_t widest = 2;
  for (const hub::CachedModel& model : models) widest = std::max(widest, model.id.size());
  const auto print = [widest](std::string_view id, std::string_view quant, std::string_view size,
                              std::string_view family, std::string_view modified) {
    std::printf("%s\n", fmt::format("{:<{}}  {:<10}  {:>8}  {:<12}  {}", id, widest, quant, size,
                                    family, modified)
                            .c_str());
  };
  print("ID", "QUANT", "SIZE", "FAMILY", "MODIFIED");
  for (const hub::CachedModel& model : models) {
    print(model.id, model.quant, hub::size_text(model.bytes), model.family,
          date_text(model.modified) + (model.complete ? "" : "  not all of it is there"));
  }
  return 0;
}

int run_remove(const RemoveSettings& settings) {
  if (settings.ids.empty()) {
    throw StartupError("no model is named; mlxd list shows those that are there");
  }
  for (const std::string& text : settings.ids) {
    const hub::Removed removed =
        hub::remove_models(hub::parse_hub_id(text), hub::settings_from_environment());
    std::printf("removed %s: %s freed\n",
                fmt::format("{}", fmt::join(removed.models, ", ")).c_str(),
                hub::size_text(removed.bytes).c_str());
  }
  return 0;
}

}  // namespace mlxd
