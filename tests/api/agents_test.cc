// What agents send beside their prompts: sessions, marks of what is to be kept, and the wish to
// hear how far a long prompt has come.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/scripted_api.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr auto kChat = "/v1/chat/completions";
constexpr auto kMessages = "/v1/messages";
constexpr auto kResponses = "/v1/responses";

class Agents : public ScriptedApi {
 protected:
  static std::string chat(const std::string& more = "") {
    return R"({"model":"org/tiny","messages":[{"role":"user","content":"x"}])" + more + "}";
  }

  // What is to be kept of the request that this body makes.
  std::vector<KeepRule> kept_of(const std::string& path, const std::string& body) {
    model_->play({piece("a"), sample_end(), generation_end()});
    const auto exchange = post(path, body);
    EXPECT_EQ(exchange->response_.status, 200) << exchange->response_.body;
    const auto run = model_->run(asked_++);
    return run ? run->request.text.keep : std::vector<KeepRule>();
  }
  // The messages that are kept, by each mark.
  std::vector<std::string> marked_by(const std::string& members) {
    const auto rules = kept_of(kMessages, R"({"model":"org/tiny","max_tokens":9,)" + members + "}");
    const auto& chat = std::get<ChatPrompt>(model_->run(asked_ - 1)->request.prompt);
    std::vector<std::string> marked;
    for (const KeepRule& rule : rules) {
      marked.push_back(rule.upto == KeepRule::kAll ? "all"
                                                   : chat.messages_json.substr(0, rule.upto) + "]");
      times_.push_back(rule.time.count());
    }
    return marked;
  }

  std::vector<long> times_;
  std::size_t asked_ = 0;
};

TEST_F(Agents, ASessionIsNamedByAHeaderOrAKey) {
  EXPECT_THAT(kept_of(kChat, chat()), IsEmpty());
  EXPECT_EQ(kept_of(kChat, chat(R"(,"prompt_cache_key":"k")")).size(), 1U);
  EXPECT_THAT(kept_of(kChat, chat(R"(,"prompt_cache_key":"")")), IsEmpty());
  const std::string input = R"({"model":"org/tiny","input":"x","prompt_cache_key":"k"})";
  EXPECT_EQ(kept_of(kResponses, input).size(), 1U);
  for (const char* header : {"x-session-id", "x-claude-code-session-id", "session_id"}) {
    headers_ = {{header, "0198-ab"}};
    const auto rules = kept_of(kChat, chat());
    ASSERT_EQ(rules.size(), 1U) << header;
    EXPECT_EQ(rules[0].upto, KeepRule::kAll);
    EXPECT_EQ(rules[0].time, kSessionTime);
  }
}

TEST_F(Agents, CacheControlKeepsWhatStandsBeforeIt) {
  const std::string mark = R"(,"cache_control":{"type":"ephemeral")";
  const std::string hour = mark + R"(,"ttl":"1h"})";
  EXPECT_THAT(
      marked_by(R"("system":[{"type":"text","text":"s")" + hour +
                R"(}],"messages":[)"
                R"({"role":"user","content":[{"type":"text","text":"a")" +
                mark +
                R"(}}]},)"
                R"({"role":"assistant","content":"b"},)"
                R"({"role":"user","content":[{"type":"text","text":"c")" +
                mark + "}}]}]"),
      ElementsAre(R"([{"role":"system","content":"s"}])",
                  R"([{"role":"system","content":"s"},{"role":"user","content":"a"}])", "all"));
  EXPECT_THAT(times_, ElementsAre(3600, 300, 300));
  EXPECT_THAT(marked_by(R"("messages":[{"role":"user","content":"a"}])" + mark + "}"),
              ElementsAre("all"));
}

TEST_F(Agents, CacheControlIsBounded) {
  std::string blocks;
  for (int i = 0; i < 5; ++i) {
    blocks += std::string(i > 0 ? "," : "") +
              R"({"type":"text","text":"a","cache_control":{"type":"ephemeral"}})";
  }
  const std::string head =
      R"({"model":"org/tiny","max_tokens":9,"messages":[{"role":"user","content":)";
  const auto exchange = post(kMessages, head + "[" + blocks + "]}]}");
  EXPECT_EQ(exchange->response_.status, 400);
  EXPECT_THAT(exchange->response_.body, HasSubstr("A maximum of 4 blocks"));
  const auto wrong =
      post(kMessages, head + R"("x"}],"cache_control":{"type":"ephemeral","ttl":"2h"}})");
  EXPECT_THAT(wrong->response_.body, HasSubstr("cache_control.ttl"));
}

TEST_F(Agents, HearHowFarAPromptHasCome) {
  model_->play({PromptProgress{3, 1, 2, 0.25}, PromptProgress{3, 1, 3, 0.5}, piece("a"),
                sample_end(), generation_end()});
  const auto exchange = post(kChat, chat(R"(,"stream":true,"return_progress":true)"));
  EXPECT_TRUE(model_->run(0)->request.job.progress);
  const auto chunks = data_frames(exchange->streamed());
  ASSERT_EQ(chunks.size(), 4U) << "what is ready together is told once";
  EXPECT_EQ(chunks[1].at("prompt_progress"),
            json::parse(R"({"total":3,"cache":1,"processed":3,"time_ms":500})"));
  EXPECT_EQ(chunks[1].at("choices").at(0).at("delta"), json::parse("{}"));
  EXPECT_EQ(chunks[2].at("choices").at(0).at("delta").at("content"), "a");
  EXPECT_FALSE(chunks[2].as_object().contains("prompt_progress"));
}

TEST_F(Agents, HearNothingOfAPromptUnlessTheyAsk) {
  kept_of(kChat, chat(R"(,"stream":true)"));
  EXPECT_FALSE(model_->run(0)->request.job.progress);
  kept_of(kChat, chat(R"(,"return_progress":true)"));
  EXPECT_FALSE(model_->run(1)->request.job.progress) << "an answer that is not streamed";
}

TEST_F(Agents, SeveralPromptsProgressTogether) {
  model_->play({PromptProgress{3, 0, 3, 0.1}, piece("a"), sample_end(), generation_end()});
  model_->play({PromptProgress{3, 2, 3, 0.2}, piece("b"), sample_end(), generation_end()});
  const auto exchange = post("/v1/completions", R"({"model":"org/tiny","prompt":["x","y"],)"
                                                R"("stream":true,"return_progress":true})");
  EXPECT_EQ(data_frames(exchange->streamed()).at(0).at("prompt_progress"),
            json::parse(R"({"total":6,"cache":2,"processed":6,"time_ms":200})"));
}

TextDelta counted(std::string text, int tokens, int sample = 0) {
  TextDelta delta = piece(std::move(text), sample);
  delta.tokens = tokens;
  return delta;
}

TEST_F(Agents, EveryChunkSaysTheCountsSoFarWhereTheyAskForIt) {
  TextDelta end = sample_end(1);
  end.tokens = 5;
  model_->play({counted("a", 2), counted("b", 3), counted("c", 4, 1), sample_end(0), end,
                generation_end(3, 8)});
  const auto exchange =
      post(kChat, chat(R"(,"n":2,"stream":true,)"
                       R"("stream_options":{"include_usage":true,"continuous_usage_stats":true})"));
  std::vector<int> counts;
  for (const auto& chunk : data_frames(exchange->streamed())) {
    const auto& usage = chunk.at("usage");
    EXPECT_EQ(usage.at("prompt_tokens"), 3);
    counts.push_back(usage.at("completion_tokens").to_number<int>());
    EXPECT_EQ(usage.at("total_tokens").to_number<int>(), 3 + counts.back());
  }
  EXPECT_THAT(counts, ElementsAre(0, 0, 2, 3, 7, 7, 8, 8));
}

TEST_F(Agents, ABudgetOfThinkingReachesTheModel) {
  const std::string head = R"({"model":"org/tiny","max_tokens":9,"messages":)"
                           R"([{"role":"user","content":"x"}],"thinking":)";
  kept_of(kMessages, head + R"({"type":"enabled","budget_tokens":1024}})");
  ASSERT_TRUE(model_->run(0)->request.text.reasoning);
  EXPECT_EQ(model_->run(0)->request.text.reasoning->tokens, 1024);
  kept_of(kMessages, head + R"({"type":"disabled","budget_tokens":1024}})");
  EXPECT_FALSE(model_->run(1)->request.text.reasoning);
}

TEST_F(Agents, InputOfResponsesIsCounted) {
  const auto counted = post("/v1/responses/input_tokens", R"({"model":"org/tiny","input":"x"})");
  EXPECT_EQ(counted->response_.status, 200) << counted->response_.body;
  const auto body = json::parse(counted->response_.body);
  EXPECT_EQ(body.at("object"), "response.input_tokens");
  EXPECT_GT(body.at("input_tokens").to_number<int>(), 0);
  EXPECT_EQ(model_->run(0), nullptr) << "nothing is generated";
}

}  // namespace
}  // namespace mlxd::api
