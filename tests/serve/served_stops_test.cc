// ServedModel: what ends an answer.
#include <algorithm>
#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/served_requests.h"

namespace mlxd {
namespace {

using testing::Answer;
using testing::answer_to;
using testing::chat_vocabulary;
using testing::collect;
using ::testing::ElementsAre;
using testing::saying;
using testing::serve;
using testing::text_request;

TEST(ServedModel, TheEndSaysWhichStopStringItWas) {
  GenerateRequest request = text_request("abc");
  request.text.stop = {"no", "de", "cde"};
  const Answer stopped = answer_to(request, "abcdef", 3);
  EXPECT_EQ(stopped.ends.at(0).stop, "cde") << "the longest of those that end together";
  EXPECT_EQ(answer_to(request, "abc", 3).ends.at(0).stop, "");
  request.text.stop = {"x\n<|im_start|>"};  // with a special token in it
  FakeOptions fake;
  fake.edit_logits = certain_next_token([](std::span<const int> history) {
    constexpr std::array kScript = {int{'x'}, int{'\n'}, 256, int{'y'}, 257};
    return kScript.at(std::min<std::size_t>(history.size() - 3, kScript.size() - 1));
  });
  const auto model = serve(chat_vocabulary(), fake);
  auto generation = model->start(request, {});
  ASSERT_TRUE(generation) << generation.error().message;
  EXPECT_EQ(collect(**generation).ends.at(0).stop, "x\n<|im_start|>");
}

TEST(ServedModel, AStopStringThatIsOneSpecialTokenIsTold) {
  const auto model = saying({'x', 256, 'y', 257});
  for (const std::string stop : {"<|im_start|>", "no"}) {
    GenerateRequest request = text_request("abc");
    request.text.stop = {stop};
    auto generation = model->start(request, {});
    ASSERT_TRUE(generation) << generation.error().message;
    const Answer answer = collect(**generation);
    EXPECT_EQ(answer.texts[0], stop == "no" ? "xy" : "x");
    EXPECT_EQ(answer.ends.at(0).stop, stop == "no" ? "" : stop);
  }
}

TEST(ServedModel, AStopStringEndsTheSampleAndCountsTheTokenThatCompletedIt) {
  GenerateRequest request = text_request("abc");
  request.text.stop = {"\n\n"};
  const Answer answer = answer_to(request, "one\n\ntwo", 3);
  EXPECT_EQ(answer.texts[0], "one");
  EXPECT_EQ(answer.ends[0].finish, FinishReason::stop);
  EXPECT_EQ(answer.end.usage.completion_tokens, 5);
  EXPECT_EQ(answer.ends.size(), 1U);
  EXPECT_TRUE(answer.ended);
}

TEST(ServedModel, AnUnfinishedStopStringIsText) {
  GenerateRequest request = text_request("abc");
  request.text.stop = {"\n\n"};
  EXPECT_EQ(answer_to(request, "one\n", 3).texts[0], "one\n");
}

TEST(ServedModel, EverySampleIsStoppedOnItsOwn) {
  GenerateRequest request = text_request("abc");
  request.job.samples = 3;
  request.text.stop = {"o"};
  const Answer answer = answer_to(request, "two", 3);
  EXPECT_THAT(answer.texts, ElementsAre("tw", "tw", "tw"));
  EXPECT_EQ(answer.ends.size(), 3U);
  EXPECT_EQ(answer.end.usage.completion_tokens, 9);
}

// A model that goes on with "ab", the token <s>, "cd".
Answer around_a_special_token(GenerateRequest request) {
  FakeOptions fake;
  fake.edit_logits = certain_next_token([](std::span<const int> history) {
    constexpr std::array<int, 5> kScript = {'a', 'b', 258, 'c', 'd'};
    const std::size_t at = history.size() - 3;
    return at < kScript.size() ? kScript[at] : 257;
  });
  const auto model = serve(chat_vocabulary(), fake);
  auto generation = model->start(std::move(request), {});
  EXPECT_TRUE(generation);
  return collect(**generation);
}

TEST(ServedModel, AStopStringThatIsASpecialTokenStopsAtIt) {
  GenerateRequest request = text_request("xyz");
  EXPECT_EQ(around_a_special_token(request).texts[0], "abcd");
  request.text.stop = {"<s>"};
  for (const bool ignore_eos : {false, true}) {
    request.job.ignore_eos = ignore_eos;
    const Answer answer = around_a_special_token(request);
    EXPECT_EQ(answer.texts[0], "ab");
    ASSERT_EQ(answer.ends.size(), 1U);
    EXPECT_EQ(answer.ends[0].finish, FinishReason::stop);
  }
}

TEST(ServedModel, AStopStringMayHoldASpecialToken) {
  GenerateRequest request = text_request("xyz");
  request.text.stop = {"b<s>c"};
  const Answer answer = around_a_special_token(request);
  EXPECT_EQ(answer.texts[0], "a");
  EXPECT_EQ(answer.ends.at(0).finish, FinishReason::stop);
  request.text.stop = {"a<s>", "<s>d", "<s"};
  EXPECT_EQ(around_a_special_token(request).texts[0], "abcd");
  request.text.stop = {std::string(100000, 'b') + "<s>c"};
  EXPECT_EQ(around_a_special_token(request).texts[0], "abcd");
}

TEST(ServedModel, AStopStringThatIsWrittenOutStopsToo) {
  GenerateRequest request = text_request("xyz");
  request.text.stop = {"<s>", "q<s>"};
  EXPECT_EQ(answer_to(request, "a<s>b", 3).texts[0], "a");
}

}  // namespace
}  // namespace mlxd
