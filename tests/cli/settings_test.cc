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
  const auto id = [](const char* text) { return parse_model_setting(text).name; };
  EXPECT_EQ(id("small=/models/a.gguf"), "small");
  EXPECT_EQ(id("tiny=/models/x/"), "tiny");
  EXPECT_EQ(id("/models/Small-4bit"), "Small-4bit");
  EXPECT_EQ(id("/models/Small-4bit/"), "Small-4bit");
  EXPECT_EQ(id("./Small-4bit//"), "Small-4bit");
  EXPECT_EQ(id("mlx-community/Small-4bit"), "mlx-community/Small-4bit");
  EXPECT_EQ(id("mlx-community/Small-4bit/"), "mlx-community/Small-4bit");
  EXPECT_EQ(id("/models/small.Q4_0.gguf"), "small.Q4_0");
  EXPECT_EQ(id("/models/small-00001-of-00003.gguf"), "small");
  EXPECT_EQ(id("a.gguf"), "a");
  EXPECT_EQ(id("hf:org/Small-GGUF:Q4_K_M"), "org/Small-GGUF:Q4_K_M");
  EXPECT_EQ(id("small=hf:org/Small-GGUF"), "small");
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
