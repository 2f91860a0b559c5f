#include "hub/hub_id.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxd::hub {
namespace {

TEST(HubId, HasOwnerNameQuantisationAndRevision) {
  const HubId plain = parse_hub_id("org/Some-Model.v1_2");
  EXPECT_EQ(plain.owner, "org");
  EXPECT_EQ(plain.name, "Some-Model.v1_2");
  EXPECT_EQ(plain.revision_or_main(), "main");
  const HubId full = parse_hub_id("hf:org/name:UD-Q4_K_XL@refs/pr/1");
  EXPECT_EQ(full.quant, "UD-Q4_K_XL");
  EXPECT_EQ(full.revision, "refs/pr/1");
  EXPECT_EQ(full.text(), "org/name:UD-Q4_K_XL@refs/pr/1");
  EXPECT_EQ(full.repository(), "org/name");
}

TEST(HubId, RefusesWhatCouldLeadElsewhere) {
  for (const char* text :
       {"", "name", "a/b/c", "/a/b", "../b", "a/..", ".a/b", "-a/b", "a--b/c", "a/b:", "a/b@",
        "a/b@../../x", "a/b@/x", "a/b:../q", "a/b c", "a/b\n", "https://host/x", "a/b@x..y"}) {
    EXPECT_FALSE(looks_like_hub_id(text)) << text;
    EXPECT_THROW(parse_hub_id(text), StartupError) << text;
  }
  EXPECT_FALSE(looks_like_hub_id(std::string("a/b\0c", 5)));
  EXPECT_FALSE(looks_like_hub_id("a/" + std::string(97, 'x')));
}

TEST(SafePath, IsOneOfNamesThatMayStandInAFolder) {
  for (const char* path :
       {"config.json", "a/b/c.gguf", "1_Pooling/config.json", ".hidden", "a b", "ünïcode.gguf"}) {
    EXPECT_TRUE(is_safe_path(path)) << path;
  }
  for (const char* path : {"", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", "./a", "a\\b",
                           "c:x", "a\nb", "a\x7f"}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
  EXPECT_FALSE(is_safe_path(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_safe_path(std::string(256, 'x')));
}

}  // namespace
}  // namespace mlxd::hub
