#include "engine/batch_check.h"

#include <vector>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

// Two sequences of a model with recurrent states: one that begins, with two rows, and one that goes
// on from slot 0.
class BatchCheckDeathTest : public ::testing::Test {
 protected:
  BatchCheckDeathTest() {
    info_.vocab_size = 10;
    info_.context_length = 100;
    info_.block_size = 4;
    info_.kv = {{.block_bytes = 1}};
    info_.state_bytes = 1;
    batch_.tokens = {1, 2, 3};
    batch_.positions = {0, 1, 5};
    batch_.sequences.push_back({.first_row = 0,
                                .query_length = 2,
                                .context_length = 2,
                                .blocks = tables_of(info_, first_blocks_),
                                .saves = first_saves_});
    batch_.sequences.push_back({.first_row = 2,
                                .query_length = 1,
                                .context_length = 6,
                                .blocks = tables_of(info_, second_blocks_),
                                .state = 0,
                                .saves = second_saves_});
  }
  void check() { check_batch(batch_, info_, CacheSize::of(info_, 8, /*states=*/4)); }

  RunnerInfo info_;
  std::vector<int> first_blocks_{0}, second_blocks_{1, 2};
  std::vector<StateSave> first_saves_{{.after_row = 0, .slot = 1}, {.after_row = 1, .slot = 2}};
  std::vector<StateSave> second_saves_{{.after_row = 2, .slot = 3}};
  Batch batch_;
};

TEST_F(BatchCheckDeathTest, AllIsRightWhereEachGoesOnFromItsSlotToAnotherOrInPlace) {
  check();
  second_saves_[0].slot = 0;
  check();
}

TEST_F(BatchCheckDeathTest, TheRowsOfAPromptAreOfItsSequence) {
  batch_.sequences[0].prompt_rows = 2;
  check();
  batch_.sequences[1].prompt_rows = 2;
  EXPECT_DEATH(check(), "the rows of a prompt are the first of its sequence");
  batch_.sequences[1].prompt_rows = -1;
  EXPECT_DEATH(check(), "the rows of a prompt are the first of its sequence");
}

TEST_F(BatchCheckDeathTest, NoSlotIsSavedToTwice) {
  second_saves_[0].slot = 1;
  EXPECT_DEATH(check(), "a slot gets one state");
}

TEST_F(BatchCheckDeathTest, NobodySavesToASlotThatAnotherGoesOnFrom) {
  first_saves_[1].slot = 0;
  EXPECT_DEATH(check(), "not written by another");
}

TEST_F(BatchCheckDeathTest, InPlaceSavesWhoAloneReadsTheSlot) {
  second_saves_[0].slot = 0;
  batch_.tokens.push_back(4);
  batch_.positions.push_back(3);
  batch_.sequences.push_back({.first_row = 3,
                              .query_length = 1,
                              .context_length = 4,
                              .blocks = tables_of(info_, first_blocks_),
                              .state = 0});
  EXPECT_DEATH(check(), "not written by another");
}

TEST_F(BatchCheckDeathTest, SavesAreAfterTheSequencesOwnRowsInOrder) {
  first_saves_[1].after_row = 2;
  EXPECT_DEATH(check(), "after rows of their sequence, in order");
  first_saves_[1].after_row = 0;
  EXPECT_DEATH(check(), "after rows of their sequence, in order");
}

TEST_F(BatchCheckDeathTest, SlotsAreOfTheCache) {
  first_saves_[0].slot = 4;
  EXPECT_DEATH(check(), "saved to a slot of the cache");
  first_saves_[0].slot = 1;
  batch_.sequences[1].state = 4;
  EXPECT_DEATH(check(), "a state is a slot of the cache");
}

TEST_F(BatchCheckDeathTest, OnlyWhoBeginsHasNoStateToGoOnFrom) {
  batch_.sequences[1].state = -1;
  EXPECT_DEATH(check(), "goes on from its state");
}

}  // namespace
}  // namespace mlxd
