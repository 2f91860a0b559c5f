#include "hub/settings.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxd::hub {
namespace {

namespace fs = std::filesystem;

// Each test has a home of its own, and none of the variables.
class SettingsTest : public ::testing::Test {
 protected:
  SettingsTest()
      : home_(fs::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    for (const char* name : {"HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN",
                             "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "XDG_CACHE_HOME"}) {
      ::unsetenv(name);
    }
    fs::create_directories(home_);
    set("HOME", home_);
  }
  ~SettingsTest() override { fs::remove_all(home_); }

  static void set(const char* name, const std::string& value) {
    ::setenv(name, value.c_str(), /*overwrite=*/1);
  }

  const fs::path home_;
};

TEST_F(SettingsTest, ArePublicWithoutVariables) {
  const Settings settings = settings_from_environment();
  EXPECT_EQ(settings.endpoint, "https://huggingface.co");
  EXPECT_EQ(settings.cache, home_ / ".cache/huggingface/hub");
  EXPECT_EQ(settings.token, "");
  EXPECT_FALSE(settings.offline);
}

TEST_F(SettingsTest, FindTheCacheWhereHuggingfaceHubDoes) {
  set("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(settings_from_environment().cache, "/xdg/huggingface/hub");
  set("HF_HOME", "/hf");
  EXPECT_EQ(settings_from_environment().cache, "/hf/hub");
  set("HF_HUB_CACHE", "/cache");
  EXPECT_EQ(settings_from_environment().cache, "/cache");
}

TEST_F(SettingsTest, TakeTheTokenOfTheVariableBeforeThatOfTheFile) {
  set("HF_HOME", home_);
  std::ofstream(home_ / "token") << " hf_file \n";
  EXPECT_EQ(settings_from_environment().token, "hf_file");
  set("HF_TOKEN", "hf_variable");
  EXPECT_EQ(settings_from_environment().token, "hf_variable");
  set("HF_TOKEN", "hf_one\r\nX-Other: header");
  EXPECT_THROW(settings_from_environment(), StartupError);
}

TEST_F(SettingsTest, LookForATokenInNoFolderByChance) {
  ::unsetenv("HOME");
  set("HF_HUB_CACHE", home_);
  const fs::path before = fs::current_path();
  fs::current_path(home_);
  std::ofstream("token") << "hf_of_somebody";
  EXPECT_EQ(settings_from_environment().token, "");
  fs::current_path(before);
}

TEST_F(SettingsTest, TakeAMirrorByItsAddress) {
  set("HF_ENDPOINT", "http://mirror:8080/hub//");
  EXPECT_EQ(settings_from_environment().endpoint, "http://mirror:8080/hub");
  EXPECT_FALSE(settings_from_environment().is_https());
  for (const char* wrong : {"mirror", "ftp://mirror", "https://a b"}) {
    set("HF_ENDPOINT", wrong);
    EXPECT_THROW(settings_from_environment(), StartupError) << wrong;
  }
}

}  // namespace
}  // namespace mlxd::hub
