#include "cli/settings.h"

#include <set>
#include <string>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxd {
namespace {

std::set<std::string> names_of(const CLI::App& app) {
  std::set<std::string> names;
  for (const CLI::Option* option : app.get_options()) names.insert(option->get_name());
  return names;
}

TEST(Settings, ThatBearOnMemoryAreOptionsOfServeToo) {
  CLI::App serve, inspect;
  ServeSettings served;
  EngineSettings inspected;
  int max_connections = kMaxConnections;
  add_serve_options(serve, served);
  add_memory_options(inspect, inspected);
  add_prefix_cache_dir(inspect, inspected);
  add_max_connections(inspect, max_connections);
  EXPECT_THAT(names_of(serve), testing::IsSupersetOf(names_of(inspect)));
  EXPECT_THAT(names_of(inspect),
              testing::IsSupersetOf({"--backend", "--context", "--kv-cache-gb", "--kv-cache-type",
                                     "--max-memory-gb", "--max-running", "--step-tokens",
                                     "--prefix-cache-dir", "--max-connections"}));
}

TEST(Settings, AModelIsKnownByItsNameOrByTheLastPartOfItsPath) {
  EXPECT_EQ(parse_model_setting("small=/models/a.gguf").name, "small");
  EXPECT_EQ(parse_model_setting("/models/a.gguf").name, "a");
  EXPECT_EQ(parse_model_setting("./folder").name, "folder");
  EXPECT_EQ(parse_model_setting("./folder/").name, "folder");
  EXPECT_EQ(parse_model_setting("mlx-community/X").name, "mlx-community/X");
  EXPECT_THROW(parse_model_setting(""), StartupError);
}

TEST(Settings, ACommandOfOneModelSaysWhatItWasGiven) {
  EXPECT_EQ(the_model({{"a.gguf"}, {}}, "chat").name, "a");
  EXPECT_EQ(the_model({{}, {"a.gguf"}}, "chat").name, "a");
  EXPECT_THROW(the_model({}, "chat"), StartupError);
  EXPECT_THROW(the_model({{"a.gguf"}, {"b.gguf"}}, "chat"), StartupError);
}

}  // namespace
}  // namespace mlxd
