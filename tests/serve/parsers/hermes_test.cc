#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/parsers/answers.h"

namespace mlxd::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> hermes(std::string_view text) {
  return read(format("hermes", "think"), text);
}

TEST(Hermes, ReadsACall) {
  EXPECT_THAT(hermes("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"</tool_call>\"}}\n"
                     "</tool_call>"),
              ElementsAre(R"(call: f {"s": "</tool_call>"})"));
}

TEST(Hermes, ReadsContentAndSeveralCalls) {
  EXPECT_THAT(hermes("I look.\n<tool_call>{\"name\":\"f\",\"arguments\":{\"n\":1}}</tool_call>\n"
                     "<tool_call>{\"name\":\"g\",\"parameters\":{}}</tool_call>\n"),
              ElementsAre("content: I look.", R"(call: f {"n":1})", "call: g {}"));
  EXPECT_THAT(hermes("<tool_call>{\"name\":\"g\"}</tool_call>\nDone."),
              ElementsAre("call: g {}", "content: \nDone."));
}

TEST(Hermes, ACallMayLackItsEnd) {
  EXPECT_THAT(hermes("<tool_call>{\"name\":\"f\",\"arguments\":{\"n\":1}"),
              ElementsAre(R"(call: f {"n":1})"));
  EXPECT_THAT(hermes("<tool_call>{\"name\":\"f\",\"arguments\":{\"n\":1}}\nand"),
              ElementsAre(R"(call: f {"n":1})", "content: \nand"));
}

TEST(Hermes, ACallWithoutMarksIsOneWhereTheAnswerBegins) {
  EXPECT_THAT(hermes("```json\n{\n  \"name\": \"f\",\n  \"arguments\": {\n    \"n\": 1\n  }\n}\n"
                     "```"),
              ElementsAre("call: f {\n    \"n\": 1\n  }"));
  EXPECT_THAT(hermes("{\"name\": \"g\", \"arguments\": {}}\n{\"name\": \"g\", \"arguments\": {}}"),
              ElementsAre("call: g {}", "call: g {}"));
  EXPECT_THAT(hermes("{{\"name\": \"g\", \"arguments\": {}}}"), ElementsAre("call: g {}"));
  const std::string later = "So: {\"name\": \"g\", \"arguments\": {}}";
  EXPECT_THAT(hermes(later), ElementsAre("content: " + later));
}

TEST(Hermes, WhatIsNoCallOfADeclaredFunctionStaysContent) {
  for (const std::string text :
       {"<tool_call>", "Write <tool_call> and </tool_call> around it.",
        "<tool_call>{\"name\": \"h\", \"arguments\": {}}</tool_call>",
        "<tool_call>{\"arguments\": {}}</tool_call>", "<tool_call>[1]</tool_call>",
        "{\"name\": \"Ann\", \"age\": 3}", "```json\n{\"name\": \"h\"}\n```", "  ```\ncode\n```",
        "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>", "\n\n", "<tool_cal"}) {
    EXPECT_THAT(hermes(text), ElementsAre("content: " + text)) << text;
  }
  EXPECT_THAT(hermes("<tool_call><tool_call>{\"name\": \"g\"}</tool_call>"),
              ElementsAre("content: <tool_call>", "call: g {}"));
}

TEST(Hermes, SaysArgumentsAsTheyCome) {
  Reading reading(format("hermes"), marks_tokenizer());
  reading.add("<tool_call>\n{\"name\": \"f\", \"arguments\": ");
  EXPECT_THAT(reading.words(), IsEmpty());
  reading.add("{\"s\": \"a");
  EXPECT_THAT(reading.words(), ElementsAre("call: f {\"s\": \"a"));
  reading.add("b");
  EXPECT_THAT(reading.words(), ElementsAre("call: f {\"s\": \"ab"));
  EXPECT_TRUE(reading.in_call());
  reading.add("\"}}");
  EXPECT_FALSE(reading.in_call());
}

TEST(Hermes, BrokenArgumentsAreSaidAsTheyWereWritten) {
  Reading reading(format("hermes"), marks_tokenizer());
  reading.add("<tool_call>{\"name\":\"f\",\"arguments\":{\"s\": oh}}</tool_call>x");
  reading.end();
  EXPECT_THAT(reading.words(), ElementsAre("call: f {\"s\": oh}}", "content: x"));
  EXPECT_TRUE(reading.in_call());
}

TEST(Reasoning, IsABlockBeforeTheAnswer) {
  EXPECT_THAT(hermes("<think>\nHm.\n</think>\n\nHi"), ElementsAre("reasoning: Hm.", "content: Hi"));
  EXPECT_THAT(hermes("<think>Hm.</think>\n<tool_call>{\"name\":\"g\"}</tool_call>"),
              ElementsAre("reasoning: Hm.", "call: g {}"));
  EXPECT_THAT(hermes("A <think> in prose</think>"),
              ElementsAre("content: A <think> in prose</think>"));
  EXPECT_THAT(hermes("<think>never ended </thin"), ElementsAre("reasoning: never ended </thin"));
}

TEST(Reasoning, MayHaveBegunInThePrompt) {
  const AnswerFormat both = format("hermes", "think");
  EXPECT_THAT(read(both, "Hm.\n</think>\n\nHi", {}, true),
              ElementsAre("reasoning: Hm.", "content: Hi"));
}

TEST(Reasoning, AMarkThatIsAControlTokenIsKnownByItsIdAlone) {
  const std::vector<std::string> marks = {"<think>", "</think>"};
  EXPECT_THAT(read(format("none", "think"), "<think>a</think>b", marks),
              ElementsAre("reasoning: a", "content: b"));
  Reading spelt(format("none", "think"), marks_tokenizer(marks));
  spelt.add("<thi");
  spelt.add("nk>a</th");
  spelt.add("ink>");
  spelt.end();
  EXPECT_THAT(spelt.words(), ElementsAre("content: <think>a</think>"));
}

}  // namespace
}  // namespace mlxd::testing
