// What a store keeps, finds and lets go of.
#include "prefix_store/prefix_store.h"

#include <atomic>
#include <csignal>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prefix_store/store_fixture.h"

namespace mlxd::testing {
namespace {

class PrefixStoreTest : public StoreFixture {
 protected:
  void SetUp() override { open(); }
  std::uint64_t room_for(int blocks) const { return blocks * store_->format().file_bytes(); }
};

TEST_F(PrefixStoreTest, FindsWhatItWasOffered) {
  put(numbers(0, 12));
  EXPECT_EQ(found(numbers(0, 12)), 3);
  EXPECT_EQ(found(numbers(0, 20)), 3);
  EXPECT_EQ(found(numbers(4, 8)), 0) << "the same tokens after others";
  EXPECT_EQ(found(numbers(0, 12), 1), 0) << "another salt";
  const PrefixStoreStats stats = store_->stats();
  EXPECT_EQ(stats.blocks, 3u);
  EXPECT_EQ(stats.bytes, room_for(3));
  EXPECT_EQ(stats.written, 3u);
  EXPECT_EQ(stats.read, 6u);
  EXPECT_EQ(stats.damaged + stats.dropped, 0u);
}

TEST_F(PrefixStoreTest, ABlockIsKnownFromTheMomentItIsTaken) {
  const auto blocks = blocks_of(numbers(0, 4));
  EXPECT_FALSE(store_->has(blocks[0].name.key));
  offer(blocks[0]);
  EXPECT_TRUE(store_->has(blocks[0].name.key));
  store_->flush();
  EXPECT_TRUE(store_->contains(blocks[0].name.key));
}

TEST_F(PrefixStoreTest, ARestartKeepsAll) {
  put(numbers(0, 40));
  put(numbers(100, 8), 7);
  open();
  EXPECT_EQ(found(numbers(0, 40)), 10);
  EXPECT_EQ(found(numbers(100, 8), 7), 2);
  EXPECT_EQ(found(numbers(100, 8)), 0);
}

TEST_F(PrefixStoreTest, WhatWasTakenIsWrittenBeforeTheEnd) {
  const auto blocks = blocks_of(numbers(0, 400));
  for (const Block& block : blocks) offer(block);
  open();
  EXPECT_EQ(found(numbers(0, 400)), 100);
}

#if defined(__linux__)
// Whether a thread waits for something: the third word of /proc's line, behind a name in brackets.
bool is_asleep(pid_t thread) {
  const std::string line = contents_of("/proc/self/task/" + std::to_string(thread) + "/stat");
  const auto name_end = line.rfind(')');
  return name_end != line.npos && line.substr(name_end + 2, 1) == "S";
}

// A pipe in the place of the file that is written holds the writer until somebody reads.
TEST_F(PrefixStoreTest, TheEndWaitsForASlowDiskOnlySoLong) {
  PrefixStoreOptions options = options_of("a slow disk");
  options.last_writes = {};
  open(options);
  const auto incoming = store_->path() / "incoming";
  ASSERT_EQ(::mkfifo(incoming.c_str(), 0600), 0);
  for (const Block& block : blocks_of(numbers(0, 40))) offer(block);
  Descriptor reader;
  std::atomic<bool> ending = false;
  std::thread later([&, ender = ::gettid()] {
    // The end waits for nothing but the writer.
    while (!ending || !is_asleep(ender)) std::this_thread::yield();
    reader = Descriptor(::open(incoming.c_str(), O_RDONLY | O_NONBLOCK));
  });
  ending = true;
  store_.reset();
  later.join();
  open("a slow disk");
  EXPECT_EQ(files(), 0) << "the first went into the pipe, and the others were dropped";
}
#endif

TEST_F(PrefixStoreTest, HoldsNoMoreThanItMayAndDropsWhatWasUsedLongestAgo) {
  open("a model", room_for(6));
  put(numbers(0, 12));
  put(numbers(100, 12));
  store_->note_use(blocks_of(numbers(0, 12))[2].name);
  put(numbers(200, 8));
  EXPECT_EQ(found(numbers(0, 12)), 3);
  EXPECT_EQ(found(numbers(100, 12)), 1) << "a prefix loses its end before its beginning";
  EXPECT_EQ(found(numbers(200, 8)), 2);
  EXPECT_EQ(files(), 6);
  EXPECT_EQ(store_->stats().bytes, room_for(6));
}

TEST_F(PrefixStoreTest, TheOrderOfUseSurvivesARestart) {
  put(numbers(0, 8));
  set_age(numbers(0, 8), std::chrono::hours(2));
  put(numbers(100, 8));
  set_age(numbers(100, 8), std::chrono::hours(1));
  store_->note_use(blocks_of(numbers(0, 8))[1].name);
  store_->flush();
  open("a model", room_for(4));
  put(numbers(200, 4));
  EXPECT_EQ(found(numbers(0, 8)), 2);
  EXPECT_EQ(found(numbers(100, 8)), 1);
}

TEST_F(PrefixStoreTest, ALowerBoundHoldsFromTheStart) {
  put(numbers(0, 40));
  open("a model", room_for(4));
  store_->flush();
  EXPECT_EQ(found(numbers(0, 40)), 4);
}

TEST_F(PrefixStoreTest, APrefixLongerThanTheBoundKeepsItsBeginning) {
  open("a model", room_for(4));
  put(numbers(0, 40));
  EXPECT_EQ(found(numbers(0, 40)), 4);
  EXPECT_EQ(store_->stats().dropped, 6u);
  const Block fifth = blocks_of(numbers(0, 40))[4];
  EXPECT_FALSE(store_->offer(fifth.name, false, fifth.tokens, [](std::span<std::byte>) {
    ADD_FAILURE() << "it is not even copied";
  }));
  put(numbers(100, 4));
  EXPECT_EQ(found(numbers(100, 4)), 1) << "others are taken at once";
}

TEST_F(PrefixStoreTest, AnotherPrefixMakesRoomForTheOneThatGoesOnThoughItWasUsedLater) {
  open("a model", room_for(4));
  put(numbers(0, 8));
  put(numbers(100, 8));
  put(numbers(0, 12));
  EXPECT_EQ(found(numbers(0, 12)), 3);
  EXPECT_EQ(found(numbers(100, 8)), 1);
  EXPECT_TRUE(store_->has_room());
}

TEST_F(PrefixStoreTest, ABlockIsNotKeptWithoutTheOneBeforeIt) {
  const auto blocks = blocks_of(numbers(0, 12));
  offer(blocks[0]);
  offer(blocks[2]);
  store_->flush();
  EXPECT_FALSE(store_->has(blocks[2].name.key));
  EXPECT_EQ(files(), 1);
}

TEST_F(PrefixStoreTest, ForgetsABlockAndWhatContinuesItAtOnce) {
  put(numbers(0, 12));
  std::vector<int> branch = numbers(0, 4);
  branch.insert(branch.end(), {9, 9, 9, 9});
  put(branch);
  put(numbers(50, 8));
  store_->forget(blocks_of(numbers(0, 12))[1].name.key);
  EXPECT_EQ(found(numbers(0, 12)), 1);
  EXPECT_EQ(found(branch), 2);
  open();
  EXPECT_EQ(found(numbers(0, 12)), 1) << "after a restart too";
  EXPECT_EQ(found(numbers(50, 8)), 2);
}

TEST_F(PrefixStoreTest, ForgetsWhatIsStillOnItsWay) {
  for (int round = 0; round < 50; ++round) {
    const auto blocks = blocks_of(numbers(1000 * round, 80));
    for (const Block& block : blocks) offer(block);
    store_->forget(blocks[0].name.key);
    for (const Block& block : blocks) EXPECT_FALSE(store_->has(block.name.key));
    store_->flush();
    ASSERT_EQ(files(), 0);
  }
}

TEST_F(PrefixStoreTest, WhatWasForgottenCanBeComputedAndKeptAgain) {
  for (int round = 0; round < 50; ++round) {
    put(numbers(0, 12));
    store_->forget(blocks_of(numbers(0, 12))[0].name.key);
    put(numbers(0, 12));
    ASSERT_EQ(found(numbers(0, 12)), 3);
  }
}

TEST_F(PrefixStoreTest, DropsWhatItHasNoRoomFor) {
  PrefixStoreOptions options = options_of("few buffers");
  options.write_buffer_bytes = 0;  // the fewest
  open(options);
  int taken = 0;
  for (std::uint64_t salt = 0; salt < 1000; ++salt) {
    const Block block = blocks_of(numbers(0, 4), salt)[0];
    if (!store_->has_room()) continue;
    taken += store_->offer(block.name, true, block.tokens, [](std::span<std::byte>) {});
  }
  store_->flush();
  const PrefixStoreStats stats = store_->stats();
  EXPECT_GE(taken, 2);
  EXPECT_EQ(stats.written, static_cast<std::uint64_t>(taken));
  EXPECT_EQ(stats.dropped, 1000u - taken);
  EXPECT_TRUE(store_->has_room());
}

TEST_F(PrefixStoreTest, ABlockThatCannotBeFilledIsNotWritten) {
  const auto blocks = blocks_of(numbers(0, 4));
  EXPECT_THROW(store_->offer(blocks[0].name, true, blocks[0].tokens,
                             [](std::span<std::byte>) { throw std::runtime_error("no"); }),
               std::runtime_error);
  EXPECT_FALSE(store_->has(blocks[0].name.key));
  EXPECT_TRUE(store_->has_room());
}

TEST_F(PrefixStoreTest, OnlyItsOwnerCanRead) {
  put(numbers(0, 4));
  struct stat status {};
  ASSERT_EQ(::stat(store_->path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  for (const auto& entry : std::filesystem::directory_iterator(store_->path())) {
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << entry.path();
  }
}

// As on a full disk: every write fails half-way.
TEST_F(PrefixStoreTest, AFullDiskCostsMissesAndNothingElse) {
  put(numbers(0, 8));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {room_for(1) / 2, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  offer(blocks_of(numbers(100, 4))[0]);
  store_->flush();
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(store_->stats().dropped, 1u);
  EXPECT_EQ(found(numbers(100, 4)), 0);
  EXPECT_EQ(found(numbers(0, 8)), 2);
  EXPECT_EQ(files(), 2);
  EXPECT_FALSE(store_->has_room()) << "it is given time";
}

TEST_F(PrefixStoreTest, FilesThatSomebodyRemovedAreMisses) {
  put(numbers(0, 12));
  std::filesystem::remove(file_of(blocks_of(numbers(0, 12))[1]));
  EXPECT_EQ(found(numbers(0, 12)), 1);
  EXPECT_EQ(store_->stats().damaged, 0u);
  put(numbers(0, 12));
  EXPECT_EQ(found(numbers(0, 12)), 3);
}

}  // namespace
}  // namespace mlxd::testing
