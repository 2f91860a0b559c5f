// What each architecture's file makes of config.json and of GGUF metadata.
#include <set>
#include <string_view>

#include <gtest/gtest.h>

#include "model/architectures/registry.h"

namespace mlxd {
namespace {

TEST(Architectures, NoNameMeansTwo) {
  std::set<std::string_view> names, gguf_names, types;
  for (const Architecture& each : architectures()) {
    EXPECT_TRUE(names.insert(each.name).second) << each.name;
    EXPECT_TRUE(gguf_names.insert(each.gguf_name).second) << each.gguf_name;
    for (const std::string_view type : each.model_types) {
      EXPECT_TRUE(types.insert(type).second) << type;
    }
    EXPECT_NE(each.plan, nullptr) << each.name;
  }
}

}  // namespace
}  // namespace mlxd
