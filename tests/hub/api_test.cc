#include "hub/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlxd::hub {
namespace {

const std::string kCommit(40, 'c');

std::string list_of(const std::string& siblings) {
  return R"({"sha": ")" + kCommit + R"(", "siblings": [)" + siblings + "]}";
}

TEST(HubList, TellsSizesAndHashes) {
  const std::string sha256(64, 'a'), sha1(40, 'b');
  const Revision revision = read_revision(
      list_of(R"({"rfilename": "m.gguf", "size": 7, "blobId": ")" + sha1 +
              R"(", "lfs": {"sha256": ")" + sha256 + R"(", "size": 7, "pointerSize": 134}},)" +
              R"({"rfilename": "a/b.json", "size": 0, "blobId": ")" + sha1 + R"("})"),
      "hub");
  EXPECT_EQ(revision.commit, kCommit);
  ASSERT_EQ(revision.files.size(), 2u);
  EXPECT_TRUE(revision.files[0].is_sha256);
  EXPECT_EQ(revision.files[0].hash, sha256);
  EXPECT_EQ(revision.files[0].size, 7);
  EXPECT_FALSE(revision.files[1].is_sha256);
  EXPECT_EQ(revision.files[1].hash, sha1);
  EXPECT_THAT(revision.paths(), ::testing::ElementsAre("m.gguf", "a/b.json"));
}

TEST(HubList, LeavesOutNamesThatLeadElsewhere) {
  const std::string rest = R"(", "size": 0, "blobId": ")" + std::string(40, 'b') + R"("})";
  const Revision revision = read_revision(
      list_of(R"({"rfilename": "../x)" + rest + R"(,{"rfilename": "/x)" + rest +
              R"(,{"rfilename": "a\u0000b)" + rest + R"(,{"rfilename": "good)" + rest),
      "hub");
  EXPECT_THAT(revision.paths(), ::testing::ElementsAre("good"));
}

TEST(HubList, RefusesWhatIsNone) {
  for (const std::string& text :
       {std::string(""), std::string("[]"), std::string("{}"), std::string(R"({"sha": "x"})"),
        list_of("1"), list_of(R"({"rfilename": "x"})"),
        list_of(R"({"rfilename": "x", "size": -1, "blobId": ")" + kCommit + R"("})"),
        list_of(R"({"rfilename": "x", "size": 1, "blobId": "../x"})")}) {
    EXPECT_THROW(read_revision(text, "hub"), StartupError) << text;
  }
}

TEST(HubAddress, EscapesWhatAFileMayBeCalled) {
  Settings settings;
  settings.endpoint = "https://hub";
  EXPECT_EQ(address_of(settings, parse_hub_id("o/n"), kCommit, "a b/c?d#e%.gguf"),
            "https://hub/o/n/resolve/" + kCommit + "/a%20b/c%3Fd%23e%25.gguf");
}

}  // namespace
}  // namespace mlxd::hub
