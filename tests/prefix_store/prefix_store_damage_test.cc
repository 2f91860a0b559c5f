// Files that are not what was written: each is a miss, and gone afterwards.
#include <algorithm>
#include <random>

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "prefix_store/prefix_store.h"
#include "prefix_store/store_fixture.h"

namespace mlxd::testing {
namespace {

class DamageTest : public StoreFixture {
 protected:
  void SetUp() override {
    spdlog::set_level(spdlog::level::err);  // not a line for each
    open();
    put(numbers(0, 12));
    blocks_ = blocks_of(numbers(0, 12));
    for (const Block& block : blocks_) originals_.push_back(contents_of(file_of(block)));
  }

  void TearDown() override { spdlog::set_level(spdlog::level::info); }

  void expect_miss(const Block& block) {
    EXPECT_FALSE(can_read(block));
    EXPECT_FALSE(store_->contains(block.name.key));
    store_->flush();
    EXPECT_FALSE(std::filesystem::exists(file_of(block)));
  }

  std::vector<Block> blocks_;
  std::vector<std::string> originals_;
};

TEST_F(DamageTest, EveryBitCounts) {
  const Block& block = blocks_[1];
  for (std::size_t bit = 0; bit < originals_[1].size() * 8; ++bit) {
    std::string damaged = originals_[1];
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    write_file(file_of(block), damaged);
    const PrefixStore::Buffer file = store_->buffer_until(TimePoint::min());
    ASSERT_FALSE(store_->read(block.name, block.tokens, file.bytes())) << bit;
    store_->flush();
  }
  EXPECT_EQ(store_->stats().damaged, originals_[1].size() * 8);
}

TEST_F(DamageTest, AFileThatIsTooShortOrTooLongIsAMiss) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, originals_[0].size() / 2,
                                 originals_[0].size() - 1, originals_[0].size() + 1}) {
    put(numbers(0, 12));
    std::string damaged = originals_[0];
    damaged.resize(size, 'x');
    write_file(file_of(blocks_[0]), damaged);
    expect_miss(blocks_[0]);
  }
  EXPECT_EQ(store_->stats().damaged, 5u);
}

TEST_F(DamageTest, AnotherBlocksFileIsAMissThoughItIsWhole) {
  write_file(file_of(blocks_[1]), originals_[2]);
  expect_miss(blocks_[1]);
  EXPECT_TRUE(can_read(blocks_[2]));
}

TEST_F(DamageTest, AnotherModelsFileIsAMissThoughItIsWhole) {
  const std::string ours = file_of(blocks_[0]).filename();
  open("another model");
  put(numbers(0, 12));
  const std::string theirs = contents_of(file_of(blocks_of(numbers(0, 12))[0]));
  open();
  write_file(store_->path() / ours, theirs);
  expect_miss(blocks_[0]);
}

TEST_F(DamageTest, ThingsThatAreNoFilesAreMisses) {
  const auto path = file_of(blocks_[0]);
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_FALSE(can_read(blocks_[0]));
  std::filesystem::remove(path);
  put(numbers(0, 12));
  std::filesystem::remove(path);
  std::filesystem::create_symlink(file_of(blocks_[1]), path);
  EXPECT_FALSE(can_read(blocks_[0])) << "links are not followed";
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(can_read(blocks_[0])) << "and pipes are not waited for";
}

TEST_F(DamageTest, AFolderOfNonsenseIsAnEmptyOne) {
  const auto path = store_->path();
  store_.reset();
  const std::string hex(64, 'a');
  write_file(path / "incoming", "half a block");
  write_file(path / "notes.txt", "of the operator");
  write_file(path / (hex + "-" + hex), "too short");
  write_file(path / (hex + "-" + std::string(64, 'G')), "no name of a block");
  std::filesystem::create_directory(path / (std::string(64, 'b') + "-" + hex));
  open();
  EXPECT_EQ(store_->stats().blocks, 3u);
  EXPECT_FALSE(std::filesystem::exists(path / "incoming"));
  EXPECT_FALSE(std::filesystem::exists(path / (hex + "-" + hex)));
  EXPECT_TRUE(std::filesystem::exists(path / "notes.txt")) << "what is not ours stays";
  EXPECT_EQ(found(numbers(0, 12)), 3);
}

// One random change to a file: bits, bytes, pieces, lengths, other blocks' parts.
std::string mutated(std::string text, const std::vector<std::string>& others,
                    std::mt19937& random) {
  if (text.empty()) return others[0].substr(0, 1);
  const auto below = [&](std::size_t n) { return random() % std::max<std::size_t>(n, 1); };
  const std::size_t at = below(text.size());
  const std::size_t length = 1 + below(text.size() - at);
  switch (below(8)) {
    case 0:
      text[at] = static_cast<char>(text[at] ^ 1 << below(8));
      break;
    case 1:
      text[at] = static_cast<char>(random());
      break;
    case 2:
      text.resize(at);
      break;
    case 3:
      text.append(length, static_cast<char>(random()));
      break;
    case 4:
      std::fill_n(text.begin() + at, length, '\0');
      break;
    case 5:
      text.erase(at, length);
      break;
    case 6:
      std::shuffle(text.begin() + at, text.begin() + at + length, random);
      break;
    default:
      text.replace(at, length,
                   others[below(others.size())].substr(std::min(at, others[0].size()), length));
  }
  return text;
}

TEST_F(DamageTest, ThousandsOfRandomChangesNeverCrashAndNeverGiveWrongContents) {
  std::mt19937 random(1);
  int misses = 0;
  for (int i = 0; i < 8000; ++i) {
    const std::size_t which = random() % blocks_.size();
    std::string damaged = originals_[which];
    for (std::size_t changes = 1 + random() % 3; changes > 0; --changes) {
      damaged = mutated(damaged, originals_, random);
    }
    write_file(file_of(blocks_[which]), damaged);
    if (i % 40 == 0) open();  // and what the start makes of it
    const bool same = damaged == originals_[which];
    ASSERT_EQ(can_read(blocks_[which]), same) << i;
    misses += !same;
    put(numbers(0, 12));
    ASSERT_EQ(contents_of(file_of(blocks_[which])), originals_[which]) << "computed again";
  }
  EXPECT_GT(misses, 6000);
}

}  // namespace
}  // namespace mlxd::testing
