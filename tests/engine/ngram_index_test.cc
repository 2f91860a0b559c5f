#include "engine/ngram_index.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "engine/draft_policy.h"

namespace mlxd {
namespace {

using Tokens = std::vector<int>;

Tokens draft_of(const Tokens& tokens, int most) {
  NgramIndex index;
  Tokens draft;
  index.propose(tokens, most, draft);
  return draft;
}

TEST(NgramIndex, ProposesWhatFollowedTheLastTokensBefore) {
  EXPECT_EQ(draft_of({1, 2, 3, 4, 5, 9, 1, 2}, 3), (Tokens{3, 4, 5}));
  EXPECT_EQ(draft_of({1, 2, 3, 4, 5, 9, 1, 2}, 0), Tokens{});
}

TEST(NgramIndex, TheLatestOccurrenceCounts) {
  EXPECT_EQ(draft_of({1, 2, 3, 1, 2, 4, 1, 2}, 1), Tokens{4});
}

TEST(NgramIndex, ALongerOccurrenceCountsMoreThanALaterOne) {
  EXPECT_EQ(draft_of({5, 6, 1, 2, 3, 7, 8, 1, 2, 4, 5, 6, 1, 2}, 1), Tokens{3});
}

TEST(NgramIndex, NothingNewIsGuessed) {
  EXPECT_EQ(draft_of({}, 4), Tokens{});
  EXPECT_EQ(draft_of({1}, 4), Tokens{});
  EXPECT_EQ(draft_of({1, 2}, 4), Tokens{});
  EXPECT_EQ(draft_of({1, 2, 3, 4, 5, 1, 6}, 4), Tokens{}) << "one token says too little";
}

TEST(NgramIndex, ALoopGoesOnBeyondTheEnd) {
  EXPECT_EQ(draft_of({7, 7, 7}, 5), (Tokens{7, 7, 7, 7, 7}));
  EXPECT_EQ(draft_of({1, 2, 3, 1, 2, 3, 1, 2}, 5), (Tokens{3, 1, 2, 3, 1}));
}

// What a index says must have followed an earlier occurrence, and it must miss few of those that
// there are, though its table forgets.
TEST(NgramIndex, GrowsWithItsSequenceAndNeverMakesAnythingUp) {
  std::mt19937 random(1);
  Tokens tokens;
  NgramIndex index;
  int there = 0, found = 0;
  while (tokens.size() < 3000) {
    const auto added = 1 + random() % 5;
    for (unsigned i = 0; i < added; ++i) tokens.push_back(static_cast<int>(random() % 30));
    Tokens draft;
    index.propose(tokens, 1, draft);
    if (tokens.size() < 3) continue;
    bool recurs = false, follows = false;
    for (std::size_t end = 2; end < tokens.size(); ++end) {
      if (!std::equal(tokens.end() - 2, tokens.end(), tokens.begin() + end - 2)) continue;
      recurs = true;
      follows = follows || (!draft.empty() && tokens[end] == draft[0]);
    }
    ASSERT_TRUE(draft.empty() || follows);
    there += recurs;
    found += recurs && follows;
  }
  EXPECT_GT(there, 300);
  EXPECT_GT(found, there * 7 / 10);
}

TEST(NgramIndex, AVeryLongSequenceRemembersItsEnd) {
  Tokens tokens(NgramIndex::kMostSlots * 4);
  std::iota(tokens.begin(), tokens.end(), 0);
  const std::size_t recent = tokens.size() - 2000;
  for (int i = 0; i < 4; ++i) tokens.push_back(tokens[recent + i]);
  EXPECT_EQ(draft_of(tokens, 2), (Tokens{tokens[recent + 4], tokens[recent + 5]}));
}

TEST(DraftPolicy, DraftsMoreTheBetterTheGuessesAndLessTheMoreSequencesDecode) {
  for (int sequences = 1; sequences < 64; ++sequences) {
    for (int percent = 0; percent < 100; ++percent) {
      const int length = draft_length(percent / 100.0, sequences, 8);
      EXPECT_GE(length, 0);
      EXPECT_LE(length, draft_length((percent + 1) / 100.0, sequences, 8));
      EXPECT_GE(length, draft_length(percent / 100.0, sequences + 1, 8));
    }
  }
  EXPECT_EQ(draft_length(1, 1, 8), 8);
  EXPECT_EQ(draft_length(1, 1, 0), 0);
  EXPECT_GE(draft_length(0.5, 1, 8), 1) << "a new sequence tries";
  EXPECT_EQ(draft_length(0.8, 16, 8), 0) << "many sequences share the weights' way already";
  EXPECT_EQ(draft_length(0.05, 1, 8), 0);
}

TEST(DraftPolicy, ADozenWrongGuessesEndDraftingAndAFewRightOnesBeginItAgain) {
  DraftRecord record;
  int wrong = 0;
  for (; draft_length(record.acceptance(), 1, 8) > 0; ++wrong) {
    ASSERT_LT(wrong, 16);
    record.observe(false);
  }
  EXPECT_GT(wrong, 4);
  for (int right = 0; draft_length(record.acceptance(), 1, 8) < 3; ++right) {
    ASSERT_LT(right, 8);
    record.observe(true);
  }
}

}  // namespace
}  // namespace mlxd
