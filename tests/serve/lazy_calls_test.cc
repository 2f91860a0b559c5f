#include "serve/lazy_calls.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "serve/grammars.h"
#include "serve/parsers/answers.h"

namespace mlxd::testing {
namespace {

// A vocabulary of bytes, of the marks as control tokens, and of the merges.
class LazyCallsTest : public ::testing::Test {
 protected:
  void use(const std::string& format_name, const std::vector<std::string>& marks,
           const std::vector<std::string>& merges = {}) {
    Vocabulary vocabulary = byte_level_vocabulary(merges);
    for (const std::string& mark : marks) {
      vocabulary.tokens.push_back(mark);
      vocabulary.types.push_back(3);
    }
    tokenizer_ = Tokenizer::load(vocabulary);
    shared_ = std::make_shared<LazyCalls::Shared>();
    shared_->tokenizer = tokenizer_;
    shared_->reasoning = {tokenizer_->token_id("<think>"), tokenizer_->token_id("</think>")};
    CallConstraint calls =
        constrain_calls(*format(format_name).tools, *tokenizer_, *tools(), CallRule{}, nullptr);
    shared_->openers = std::move(calls.openers);
    grammars_ = std::make_unique<Grammars>(tokenizer_, tokenizer_->vocab_size(),
                                           std::vector<int>{tokenizer_->token_id("<|im_end|>")});
    auto state = grammars_->state(calls.grammar, 0);
    ASSERT_TRUE(state) << state.error().message;
    shared_->calls = *std::move(state);
    calls_ = std::make_unique<LazyCalls>(shared_, false);
  }

  int token(std::string_view text) const { return tokenizer_->token_id(text); }
  // Byte by byte.
  bool say(std::string_view text) {
    return std::ranges::all_of(
        text, [this](char c) { return calls_->accept(static_cast<unsigned char>(c)); });
  }
  bool is_free() {
    std::vector<std::uint32_t> allowed(static_cast<std::size_t>(tokenizer_->vocab_size() + 31) /
                                       32);
    return !calls_->fill(allowed);
  }
  bool may(int wanted) {
    std::vector<std::uint32_t> allowed(static_cast<std::size_t>(tokenizer_->vocab_size() + 31) /
                                       32);
    return !calls_->fill(allowed) || (allowed[wanted / 32] >> wanted % 32 & 1) != 0;
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Grammars> grammars_;
  std::shared_ptr<LazyCalls::Shared> shared_;
  std::unique_ptr<LazyCalls> calls_;
};

constexpr std::string_view kCall = R"({"name": "g", "arguments": {}})";

TEST_F(LazyCallsTest, TextIsFreeUntilTheOpenerAndAfterTheCall) {
  use("hermes", {"<tool_call>", "</tool_call>"});
  EXPECT_TRUE(say("I look <tool_call> up."));  // spelt, where the mark is a token
  EXPECT_TRUE(is_free());
  EXPECT_TRUE(calls_->accept(token("<tool_call>")));
  EXPECT_FALSE(is_free());
  EXPECT_FALSE(may('a'));
  EXPECT_FALSE(may(token("<|im_end|>")));
  EXPECT_FALSE(calls_->accept('a'));
  EXPECT_TRUE(say(kCall));
  EXPECT_FALSE(is_free());
  EXPECT_TRUE(calls_->accept(token("</tool_call>")));
  EXPECT_TRUE(is_free());
  EXPECT_TRUE(say("Done."));
  EXPECT_FALSE(calls_->terminated());
}

TEST_F(LazyCallsTest, OnlyDeclaredToolsAndTheirSchemasComeBehindIt) {
  use("hermes", {"<tool_call>", "</tool_call>"});
  calls_->accept(token("<tool_call>"));
  EXPECT_TRUE(say(R"({"name": ")"));
  EXPECT_TRUE(may('f'));
  EXPECT_TRUE(may('g'));
  EXPECT_FALSE(may('h'));
}

TEST_F(LazyCallsTest, AnOpenerThatIsSpeltIsOneWhereverItIsCut) {
  use("hermes", {}, {"< t", "> {"});
  for (const std::string_view before : {"", "So. ", "<tool_", "<<"}) {
    calls_ = std::make_unique<LazyCalls>(shared_, false);
    EXPECT_TRUE(say(before));
    EXPECT_TRUE(calls_->accept(token("<t")));
    EXPECT_TRUE(say("ool_call"));
    EXPECT_TRUE(is_free());
    EXPECT_TRUE(calls_->accept(token(">{")));  // the rest of the token is the call's
    EXPECT_FALSE(is_free());
    EXPECT_TRUE(say(kCall.substr(1)));
    EXPECT_TRUE(say("</tool_call>"));
    EXPECT_TRUE(is_free());
  }
}

TEST_F(LazyCallsTest, WhatGoesOnAsNoCallInTheSameTokenIsText) {
  use("hermes", {}, {"> a"});
  EXPECT_TRUE(say("<tool_call"));
  EXPECT_TRUE(calls_->accept(token(">a")));
  EXPECT_TRUE(is_free());
}

TEST_F(LazyCallsTest, NothingIsACallInTheReasoning) {
  use("hermes", {"<tool_call>", "</tool_call>", "<think>", "</think>"});
  calls_ = std::make_unique<LazyCalls>(shared_, true);
  calls_->accept(token("<tool_call>"));
  EXPECT_TRUE(is_free());
  calls_->accept(token("</think>"));
  calls_->accept(token("<tool_call>"));
  EXPECT_FALSE(is_free());
  calls_ = std::make_unique<LazyCalls>(shared_, false);
  calls_->accept(token("<think>"));
  calls_->accept(token("<tool_call>"));
  EXPECT_TRUE(is_free());
}

TEST_F(LazyCallsTest, ACallWithoutMarksIsOneAtTheStartAlone) {
  use("llama3", {});
  EXPECT_TRUE(say("\n {\"name\": \"g\", \"parameters\": "));
  EXPECT_FALSE(is_free());
  calls_ = std::make_unique<LazyCalls>(shared_, false);
  EXPECT_TRUE(say("Send {\"name\": \"g\", \"parameters\": "));
  EXPECT_TRUE(is_free());
}

TEST_F(LazyCallsTest, ABareCallIsOneHoweverItIsLaidOut) {
  use("hermes", {"<tool_call>", "</tool_call>"});
  for (const std::string_view head :
       {"{\"name\": \"g\", \"arguments\": ", "```json\n{\n  \"name\": \"g\",\n  \"arguments\": ",
        "```json\n{\"name\": \"g\", \"arguments\": "}) {
    calls_ = std::make_unique<LazyCalls>(shared_, false);
    EXPECT_TRUE(say(head));
    EXPECT_FALSE(is_free()) << head;
    EXPECT_TRUE(say("{}\n}"));
    EXPECT_TRUE(is_free()) << head;
    EXPECT_TRUE(say("\n```"));
  }
}

// A draft may run over the beginning and the end of calls, and is then taken back.
TEST_F(LazyCallsTest, IsAfterATakenBackDraftAsBeforeIt) {
  use("hermes", {"<tool_call>"}, {"> {", "} }"});
  std::vector<int> answer;
  const auto add = [&](std::string_view text) {
    for (const char c : text) answer.push_back(static_cast<unsigned char>(c));
  };
  for (int call = 0; call < 3; ++call) {
    add("Hm. ");
    answer.push_back(token("<tool_call>"));
    add(kCall.substr(0, kCall.size() - 2));
    answer.push_back(token("}}"));
    add("</tool_call>");
  }
  std::vector<bool> free_at;
  for (const int next : answer) {
    free_at.push_back(is_free());
    ASSERT_TRUE(calls_->accept(next));
  }
  std::mt19937 random(3);
  calls_ = std::make_unique<LazyCalls>(shared_, false);
  for (std::size_t at = 0; at < answer.size();) {
    const std::size_t draft = std::min<std::size_t>(1 + random() % 60, answer.size() - at);
    for (std::size_t i = 0; i < draft; ++i) ASSERT_TRUE(calls_->accept(answer[at + i]));
    const std::size_t back = random() % (draft + 1);
    calls_->rollback(static_cast<int>(back));
    at += draft - back;
    ASSERT_TRUE(at == answer.size() || is_free() == free_at[at]) << at;
  }
}

TEST_F(LazyCallsTest, ASampleGoesItsOwnWay) {
  use("hermes", {"<tool_call>", "</tool_call>"});
  calls_->accept(token("<tool_call>"));
  const auto other = calls_->fork();
  EXPECT_TRUE(say(kCall));
  EXPECT_TRUE(calls_->accept(token("</tool_call>")));
  EXPECT_FALSE(other->accept(token("</tool_call>")));
  EXPECT_TRUE(other->accept('{'));
}

}  // namespace
}  // namespace mlxd::testing
