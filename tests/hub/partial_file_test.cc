#include "hub/partial_file.h"

#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "hub/blob_hash.h"

namespace mlxd::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMiB = 1 << 20;

class PartialFileTest : public ::testing::Test {
 protected:
  PartialFileTest() : folder_(fs::path(::testing::TempDir()) / unique_name()) {
    fs::create_directories(folder_);
  }
  ~PartialFileTest() override { fs::remove_all(folder_); }

  static std::string unique_name() {
    return std::string("partial-") +
           ::testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  fs::path blob() const { return folder_ / "blob"; }
  static void fill(PartialFile& file, std::size_t piece, std::int64_t bytes) {
    const std::string data(static_cast<std::size_t>(bytes), 'x');
    ASSERT_TRUE(file.write(piece, data.data(), data.size()));
  }

  const fs::path folder_;
};

TEST_F(PartialFileTest, IsTakenInPiecesThatCoverIt) {
  PartialFile file(blob(), 40 * kMiB);
  std::int64_t end = 0;
  int pieces = 0;
  while (const auto piece = file.take()) {
    EXPECT_EQ(file.piece(*piece).begin, end);
    end = file.piece(*piece).end;
    ++pieces;
  }
  EXPECT_EQ(end, 40 * kMiB);
  EXPECT_EQ(pieces, 3);
  file.give_back(1);
  EXPECT_EQ(file.take(), 1u);
}

TEST_F(PartialFileTest, OfALargeFileHasFewPieces) {
  PartialFile file(blob(), std::int64_t{1} << 40);
  int pieces = 0;
  while (file.take()) ++pieces;
  EXPECT_EQ(pieces, 64);
}

TEST_F(PartialFileTest, GoesOnWhereAnotherProcessEnded) {
  {
    PartialFile file(blob(), 40 * kMiB);
    file.take();
    const auto second = file.take();
    fill(file, *second, 5 * kMiB);
    file.save();
  }
  EXPECT_EQ(PartialFile::bytes_there(blob(), 40 * kMiB), 5 * kMiB);
  EXPECT_EQ(PartialFile::bytes_there(blob(), 41 * kMiB), 0);
  PartialFile file(blob(), 40 * kMiB);
  EXPECT_EQ(file.done(), 5 * kMiB);
  EXPECT_EQ(file.piece(1).done, 5 * kMiB);
  EXPECT_FALSE(file.complete());
}

TEST_F(PartialFileTest, RefusesMoreBytesThanAPieceHas) {
  PartialFile file(blob(), 10);
  const auto piece = file.take();
  fill(file, *piece, 10);
  EXPECT_TRUE(file.complete());
  EXPECT_FALSE(file.write(*piece, "x", 1));
  EXPECT_EQ(file.take(), std::nullopt);
}

TEST_F(PartialFileTest, BecomesItsBlobAndLeavesNothingBeside) {
  PartialFile file(blob(), 3);
  fill(file, *file.take(), 3);
  file.save();
  file.move_to_blob();
  EXPECT_EQ(fs::file_size(blob()), 3u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(PartialFileTest, MayBeEmpty) {
  PartialFile file(blob(), 0);
  EXPECT_TRUE(file.complete());
  EXPECT_EQ(file.take(), std::nullopt);
}

TEST_F(PartialFileTest, StartsAgainAsOnePieceForAServerWithoutRanges) {
  PartialFile file(blob(), 40 * kMiB);
  fill(file, *file.take(), kMiB);
  file.give_back(0);
  file.start_again(/*as_one_piece=*/true);
  EXPECT_EQ(file.done(), 0);
  EXPECT_EQ(file.piece(*file.take()).end, 40 * kMiB);
}

TEST_F(PartialFileTest, BlobsHaveTheHashesThatTheHubTells) {
  std::ofstream(blob()) << "hello\n";
  std::atomic<bool> stop = false;
  // As sha256sum and git hash-object say.
  EXPECT_EQ(hash_of(blob(), {"x", 6, "", true}, stop),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
  EXPECT_EQ(hash_of(blob(), {"x", 6, "", false}, stop), "ce013625030ba8dba906f756967f9e9ca394464a");
  stop = true;
  EXPECT_EQ(hash_of(blob(), {"x", 6, "", true}, stop), "");
}

}  // namespace
}  // namespace mlxd::hub
