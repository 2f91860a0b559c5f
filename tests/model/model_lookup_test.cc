#include "model/model_lookup.h"

#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/sample_models.h"

namespace mlxd {
namespace {

using test::TemporaryFolder;

// Sets an environment variable for one test.
class Setting {
 public:
  Setting(const char* name, const std::string& value) : name_(name) {
    const char* before = std::getenv(name);
    had_ = before != nullptr;
    if (had_) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  ~Setting() { had_ ? ::setenv(name_, before_.c_str(), 1) : ::unsetenv(name_); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  const char* name_;
  std::string before_;
  bool had_;
};

TEST(FindModel, TakesAPathAsItIs) {
  TemporaryFolder folder;
  const auto file = folder.write("model.gguf", "x");
  EXPECT_EQ(find_model(file.string()), file);
}

TEST(FindModel, AFolderWithOneGgufStandsForThatFile) {
  TemporaryFolder folder;
  const auto file = folder.write("model.gguf", "x");
  EXPECT_EQ(find_model(folder.path().string()), file);
  folder.write("config.json", "{}");
  EXPECT_EQ(find_model(folder.path().string()), folder.path());
}

TEST(FindModel, AFolderWithSeveralGgufFilesMustBeNarrowed) {
  TemporaryFolder folder;
  folder.write("a.gguf", "x");
  folder.write("b.gguf", "x");
  try {
    find_model(folder.path().string());
    FAIL();
  } catch (const StartupError& error) {
    EXPECT_THAT(error.what(),
                testing::HasSubstr("2 .gguf files; name one of them: a.gguf, b.gguf"));
  }
}

TEST(FindModel, LooksIntoTheModelsFolderAndTheHubCache) {
  TemporaryFolder folder;
  const auto own = folder.write("models/own/config.json", "{}");
  const auto hub = folder.write("hub/models--org--name/snapshots/abc/config.json", "{}");
  folder.write("hub/models--org--name/refs/main", "abc\n");
  const Setting models("MLXD_MODELS_DIR", (folder.path() / "models").string());
  const Setting cache("HF_HUB_CACHE", (folder.path() / "hub").string());
  EXPECT_EQ(find_model("own"), own.parent_path());
  EXPECT_EQ(find_model("org/name"), hub.parent_path());
}

TEST(FindModel, AReferenceCannotLeadOutOfTheCache) {
  TemporaryFolder folder;
  folder.write("hub/models--org--name/refs/main", "../../../secret");
  folder.write("secret/config.json", "{}");
  const Setting cache("HF_HUB_CACHE", (folder.path() / "hub").string());
  EXPECT_THROW(find_model("org/name"), StartupError);
}

TEST(FindModel, ListsThePlacesThatItSearched) {
  TemporaryFolder folder;
  const Setting models("MLXD_MODELS_DIR", folder.path().string());
  try {
    find_model("no-such-model");
    FAIL();
  } catch (const StartupError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr((folder.path() / "no-such-model").string()));
  }
}

}  // namespace
}  // namespace mlxd
