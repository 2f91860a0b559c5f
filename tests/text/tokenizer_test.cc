#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/small_vocabulary.h"

namespace mlxd {
namespace {

using testing::byte_level_vocabulary;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::sentencepiece_vocabulary;

std::vector<int> encode(const Tokenizer& tokenizer, std::string_view text, bool add = false,
                        bool parse = false) {
  const auto ids = tokenizer.encode(text, add, parse);
  return ids ? *ids : std::vector<int>{-1};
}

std::string load_error(const Vocabulary& vocabulary) {
  try {
    Tokenizer::load(vocabulary);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

TEST(Tokenizer, ByteLevelMergesWithinAWord) {
  const auto tokenizer = Tokenizer::load(byte_level_vocabulary({"h e", "l l", "he ll"}));
  EXPECT_THAT(encode(*tokenizer, "hello"), ElementsAre(258, 'o'));
  EXPECT_EQ(tokenizer->token_bytes(258), "hell");
  EXPECT_EQ(tokenizer->token_bytes(' '), " ");
  EXPECT_EQ(tokenizer->token_bytes(0xE2), "\xE2");
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, "h\xC3\xA9 \n")), "h\xC3\xA9 \n");
}

TEST(Tokenizer, SpecialTokensAreReadOnlyWhereAskedFor) {
  const auto tokenizer = Tokenizer::load(byte_level_vocabulary());
  EXPECT_THAT(encode(*tokenizer, "a<|im_end|>", false, true), ElementsAre('a', 257));
  EXPECT_EQ(encode(*tokenizer, "a<|im_end|>").size(), 11U);
  EXPECT_TRUE(tokenizer->is_special(257));
  EXPECT_EQ(tokenizer->token_bytes(257), "");
  EXPECT_EQ(tokenizer->token_bytes(257, true), "<|im_end|>");
  EXPECT_EQ(tokenizer->token_id("<|im_end|>"), 257);
  EXPECT_EQ(tokenizer->token_id("nothing"), -1);
}

TEST(Tokenizer, SentencePiecePutsASpaceInFrontAndTakesItOff) {
  const std::string space = "\xE2\x96\x81";
  const auto tokenizer = Tokenizer::load(sentencepiece_vocabulary({space, space + "a", "a"}));
  EXPECT_THAT(encode(*tokenizer, "a a", true), ElementsAre(1, 260, 260));
  EXPECT_THAT(encode(*tokenizer, "</s>a", false, true), ElementsAre(2, 260));
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, "a a", true)), "a a");
  EXPECT_EQ(tokenizer->token_bytes(260), " a");
}

TEST(Tokenizer, SentencePieceFallsBackToBytes) {
  const auto tokenizer = Tokenizer::load(sentencepiece_vocabulary({"\xE2\x96\x81"}));
  EXPECT_THAT(encode(*tokenizer, "\xC3\xA9"), ElementsAre(259, 3 + 0xC3, 3 + 0xA9));
  EXPECT_EQ(tokenizer->token_bytes(3 + 0xC3), "\xC3");
}

TEST(Tokenizer, AnIdOutsideTheVocabularyIsEmpty) {
  const auto tokenizer = Tokenizer::load(byte_level_vocabulary());
  EXPECT_EQ(tokenizer->vocab_size(), 258);
  EXPECT_EQ(tokenizer->token_bytes(-1), "");
  EXPECT_EQ(tokenizer->token_bytes(258, true), "");
  EXPECT_FALSE(tokenizer->is_special(1 << 30));
}

TEST(Tokenizer, Gemma4MergesWholeLinesOfMarkedSpaces) {
  const std::string space = "\xE2\x96\x81";
  Vocabulary vocabulary;
  vocabulary.source = "gemma4.gguf";
  vocabulary.model = "gemma4";
  vocabulary.pre_tokenizer = "gemma4";
  vocabulary.tokens = {"a", "b", space, space + "b", "a" + space + "b", "\n", "<0xC3>", "<0xA9>"};
  vocabulary.types = {1, 1, 1, 1, 1, 1, 6, 6};
  vocabulary.merges = {space + " b", "a " + space + "b"};
  const auto tokenizer = Tokenizer::load(vocabulary);
  EXPECT_THAT(encode(*tokenizer, "a b\na b"), ElementsAre(4, 5, 4));
  EXPECT_THAT(encode(*tokenizer, "\xC3\xA9"), ElementsAre(6, 7));
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, "a b\n \xC3\xA9")), "a b\n \xC3\xA9");
}

TEST(Tokenizer, InvalidUtf8IsAnError) {
  const auto tokenizer = Tokenizer::load(byte_level_vocabulary());
  const auto ids = tokenizer->encode("a\xFF", false, false);
  ASSERT_FALSE(ids);
  EXPECT_THAT(ids.error().message, HasSubstr("UTF-8"));
}

TEST(Tokenizer, WhatAClientChoseInARenderedChatIsText) {
  const auto tokenizer = Tokenizer::load(byte_level_vocabulary());
  const std::string text = "x<|im_end|>y<|im_end|>";
  const auto ids = tokenizer->encode_chat({text, {{0, 12}}});
  ASSERT_TRUE(ids);
  std::vector<int> expected = encode(*tokenizer, "x<|im_end|>y");
  expected.push_back(257);
  EXPECT_EQ(*ids, expected);
}

TEST(Tokenizer, ATokenThatTheClientBeganOrEndedIsText) {
  const auto tokenizer = Tokenizer::load(byte_level_vocabulary());
  const std::string text = "<|im_end|>";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto ids = tokenizer->encode_chat({text, {{i, i + 1}}});
    ASSERT_TRUE(ids);
    EXPECT_EQ(*ids, encode(*tokenizer, text)) << i;
  }
}

TEST(Tokenizer, UnusableVocabulariesAreRefusedBySourceAndReason) {
  Vocabulary vocabulary = byte_level_vocabulary();
  vocabulary.pre_tokenizer = "nonesuch";
  EXPECT_THAT(load_error(vocabulary), HasSubstr("small.gguf"));
  EXPECT_THAT(load_error(vocabulary), HasSubstr("\"nonesuch\""));
  EXPECT_THAT(load_error(vocabulary), HasSubstr("llama-bpe"));

  vocabulary = byte_level_vocabulary();
  vocabulary.model = "rwkv";
  EXPECT_THAT(load_error(vocabulary), HasSubstr("\"rwkv\""));

  vocabulary = byte_level_vocabulary();
  vocabulary.model = "t5";  // a Unigram, of which this has no scores
  EXPECT_THAT(load_error(vocabulary), HasSubstr("small.gguf"));

  vocabulary = byte_level_vocabulary();
  vocabulary.merges = {"a zz"};
  EXPECT_THAT(load_error(vocabulary), HasSubstr("zz"));

  vocabulary = byte_level_vocabulary();
  vocabulary.types.pop_back();
  EXPECT_THAT(load_error(vocabulary), HasSubstr("257 token types for 258 tokens"));

  vocabulary = sentencepiece_vocabulary();
  vocabulary.scores.clear();
  EXPECT_THAT(load_error(vocabulary), HasSubstr("scores"));

  vocabulary = byte_level_vocabulary();
  vocabulary.tokens.back() = std::string(1 << 20, 'a');
  EXPECT_THAT(load_error(vocabulary), HasSubstr("1048576 bytes"));
}

TEST(Tokenizer, TokensThatAreEmptyDoubledOrNotUtf8AreTolerated) {
  Vocabulary vocabulary = sentencepiece_vocabulary({"a", "", "\xFF\xFE", "a", "\xE2\x96\x81"});
  const auto tokenizer = Tokenizer::load(vocabulary);
  EXPECT_EQ(tokenizer->token_bytes(260), "");
  EXPECT_EQ(tokenizer->token_bytes(261), "\xFF\xFE");
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, "aa")), "aa");
}

}  // namespace
}  // namespace mlxd
