#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include "text/small_vocabulary.h"

namespace mlxd {
namespace {

TEST(Detokenizer, HoldsBackTheBytesOfAnUnfinishedCharacter) {
  Detokenizer detokenizer(Tokenizer::load(testing::byte_level_vocabulary()));
  EXPECT_EQ(detokenizer.push('a'), "a");
  EXPECT_EQ(detokenizer.push(0xF0), "");
  EXPECT_EQ(detokenizer.push(0x9F), "");
  EXPECT_EQ(detokenizer.push(0x98), "");
  EXPECT_EQ(detokenizer.push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(Detokenizer, WhatNeverBecomesACharacterIsReplaced) {
  Detokenizer detokenizer(Tokenizer::load(testing::byte_level_vocabulary()));
  EXPECT_EQ(detokenizer.push(0xE2), "");
  EXPECT_EQ(detokenizer.push('a'),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(detokenizer.push(0xE2), "");
  EXPECT_EQ(detokenizer.finish(), "\xEF\xBF\xBD");
}

TEST(Detokenizer, StripsTheFirstSpaceOfATextButNotOfItsContinuation) {
  const auto tokenizer =
      Tokenizer::load(testing::sentencepiece_vocabulary({"\xE2\x96\x81"
                                                         "a"}));
  Detokenizer text(tokenizer);
  EXPECT_EQ(text.push(1), "");  // a control token does not count
  EXPECT_EQ(text.push(259), "a");
  EXPECT_EQ(text.push(259), " a");
  Detokenizer continuation(tokenizer, Detokenizer::Begin::continuation);
  EXPECT_EQ(continuation.push(259), " a");
}

}  // namespace
}  // namespace mlxd
