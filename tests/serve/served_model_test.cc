#include "serve/served_model.h"

#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/served_requests.h"

namespace mlxd {
namespace {

using testing::Answer;
using testing::answer_to;
using testing::answering;
using testing::chat_vocabulary;
using testing::collect;
using ::testing::ElementsAre;
using testing::saying;
using testing::serve;
using testing::text_request;

int cached_tokens(ServedModel& model, const std::string& messages) {
  GenerateRequest request;
  request.prompt = ChatPrompt{messages};
  request.job.max_tokens = 3;
  auto generation = model.start(request, {});
  EXPECT_TRUE(generation) << generation.error().message;
  return generation ? collect(**generation).end.usage.cached_prompt_tokens : -1;
}

TEST(ServedModel, AnswersInTextUntilTheTurnEnds) {
  const Answer answer = answer_to(text_request("abc"), "caf\xC3\xA9 \xF0\x9F\x98\x80", 3);
  EXPECT_EQ(answer.texts[0], "caf\xC3\xA9 \xF0\x9F\x98\x80");
  ASSERT_EQ(answer.ends.size(), 1U);
  EXPECT_EQ(answer.ends[0].finish, FinishReason::stop);
  EXPECT_EQ(answer.end.outcome, RequestFinished::Outcome::completed);
  EXPECT_EQ(answer.end.usage.prompt_tokens, 3);
  EXPECT_EQ(answer.end.usage.completion_tokens, 11) << "the one that ended it included";
}

TEST(ServedModel, CountsTheTokenThatEndsAnAnswerAtOnce) {
  const Answer answer = answer_to(text_request("abc"), "", 3);
  EXPECT_EQ(answer.texts[0], "");
  EXPECT_EQ(answer.end.usage.completion_tokens, 1);
}

TEST(ServedModel, CountsNoEndTokenWhereTheLimitCameFirst) {
  EXPECT_EQ(answer_to(text_request("abc", 2), "de", 3).end.usage.completion_tokens, 2);
}

TEST(ServedModel, StopsAtTheTokenLimitWithWholeCharacters) {
  const Answer answer = answer_to(text_request("abc", 4), "caf\xC3\xA9", 3);
  EXPECT_EQ(answer.texts[0], "caf\xEF\xBF\xBD");
  EXPECT_EQ(answer.ends[0].finish, FinishReason::length);
}

TEST(ServedModel, DeltasSayHowManyTokensThereAre) {
  const auto model = saying({'x', 'y', 257});
  auto generation = model->start(text_request("abc"), {});
  ASSERT_TRUE(generation);
  std::vector<int> counts;
  for (const GenerationEvent& event : collect(**generation).events) {
    if (const auto* delta = std::get_if<TextDelta>(&event)) counts.push_back(delta->tokens);
  }
  EXPECT_THAT(counts, ElementsAre(1, 2, 3)) << "the last with the token that ended it";
}

TEST(ServedModel, WhatIsToBeKeptIsHeldUpToItsMessage) {
  const auto held_by = [](std::vector<KeepRule> keep) {
    const auto model = serve(chat_vocabulary(), answering("x", 1));
    GenerateRequest request;
    request.prompt = ChatPrompt{
        R"([{"role":"user","content":"0123456789"},{"role":"user","content":"0123456789"}])"};
    request.job.max_tokens = 1;
    request.text.keep = std::move(keep);
    auto generation = model->start(request, {});
    EXPECT_TRUE(generation);
    collect(**generation);
    return model->engine->stats().kv_blocks_held * model->info().block_size;
  };
  const std::size_t first = std::string(R"([{"role":"user","content":"0123456789"})").size();
  const std::chrono::seconds hour(3600);
  EXPECT_EQ(held_by({}), 0);
  const int message = 1 + 5 + 10 + 2;  // <|im_start|>user\n ... <|im_end|>\n
  EXPECT_EQ(held_by({{first, hour}}), message / 4 * 4);
  EXPECT_GT(held_by({{KeepRule::kAll, hour}}), 2 * message);
}

TEST(ServedModel, EchoesThePromptFirst) {
  GenerateRequest request = text_request("abc", 0);
  request.text.echo = true;
  const Answer answer = answer_to(request, "", 3);
  EXPECT_EQ(answer.echo, "abc");
  EXPECT_EQ(answer.end.usage.completion_tokens, 0);
  EXPECT_TRUE(std::holds_alternative<PromptEcho>(answer.events.front()));
}

TEST(ServedModel, EchoesThePromptsLogProbabilities) {
  GenerateRequest request = text_request("abc", 2);
  request.text.echo = true;
  request.job.prompt_logprobs = 1;
  request.job.sampling.logprobs = true;
  const Answer answer = answer_to(request, "de", 3);
  const auto& echo = std::get<PromptEcho>(answer.events.front());
  ASSERT_EQ(echo.delta.details.size(), 3U);
  EXPECT_FALSE(echo.delta.details[0].has_logprob);
  EXPECT_TRUE(echo.delta.details[1].has_logprob);
  EXPECT_EQ(echo.delta.details[2].bytes, "c");
  EXPECT_EQ(echo.delta.details[2].top.size(), 1U);
  EXPECT_EQ(answer.details[0].size(), 2U);
}

TEST(ServedModel, TokenDetailsComeWithTheTextTheyBegin) {
  GenerateRequest request = text_request("abc");
  request.job.sampling.logprobs = true;
  request.text.stop = {"\xC3\xA9!"};
  const Answer answer = answer_to(request, "a\xC3\xA9?b\xC3\xA9!", 3);
  EXPECT_EQ(answer.texts[0], "a\xC3\xA9?b");
  // The tokens of the stop string are not part of the answer.
  ASSERT_EQ(answer.details[0].size(), 5U);
  EXPECT_EQ(answer.details[0][1].bytes, "\xC3");
  EXPECT_EQ(answer.details[0][4].bytes, "b");
}

TEST(ServedModel, TokensKeepTheirPlacesBehindAnEchoedPrompt) {
  GenerateRequest request = text_request("\xC3\xA9z", 3);
  request.text.echo = true;
  request.job.sampling.logprobs = true;
  request.job.prompt_logprobs = 0;
  const Answer answer = answer_to(request, "\xC3\xA9!", 3);
  const auto& echo = std::get<PromptEcho>(answer.events.front()).delta;
  EXPECT_THAT(echo.offsets, ElementsAre(0, 0, 1));
  EXPECT_THAT(answer.offsets[0], ElementsAre(2, 2, 3));
}

TEST(ServedModel, ADeadlineEndsTheGeneration) {
  GenerateRequest request = text_request("abc", 100);
  request.job.deadline = Clock::now() + std::chrono::milliseconds(50);
  request.job.ignore_eos = true;
  FakeOptions slow;
  slow.before_step = [](const Batch&, std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  };
  const auto model = serve(chat_vocabulary(), slow);
  auto generation = model->start(request, {});
  ASSERT_TRUE(generation);
  const Answer answer = collect(**generation);
  ASSERT_TRUE(answer.ended);
  EXPECT_EQ(answer.end.outcome, RequestFinished::Outcome::timeout);
}

// A recurrent state is kept at the end of the messages, where the answer's beginning, which a
// history does not have, is not begun.
TEST(ServedModel, AnAgentsNextTurnGoesOnFromTheStateBehindItsLastMessages) {
  Vocabulary vocabulary = chat_vocabulary();
  vocabulary.chat_template =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
      "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}";
  FakeOptions fake;
  fake.state_bytes = std::size_t{1} << 20;  // so dear that no others are kept within a prompt
  const auto model = serve(vocabulary, fake);
  const std::string first = R"([{"role":"user","content":"What is the sum of 1 and 2?"})";
  EXPECT_EQ(cached_tokens(*model, first + "]"), 0);
  const int behind_messages = 1 + 5 + 27 + 1 + 1;  // <|im_start|>user\n ... <|im_end|>\n
  EXPECT_EQ(cached_tokens(*model, first + R"(,{"role":"assistant","content":"3"},)"
                                          R"({"role":"user","content":"And of 3 and 4?"}])"),
            behind_messages / 4 * 4);
}

}  // namespace
}  // namespace mlxd
