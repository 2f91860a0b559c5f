#include "tools/script.h"

#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/small_vocabulary.h"

namespace mlxd::testing {
namespace {

constexpr std::string_view kScript = R"({"turns": [
  {"last": ["result"], "say": "sunny"},
  {"prompt": ["get_weather"], "last": ["Paris"], "say": "call"}
], "otherwise": "é"})";
const std::string kOpening = "<user>assistant:";

// A prompt of messages that each begin with <user>, as the opening does.
std::string prompt(std::string_view last) {
  return "get_weather<user>Paris, and its result<user>" + std::string(last);
}

TEST(Script, ItsTurnsAreChosenByThePromptAndTheLastMessage) {
  const Script script(kScript, kOpening);
  EXPECT_EQ(script.answer_to(prompt("Paris")), "call");
  EXPECT_EQ(script.answer_to(prompt("the result of Paris")), "sunny");
  EXPECT_EQ(script.answer_to(prompt("a title?")), "é");
  EXPECT_EQ(script.answer_to("<user>Paris"), "é");
}

TEST(Script, AnAnswerGoesOnFromItsText) {
  const Script script(kScript, kOpening);
  const auto tokenizer = Tokenizer::load(byte_level_vocabulary());
  std::vector<int> history = *tokenizer->encode(prompt("Hello") + kOpening, false, false);
  std::string said;
  for (int token = 0; (token = script.next(*tokenizer, history)) >= 0;) {
    history.push_back(token);
    said += tokenizer->token_bytes(token);
  }
  EXPECT_EQ(said, "é");
}

TEST(Script, WhatIsNotWrittenThereIsAnError) {
  const Script script(kScript, kOpening);
  const auto tokenizer = Tokenizer::load(byte_level_vocabulary());
  const auto history = *tokenizer->encode(prompt("Hello") + kOpening + "x", false, false);
  EXPECT_THROW(script.next(*tokenizer, history), std::runtime_error);
  EXPECT_THROW(Script(R"({"turns": []})", kOpening), std::runtime_error);
}

}  // namespace
}  // namespace mlxd::testing
