// Several stores in one folder, and folders that cannot be used.
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#if defined(__linux__)
#include <poll.h>
#include <sys/inotify.h>
#endif

#include "prefix_store/leftovers.h"
#include "prefix_store/prefix_store.h"
#include "prefix_store/store_fixture.h"
#include "prefix_store/store_folder.h"

namespace mlxd::testing {
namespace {

namespace fs = std::filesystem;

class FoldersTest : public StoreFixture {
 protected:
  PrefixStoreOptions options_for(const fs::path& directory) const {
    PrefixStoreOptions options;
    options.directory = directory;
    options.identity = "a model";
    options.block_size = kBlock;
    options.block_bytes = kBlockBytes;
    return options;
  }
  std::string refusal(const PrefixStoreOptions& options) const {
    try {
      const PrefixStore store(options);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "none";
  }
};

TEST_F(FoldersTest, TwoModelsDoNotFindEachOthersBlocks) {
  open("one");
  put(numbers(0, 12));
  open("two");
  EXPECT_EQ(found(numbers(0, 12)), 0);
  put(numbers(0, 8));
  open("one");
  EXPECT_EQ(found(numbers(0, 12)), 3);
  open("two");
  EXPECT_EQ(found(numbers(0, 12)), 2);
}

TEST_F(FoldersTest, TheFolderSaysInWordsWhoseBlocksItHolds) {
  open("mlxd 1.2.3\nmodel x\n");
  EXPECT_EQ(contents_of(store_->path() / "identity"), "mlxd 1.2.3\nmodel x\n");
}

TEST_F(FoldersTest, AFolderInUseIsNotUsedTwice) {
  open();
  EXPECT_THAT(refusal(options_for(folder_.path())), ::testing::HasSubstr("in use"));
  store_.reset();
  EXPECT_EQ(refusal(options_for(folder_.path())), "none");
}

#if defined(__linux__)
// Sees how often a folder's file "identity" is opened, as everybody does who tries its lock.
class Tries {
 public:
  explicit Tries(const fs::path& folder) : events_(::inotify_init1(IN_CLOEXEC)) {
    EXPECT_GE(::inotify_add_watch(events_.get(), (folder / "identity").c_str(), IN_OPEN), 0);
  }
  // Until somebody tries for the second time, and so has failed once.
  void wait_for_a_failure() {
    for (int tries = 0; tries < 2;) {
      pollfd ready{events_.get(), POLLIN, 0};
      ASSERT_EQ(::poll(&ready, 1, 10'000), 1) << "nobody tries";
      alignas(inotify_event) char events[16 * sizeof(inotify_event)];
      const ssize_t bytes = ::read(events_.get(), events, sizeof events);
      tries += static_cast<int>(bytes / static_cast<ssize_t>(sizeof(inotify_event)));
    }
  }

 private:
  Descriptor events_;
};

TEST_F(FoldersTest, AFolderThatSomebodyLooksAtForAMomentIsUsedAllTheSame) {
  open();
  put(numbers(0, 12));
  const fs::path path = store_->path();
  store_.reset();
  std::thread looks([lock = lock_folder(path), tries = Tries(path)]() mutable {
    EXPECT_TRUE(lock);
    tries.wait_for_a_failure();
    lock.close();
  });
  open();
  looks.join();
  EXPECT_EQ(found(numbers(0, 12)), 3);
}

TEST_F(FoldersTest, AFolderThatIsRemovedWhileItIsOpenedIsMadeAnew) {
  open();
  put(numbers(0, 12));
  const fs::path path = store_->path();
  store_.reset();
  std::thread removes([&, lock = lock_folder(path), tries = Tries(path)]() mutable {
    EXPECT_TRUE(lock);
    tries.wait_for_a_failure();
    EXPECT_FALSE(remove_folder(path));
    lock.close();
  });
  open();
  removes.join();
  EXPECT_EQ(found(numbers(0, 12)), 0);
  put(numbers(0, 12));
  EXPECT_FALSE(lock_folder(path)) << "it is in use";
  open();
  EXPECT_EQ(found(numbers(0, 12)), 3);
}
#endif

TEST_F(FoldersTest, MakesTheFolderThatIsNotThere) {
  EXPECT_EQ(refusal(options_for(folder_.path() / "some" / "where")), "none");
}

TEST_F(FoldersTest, AFolderThatCannotBeMadeIsNamed) {
  write_file(folder_.path() / "file", "");
  const fs::path below = folder_.path() / "file" / "folder";
  EXPECT_THAT(refusal(options_for(below)), ::testing::HasSubstr(below.string()));
}

TEST_F(FoldersTest, ABoundThatHoldsNoBlockIsRefused) {
  PrefixStoreOptions options = options_for(folder_.path());
  options.max_bytes = 200;
  EXPECT_THAT(refusal(options), ::testing::HasSubstr("200"));
}

TEST_F(FoldersTest, WhatFormerModelsLeftGoesWhenThereIsNoRoom) {
  open("oldest");
  put(numbers(0, 16));
  const fs::path oldest = store_->path();
  for (const auto& file : fs::directory_iterator(oldest)) {
    fs::last_write_time(file.path(), fs::file_time_type::clock::now() - std::chrono::hours(1));
  }
  open("old");
  put(numbers(0, 16));
  const fs::path old = store_->path();
  open("new", 12 * store_->format().file_bytes());
  put(numbers(0, 12));
  EXPECT_TRUE(fs::exists(oldest)) << "there was room";
  put(numbers(0, 24));
  EXPECT_FALSE(fs::exists(oldest));
  EXPECT_TRUE(fs::exists(old));
  put(numbers(0, 48));
  EXPECT_FALSE(fs::exists(old));
  EXPECT_EQ(found(numbers(0, 48)), 12);
}

TEST_F(FoldersTest, AModelThatIsStillToBeLoadedKeepsItsBlocks) {
  open("one");
  put(numbers(0, 16));
  const fs::path path = store_->path();
  open("two", 4 * store_->format().file_bytes());
  store_->flush();
  EXPECT_TRUE(fs::exists(path)) << "nothing was written yet";
  auto other = std::move(store_);
  open("one");
  store_.swap(other);
  put(numbers(0, 40));
  EXPECT_EQ(found(numbers(0, 40)), 4);
  EXPECT_EQ(other->stats().blocks, 4u);
}

TEST_F(FoldersTest, AnotherModelThatIsServedKeepsItsBlocks) {
  open("one");
  put(numbers(0, 16));
  const auto one = std::move(store_);
  open("two", 4 * one->format().file_bytes());
  put(numbers(0, 40));
  EXPECT_EQ(found(numbers(0, 40)), 4);
  EXPECT_EQ(one->stats().blocks, 4u);
  EXPECT_TRUE(fs::exists(one->path()));
}

TEST_F(FoldersTest, OnlyFoldersThatAStoreMadeAreLeftovers) {
  fs::create_directory(folder_.path() / "photos");
  fs::create_directory(folder_.path() / std::string(32, 'a'));  // has no file "identity"
  write_file(folder_.path() / std::string(32, 'a') / "letter", "keep me");
  write_file(folder_.path() / std::string(32, 'b'), "no folder");
  EXPECT_TRUE(Leftovers(folder_.path(), "own").empty());
}

}  // namespace
}  // namespace mlxd::testing
