// ServedModel: reasoning, calls and content.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/marker_parser.h"
#include "serve/parsers/answer_format.h"
#include "serve/served_requests.h"

namespace mlxd {
namespace {

using testing::answering;
using testing::chat_request;
using testing::chat_vocabulary;
using testing::collect;
using ::testing::ElementsAre;
using testing::saying;
using testing::serve;
using testing::text_request;

TEST(ServedModel, ABudgetOfReasoningBoundsNoCompletion) {
  auto model = saying({'r', 'r', 'r', 'r', 'a', 257});
  model->reasoning_tokens = {256, 258};
  model->card.reasons = true;
  GenerateRequest request = text_request("abc");
  request.text.reasoning = ReasoningBudget{2, "thinking_budget"};
  auto free = model->start(request, {});
  ASSERT_TRUE(free);
  EXPECT_EQ(collect(**free).texts[0], "rrrra");
}

TEST(ServedModel, ABudgetThatCannotBeHeldToIsRefusedByName) {
  auto model = serve(chat_vocabulary(), {});
  GenerateRequest request = chat_request("Hi");
  request.job.max_tokens = 1;
  request.text.reasoning = ReasoningBudget{2, "thinking_budget"};
  EXPECT_TRUE(model->start(request, {})) << "a model that does not reason is within any bound";
  model->card.reasons = true;
  const auto refused = model->start(request, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "thinking_budget");
  request.text.reasoning->param.clear();
  EXPECT_TRUE(model->start(request, {}));
}

TEST(ServedModel, ABudgetHoldsInAChat) {
  FakeOptions fake;
  fake.edit_logits = certain_next_token([](std::span<const int> history) {
    // Reasons without an end, and answers once it has one.
    return std::ranges::count(history, 258) == 0 ? int{'r'}
           : history.back() == 258               ? int{'a'}
                                                 : 257;
  });
  auto model = serve(chat_vocabulary(), fake);
  model->reasoning_tokens = {256, 258};
  model->reasoning_mark = "assistant";  // with which the prompt ends
  model->card.reasons = true;
  GenerateRequest request = chat_request("Hi");
  request.text.reasoning = ReasoningBudget{4, "thinking_budget"};
  request.job.samples = 2;
  request.job.max_tokens = 20;
  auto generation = model->start(request, {});
  ASSERT_TRUE(generation) << generation.error().message;
  EXPECT_THAT(collect(**generation, 2).texts, ElementsAre("rrrra", "rrrra"));
}

TEST(ServedModel, ParsesTheAnswerOfAChatAndNoCompletion) {
  const std::string script = "<think>hm</think>Hi";
  GenerateRequest chat = chat_request("Hi");
  chat.text.stop = {"m"};
  const auto model = serve(chat_vocabulary(), answering(script, 21));
  model->make_parser = testing::make_marker_parser;
  auto generation = model->start(chat, {});
  ASSERT_TRUE(generation);
  ChoiceText parts;
  for (GenerationEvent& event : collect(**generation).events) {
    if (auto* delta = std::get_if<TextDelta>(&event)) append(parts, std::move(*delta));
  }
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].channel, AnswerChannel::reasoning);
  EXPECT_EQ(parts[0].text, "hm");
  EXPECT_EQ(parts[1].channel, AnswerChannel::content);
  EXPECT_EQ(parts[1].text, "Hi");
  EXPECT_EQ(parts[1].finish, FinishReason::stop);

  const auto raw = serve(chat_vocabulary(), answering(script, 3));
  raw->make_parser = testing::make_marker_parser;
  auto completion = raw->start(text_request("abc", 100), {});
  ASSERT_TRUE(completion);
  EXPECT_EQ(collect(**completion).texts[0], script);
}

// A model that reasons and calls, whose answer to `content` is `script`.
std::vector<GenerationEvent> called(GenerateRequest request, const std::string& script,
                                    const std::string& template_end = "") {
  Vocabulary vocabulary = chat_vocabulary();
  vocabulary.chat_template += template_end;
  std::get<ChatPrompt>(request.prompt).tools =
      std::make_shared<DeclaredTools>(DeclaredTools{{"f", {}}});
  const auto model =
      serve(vocabulary, answering(script, 21 + static_cast<int>(template_end.size())));
  const AnswerFormat format = answer_format_of("", {"hermes", "think"});
  model->reasoning_mark = "<think>";
  model->make_parser = [format, tokenizer = model->tokenizer](const AnswerContext& context) {
    return make_answer_parser(format, tokenizer, context);
  };
  auto generation = model->start(std::move(request), {});
  EXPECT_TRUE(generation);
  return collect(**generation).events;
}

ChoiceText joined(const std::vector<GenerationEvent>& events) {
  ChoiceText parts;
  for (const GenerationEvent& event : events) {
    if (const auto* delta = std::get_if<TextDelta>(&event)) append(parts, *delta);
  }
  return parts;
}

TEST(ServedModel, ReasoningThatThePromptBeginsIsReasoningAndCounted) {
  const auto events = called(chat_request("Hi"), "hm\n</think>\n\nOk", "<think>");
  const ChoiceText parts = joined(events);
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].channel, AnswerChannel::reasoning);
  EXPECT_EQ(parts[0].text, "hm");
  EXPECT_EQ(parts[1].text, "Ok");
  const Usage& usage = std::get<GenerationEnd>(events.back()).usage;
  EXPECT_EQ(usage.reasoning_tokens, 11);  // bytes here, "\n</think>" among them
  EXPECT_EQ(usage.completion_tokens, 16);
}

constexpr const char* kTwoCalls =
    "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>\n"
    "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 2}}</tool_call>";

TEST(ServedModel, OfOneCallAtATimeTheSecondEndsTheAnswer) {
  GenerateRequest request = chat_request("Hi");
  EXPECT_EQ(joined(called(request, kTwoCalls)).back().call, 1);
  request.text.calls.at_most_one = true;
  const ChoiceText parts = joined(called(request, kTwoCalls));
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[1].text, "{\"a\": 1}");
  EXPECT_EQ(parts[1].finish, FinishReason::stop);
}

TEST(ServedModel, ACallThatBreaksOffEndsForItsLength) {
  const ChoiceText parts =
      joined(called(chat_request("Hi"), "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"b"));
  EXPECT_EQ(parts.back().text, "{\"a\": \"b");
  EXPECT_EQ(parts.back().finish, FinishReason::length);
}

TEST(ServedModel, ToolsReachATemplateThatKnowsNoneInWords) {
  GenerateRequest request = chat_request("Hi");
  std::get<ChatPrompt>(request.prompt).tools_json =
      R"([{"type":"function","function":{"name":"look_up","parameters":{}}}])";
  // More than the context of this model, as the error's count tells.
  const auto model = serve(chat_vocabulary(), FakeOptions{});
  const auto refused = model->start(request, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "context_length_exceeded");
  model->tools_in_words = false;
  EXPECT_TRUE(model->start(request, {}));
}

}  // namespace
}  // namespace mlxd
