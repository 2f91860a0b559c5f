#include "serve/load_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/serve_fixture.h"

namespace mlxd {
namespace {

using ::testing::ElementsAre;

TEST(LoadModel, StopIdsAreTheFilesTheTemplatesAndTheEndsOfText) {
  Vocabulary vocabulary = testing::byte_level_vocabulary();
  for (const char* name : {"<|endoftext|>", "<|eot_id|>", "<s>"}) {
    vocabulary.tokens.push_back(name);
    vocabulary.types.push_back(3);
  }
  vocabulary.tokens.push_back("</s>");
  vocabulary.types.push_back(1);  // a piece of text, as in Qwen's vocabulary
  vocabulary.stop_ids = {260};
  vocabulary.chat_template = "{{ '<|im_end|>' }}";
  const auto tokenizer = Tokenizer::load(vocabulary);
  EXPECT_THAT(stop_ids_of(vocabulary, *tokenizer), ElementsAre(257, 258, 260));
}

TEST(LoadModel, AServedModelIsAllButItsEngine) {
  ModelFiles files;
  files.path = MLXD_TEST_DATA;
  files.fingerprint = "0123456789ab";
  files.plan.head.weight.weight.rows = 300;
  files.vocabulary = testing::chat_vocabulary();
  const ServedModel model = make_served_model(files, "id", "1.2.3", "cpu");
  EXPECT_EQ(model.id, "id");
  EXPECT_EQ(model.fingerprint, "mlxd-1.2.3-0123456789ab-cpu");
  EXPECT_GT(model.created, 1700000000);
  EXPECT_NE(model.chat_template, nullptr);
  EXPECT_THAT(model.stop_ids, ElementsAre(257));
  EXPECT_EQ(model.engine, nullptr);
}

TEST(LoadModel, TheParserIsTheTemplatesOrTheOperators) {
  ModelFiles files;
  files.vocabulary = testing::chat_vocabulary();
  files.plan.head.weight.weight.rows = 300;
  EXPECT_TRUE(make_served_model(files, "id", "1", "cpu").tools_in_words);
  files.vocabulary.chat_template += "{# <tool_call><arg_key> </think> #}";
  const ServedModel glm = make_served_model(files, "id", "1", "cpu");
  EXPECT_FALSE(glm.tools_in_words);
  EXPECT_EQ(glm.reasoning_mark, "<think>");
  const ServedModel none = make_served_model(files, "id", "1", "cpu", {"none", "none"});
  EXPECT_FALSE(none.tools_in_words);
  EXPECT_EQ(none.reasoning_mark, "");
  files.vocabulary.tool_use_template = "<tool_call>";
  EXPECT_TRUE(make_served_model(files, "id", "1", "cpu").tools_in_words);
}

TEST(LoadModel, ABadTokeniserIsFoundWithoutAnEngine) {
  ModelFiles files;
  files.vocabulary = testing::chat_vocabulary();
  files.vocabulary.pre_tokenizer = "nonesuch";
  EXPECT_THROW(make_served_model(files, "id", "1", "cpu"), LoadError);
}

TEST(LoadModel, WhatEndsAMessageOfGptOssDoesNotEndItsTurn) {
  Vocabulary vocabulary = testing::byte_level_vocabulary();
  for (const char* name : {"<|return|>", "<|call|>", "<|end|>"}) {
    vocabulary.tokens.push_back(name);
    vocabulary.types.push_back(3);
  }
  vocabulary.chat_template = "<|end|><|return|><|call|>";
  EXPECT_THAT(stop_ids_of(vocabulary, *Tokenizer::load(vocabulary)), ElementsAre(258, 259));
}

TEST(LoadModel, AnEosThatIsKnownByItsTextAloneEndsATurn) {
  Vocabulary vocabulary = testing::byte_level_vocabulary();
  vocabulary.tokens.push_back("<done>");
  vocabulary.types.push_back(3);
  vocabulary.eos_token = "<done>";
  EXPECT_THAT(stop_ids_of(vocabulary, *Tokenizer::load(vocabulary)), ElementsAre(258));
}

TEST(LoadModel, AnEndThatTheModelHasNoRowForIsLeftOut) {
  ModelFiles files;
  files.vocabulary = testing::chat_vocabulary();
  files.vocabulary.stop_ids = {257, 258};
  files.plan.head.weight.weight.rows = 258;
  EXPECT_THAT(make_served_model(files, "id", "1", "fake").stop_ids, ElementsAre(257));
}

}  // namespace
}  // namespace mlxd
