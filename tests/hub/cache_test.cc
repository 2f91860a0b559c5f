#include "hub/cache.h"

#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hub/inventory.h"
#include "hub/pull.h"

namespace mlxd::hub {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

const std::string kCommit(40, '1'), kLater(40, '2');

class CacheTest : public ::testing::Test {
 protected:
  CacheTest() {
    settings_.cache =
        fs::path(::testing::TempDir()) /
        (std::string("cache-") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(settings_.cache);
  }
  ~CacheTest() override { fs::remove_all(settings_.cache); }

  void add(const std::string& commit, const std::string& path, const std::string& hash) {
    const CachedRepository repository(settings_, id_);
    repository.make_folders();
    std::ofstream(repository.blob(hash)) << "bytes of " << hash;
    repository.link(commit, path, hash);
  }

  Settings settings_;
  const HubId id_ = parse_hub_id("org/name");
};

TEST_F(CacheTest, IsLaidOutAsHuggingfaceHubDoes) {
  add(kCommit, "big/m-Q8_0.gguf", "abc");
  const CachedRepository repository(settings_, id_);
  repository.write_reference("main", kCommit);
  repository.write_reference(kCommit, kCommit);  // which needs none
  const fs::path folder = settings_.cache / "models--org--name";
  EXPECT_EQ(fs::read_symlink(folder / "snapshots" / kCommit / "big/m-Q8_0.gguf"),
            "../../../blobs/abc");
  EXPECT_EQ(repository.commit_of("main"), kCommit);
  EXPECT_EQ(repository.commit_of(kCommit), kCommit);
  EXPECT_EQ(repository.commit_of("other"), std::nullopt);
  EXPECT_FALSE(fs::exists(folder / "refs" / kCommit));
  EXPECT_THAT(repository.files_of(kCommit), ElementsAre("big/m-Q8_0.gguf"));
}

TEST_F(CacheTest, DoesNotBelieveAReferenceThatIsNoCommit) {
  const CachedRepository repository(settings_, id_);
  fs::create_directories(repository.folder() / "refs");
  std::ofstream(repository.folder() / "refs/main") << "../../../../etc";
  EXPECT_EQ(repository.commit_of("main"), std::nullopt);
}

TEST_F(CacheTest, FindsModelsThatAreWhole) {
  add(kCommit, "m-Q8_0-00001-of-00002.gguf", "a1");
  CachedRepository(settings_, id_).write_reference("main", kCommit);
  EXPECT_EQ(find_cached(parse_hub_id("org/name:Q8_0"), settings_), std::nullopt);
  add(kCommit, "m-Q8_0-00002-of-00002.gguf", "a2");
  const auto found = find_cached(parse_hub_id("org/name:q8_0"), settings_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->filename(), "m-Q8_0-00001-of-00002.gguf");
  fs::remove(CachedRepository(settings_, id_).blob("a2"));  // a link that leads nowhere
  EXPECT_EQ(find_cached(parse_hub_id("org/name:q8_0"), settings_), std::nullopt);
}

TEST_F(CacheTest, FindsFoldersOnlyWithAllThatTheirIndexNames) {
  add(kCommit, "config.json", "a1");
  add(kCommit, "model-1.safetensors", "a2");
  const CachedRepository repository(settings_, id_);
  repository.write_reference("main", kCommit);
  EXPECT_TRUE(find_cached(id_, settings_));
  add(kCommit, "model.safetensors.index.json", "a3");
  std::ofstream(repository.blob("a3"))
      << R"({"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}})";
  EXPECT_FALSE(find_cached(id_, settings_));
  add(kCommit, "model-2.safetensors", "a4");
  EXPECT_TRUE(find_cached(id_, settings_));
}

TEST_F(CacheTest, ListsWhatEachCommitHas) {
  add(kCommit, "m-Q8_0.gguf", "a1");
  add(kLater, "m-Q4_0.gguf", "a2");
  CachedRepository(settings_, id_).write_reference("main", kLater);
  fs::create_directories(settings_.cache / "models--broken");
  fs::create_directories(settings_.cache / "datasets--org--data");
  std::vector<std::string> ids;
  for (const CachedModel& model : list_models(settings_)) ids.push_back(model.id);
  EXPECT_THAT(ids, ElementsAre("org/name:Q4_0", "org/name:Q8_0@" + kCommit));
}

TEST_F(CacheTest, KeepsBlobsThatAnotherCommitLinksTo) {
  add(kCommit, "m-Q8_0.gguf", "shared");
  add(kLater, "m-Q8_0.gguf", "shared");
  add(kLater, "m-Q4_0.gguf", "own");
  const CachedRepository repository(settings_, id_);
  repository.write_reference("main", kLater);
  const Removed removed = remove_models(parse_hub_id("org/name@main"), settings_);
  EXPECT_EQ(removed.bytes, 12);  // "bytes of own"
  EXPECT_TRUE(fs::exists(repository.blob("shared")));
  EXPECT_FALSE(fs::exists(repository.folder() / "refs/main"));
  EXPECT_THROW(remove_models(parse_hub_id("org/name:Q4_0"), settings_), StartupError);
  EXPECT_EQ(remove_models(id_, settings_).bytes, 15);
  EXPECT_FALSE(fs::exists(repository.folder()));
}

TEST_F(CacheTest, RemovesNothingThatAProcessWrites) {
  add(kCommit, "m-Q8_0.gguf", "a1");
  const CachedRepository repository(settings_, id_);
  FileLock lock(repository.locks() / "a1.lock");
  ASSERT_TRUE(lock.try_lock());
  FileLock other(repository.locks() / "a1.lock");
  EXPECT_FALSE(other.try_lock());
  EXPECT_THROW(remove_models(id_, settings_), StartupError);
  EXPECT_TRUE(fs::exists(repository.blob("a1")));
}

}  // namespace
}  // namespace mlxd::hub
