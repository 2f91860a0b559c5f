#include <algorithm>
#include <atomic>
#include <random>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/stream_fold.h"
#include "api/whole_server.h"
#include "base/utf8.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::EndsWith;
using ::testing::HasSubstr;

std::string random_members(std::mt19937& random, bool chat) {
  const auto below = [&](unsigned limit) { return std::to_string(random() % limit); };
  std::string members = chat
                            ? R"("messages":[{"role":"user","content":"hi )" + below(1000) + "\"}]"
                            : R"("prompt":["hello )" + below(1000) + "\",\"you " + below(9) + "\"]";
  members += ",\"seed\":" + below(1000000) + ",\"max_tokens\":" + below(40);
  members += ",\"temperature\":" + std::string(random() % 3 == 0 ? "0" : "1.5");
  if (random() % 2 == 0) members += ",\"n\":" + std::to_string(1 + random() % 3);
  if (random() % 3 == 0) members += R"(,"stop":["a","\u00e9","bc"])";
  if (random() % 3 == 0) members += R"(,"top_p":0.5,"top_k":20)";
  if (random() % 2 == 0)
    members += chat ? R"(,"logprobs":true,"top_logprobs":3)" : ",\"logprobs\":2";
  if (!chat && random() % 2 == 0) members += ",\"echo\":true";
  return members;
}

TEST_F(WholeServer, AStreamPutTogetherIsTheWholeAnswerForAllFourPathsUnderLoad) {
  start();
  std::atomic<int> compared{0};
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 25; ++i) {
      const bool chat = i % 2 == 0;
      const std::string path = chat ? "/v1/chat/completions" : "/v1/completions";
      const auto members = random_members(random, chat);
      const auto whole = post(path, members);
      const auto stream =
          post(path, members + R"(,"stream":true,"stream_options":{"include_usage":true})");
      ASSERT_EQ(whole.status, 200) << whole.body;
      ASSERT_EQ(stream.status, 200) << stream.body;
      EXPECT_TRUE(is_valid_utf8(whole.body));
      EXPECT_TRUE(is_valid_utf8(stream.body));
      EXPECT_THAT(stream.body, EndsWith("data: [DONE]\n\n"));
      auto body = json::parse(whole.body);
      const auto chunks = data_frames(stream.body);
      auto& expected = body.at("choices");
      forget_empty_logprobs(expected);
      const auto choices = static_cast<int>(expected.as_array().size());
      EXPECT_EQ(put_together(chunks, chat, choices), expected) << members;
      const auto& usage = body.at("usage");
      EXPECT_EQ(chunks.back().at("usage").at("completion_tokens"), usage.at("completion_tokens"));
      EXPECT_EQ(chunks.back().at("usage").at("prompt_tokens"), usage.at("prompt_tokens"));
      ++compared;
    }
  };
  std::vector<std::thread> clients;
  for (unsigned seed = 0; seed < 8; ++seed) clients.emplace_back(work, seed);
  for (auto& client : clients) client.join();
  EXPECT_EQ(compared, 200);
  EXPECT_TRUE(becomes_idle());
  EXPECT_EQ(model_->engine->stats().kv_blocks_used, 0);
}

TEST_F(WholeServer, TheSeedOfTheHeaderRepeatsTheAnswer) {
  start();
  const std::string members = R"("prompt":"x","max_tokens":30,"ignore_eos":true)";
  const auto first = post("/v1/completions", members);
  ASSERT_FALSE(first.header("x-seed").empty()) << first.head;
  const auto again = post("/v1/completions", members + ",\"seed\":" + first.header("x-seed"));
  EXPECT_EQ(json::parse(first.body).at("choices"), json::parse(again.body).at("choices"));
}

TEST_F(WholeServer, EchoWithLogprobsScoresThePromptAlone) {
  start();
  const auto answer =
      post("/v1/completions", R"("prompt":"h\u00e9!","echo":true,"logprobs":1,"max_tokens":0)");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto body = json::parse(answer.body);
  const auto& choice = body.at("choices").at(0);
  EXPECT_EQ(choice.at("text").as_string(), "h\u00e9!");
  const auto& logprobs = choice.at("logprobs");
  EXPECT_EQ(logprobs.at("tokens").as_array().size(),
            static_cast<std::size_t>(body.at("usage").at("prompt_tokens").as_int64()));
  EXPECT_TRUE(logprobs.at("token_logprobs").at(0).is_null());
  EXPECT_LT(logprobs.at("token_logprobs").at(1).as_double(), 0);
  EXPECT_EQ(body.at("usage").at("completion_tokens"), 0);
}

TEST_F(WholeServer, APromptTooLongIsRefusedWithBothNumbers) {
  start();
  const auto answer =
      post("/v1/completions", R"("prompt":")" + std::string(500, 'x') + R"(","max_tokens":100)");
  EXPECT_EQ(answer.status, 400);
  const auto error = json::parse(answer.body).at("error");
  EXPECT_EQ(error.at("code").as_string(), "context_length_exceeded");
  EXPECT_THAT(answer.body, HasSubstr("512"));
  EXPECT_THAT(answer.body, HasSubstr("100"));
}

TEST_F(WholeServer, ARequestPastItsTimeGets504) {
  start({}, 0.005);
  const auto answer =
      post("/v1/completions", R"("prompt":"x","max_tokens":400,"ignore_eos":true,"timeout":0.1)");
  EXPECT_EQ(answer.status, 504);
  EXPECT_EQ(json::parse(answer.body).at("error").at("code").as_string(), "timeout");
  EXPECT_THAT(answer.body, HasSubstr("within its 0.1")) << "the limit";
  // The same again would take as long.
  EXPECT_EQ(answer.header("x-should-retry"), "false");
  EXPECT_EQ(answer.header("Retry-After"), "");
}

TEST_F(WholeServer, ARequestThatHadNoTurnInItsTimeMayComeAgain) {
  EngineOptions one;
  one.max_running_sequences = 1;
  start(one, 0.005);
  http::RawClient before(server_->port());
  before.send(
      http::post("/v1/completions",
                 R"({"model":"org/bytes","prompt":"x","max_tokens":400,"ignore_eos":true})"));
  ASSERT_TRUE(http::eventually([&] { return model_->engine->stats().running_sequences == 1; }));
  const auto answer = post("/v1/completions", R"("prompt":"y","max_tokens":4,"timeout":0.1)");
  EXPECT_EQ(answer.status, 504);
  EXPECT_THAT(answer.body, HasSubstr("was not begun"));
  EXPECT_EQ(answer.header("x-should-retry"), "");
  EXPECT_NE(answer.header("Retry-After"), "");
}

// Whatever is wrong there is not the client's fault.
class BrokenTemplate final : public PlainTemplate {
 public:
  Result<RenderedChat> render(std::string_view document, bool) const override {
    if (document.find("throws") != document.npos) throw std::runtime_error("broken");
    if (document.find("odd") != document.npos) throw 1;
    return Error{.status = 500, .code = "internal_error", .param = "", .message = "It is broken."};
  }
};

TEST_F(WholeServer, AFaultOfItsOwnWhileARequestIsReadIsA500) {
  start();
  model_->chat_template = std::make_unique<BrokenTemplate>();
  for (const std::string text : {"fails", "throws", "odd"}) {
    const auto answer =
        post("/v1/chat/completions", R"("messages":[{"role":"user","content":")" + text + "\"}]");
    EXPECT_EQ(answer.status, 500) << text;
    const auto error = json::parse(answer.body).at("error");
    EXPECT_EQ(error.at("code").as_string(), "internal_error") << text;
    EXPECT_EQ(error.at("type").as_string(), "server_error") << text;
    EXPECT_TRUE(error.at("param").is_null()) << text;
  }
  EXPECT_EQ(post("/v1/completions", R"("prompt":"x","max_tokens":2)").status, 200);
}

TEST_F(WholeServer, AClientThatLeavesFreesItsBlocks) {
  start({}, 0.005);
  for (const auto* stream : {"true", "false"}) {
    http::RawClient client(server_->port());
    client.send(http::post("/v1/completions",
                           R"({"model":"org/bytes","prompt":"x","max_tokens":400,"ignore_eos":true,
                               "stream":)" +
                               std::string(stream) + "}"));
    for (int i = 0; i < 1000 && model_->engine->stats().running_sequences == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    EXPECT_EQ(model_->engine->stats().running_sequences, 1);
    client.reset();
    EXPECT_TRUE(becomes_idle());
    EXPECT_EQ(model_->engine->stats().kv_blocks_used, 0);
    EXPECT_TRUE(server_->wait_until_idle(5));
  }
}

TEST_F(WholeServer, AClientThatLeavesFreesItsBlocksWithinTheStepThatRuns) {
  start({}, 0.2);
  http::RawClient client(server_->port());
  client.send(http::post(
      "/v1/completions",
      R"({"model":"org/bytes","prompt":"x","max_tokens":400,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(client.receive_until("text", 20));
  const auto steps = model_->engine->stats().steps;
  client.reset();
  EXPECT_TRUE(becomes_idle());
  // The step in which it leaves is counted when it ends, and it may leave at the very end of one.
  EXPECT_LE(model_->engine->stats().steps, steps + 2);
  EXPECT_EQ(model_->engine->stats().kv_blocks_used, 0);
}

TEST_F(WholeServer, AStepThatThrowsEndsTheGuiltyStreamAlone) {
  static constexpr int kPoison = 'Z';
  FakeOptions fake;
  std::atomic<int> in_company{0};
  fake.before_step = [&](const Batch& batch, std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::microseconds(500));
    if (std::ranges::count(batch.tokens, kPoison) == 0) return;
    in_company += batch.sequences.size() > 1;
    throw std::runtime_error("poison");
  };
  fake.edit_logits = [](std::span<const int> history, std::span<float> logits) {
    const bool guilty = history[1] == '!' && history.size() == 30;
    logits[kPoison] = guilty ? 1000.0F : -1000.0F;
  };
  start({}, fake);
  const auto stream = [&](const std::string& prompt, int seed) {
    return post("/v1/completions", "\"prompt\":\"" + prompt +
                                       "\",\"seed\":" + std::to_string(seed) +
                                       R"(,"max_tokens":60,"ignore_eos":true,"stream":true)");
  };
  const auto choices = [](const http::Answer& answer) {
    return put_together(data_frames(answer.body), false, 1);
  };
  constexpr int kBystanders = 6;
  std::vector<json::value> expected;
  for (int i = 0; i < kBystanders; ++i) expected.push_back(choices(stream("hello", i)));
  for (int round = 0; round < 5; ++round) {
    std::vector<http::Answer> answers(kBystanders);
    std::vector<std::thread> clients;
    for (int i = 0; i < kBystanders; ++i) {
      clients.emplace_back([&, i] { answers[i] = stream("hello", i); });
    }
    const auto failed = stream("!", round);
    for (auto& client : clients) client.join();
    EXPECT_THAT(failed.body, HasSubstr("\"text\"")) << "it had begun";
    EXPECT_THAT(failed.body, HasSubstr("\"code\":\"internal_error\""));
    EXPECT_THAT(failed.body, EndsWith("data: [DONE]\n\n"));
    for (int i = 0; i < kBystanders; ++i) {
      EXPECT_THAT(answers[i].body, EndsWith("data: [DONE]\n\n"));
      EXPECT_EQ(choices(answers[i]), expected[i]) << i;
    }
  }
  EXPECT_GT(in_company, 0);
  EXPECT_EQ(ask(http::get("/health")).status, 200);
}

TEST_F(WholeServer, AStreamThatIsEndedSaysWhyAndDone) {
  start({}, 0.005);
  http::RawClient client(server_->port());
  client.send(http::post("/v1/chat/completions",
                         R"({"model":"org/bytes","messages":[{"role":"user","content":"x"}],
                             "max_tokens":300,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(client.receive_until("content"));
  api_->drain();
  Error error;
  error.status = 503;
  error.code = "server_stopping";
  error.message = "The server is stopping.";
  model_->engine->abort_all(error);
  const auto answer = client.read_answer();
  EXPECT_TRUE(answer.complete);
  EXPECT_THAT(answer.body, HasSubstr("\"code\":\"server_stopping\""));
  EXPECT_THAT(answer.body, EndsWith("data: [DONE]\n\n"));
  EXPECT_EQ(ask(http::get("/health")).status, 503);
}

class CachedTokens : public WholeServer {
 protected:
  // The figure that the usage of an answer tells, whole or as the last chunk of a stream.
  int cached(const std::string& key, bool chat, bool stream) {
    const std::string text(40, 'x');
    const std::string body =
        R"({"model":"org/bytes","max_tokens":1,"ignore_eos":true,)" +
        (chat ? R"("messages":[{"role":"user","content":")" + text + "\"}]"
              : R"("prompt":")" + text + "\"") +
        (stream ? R"(,"stream":true,"stream_options":{"include_usage":true}})" : "}");
    const auto answer = ask(http::post(chat ? "/v1/chat/completions" : "/v1/completions", body,
                                       "Authorization: Bearer " + key + "\r\n"));
    EXPECT_EQ(answer.status, 200) << answer.body;
    const auto last = stream ? data_frames(answer.body).back() : json::parse(answer.body);
    return static_cast<int>(
        last.at("usage").at("prompt_tokens_details").at("cached_tokens").as_int64());
  }
};

TEST_F(CachedTokens, AreToldInBothApisStreamedOrNot) {
  start();
  for (const bool chat : {false, true}) {
    EXPECT_EQ(cached("any", chat, false), 0);
    const int whole = cached("any", chat, false);
    EXPECT_GE(whole, 40);
    EXPECT_EQ(cached("any", chat, true), whole);
  }
  EXPECT_EQ(cached("any", false, false), 40) << "of 41 tokens, in blocks of 4";
  const std::string metrics = ask(http::get("/metrics")).body;
  EXPECT_THAT(metrics, HasSubstr("mlxd_kv_blocks_used{model=\"org/bytes\"} 0"));
  EXPECT_THAT(metrics,
              ::testing::ContainsRegex("mlxd_kv_blocks_cached.model=\"org/bytes\". [1-9]"));
  EXPECT_THAT(metrics, ::testing::ContainsRegex(
                           "mlxd_cached_prompt_tokens_total.model=\"org/bytes\". [1-9]"));
}

TEST_F(CachedTokens, AreOfOnesOwnKey) {
  keys_ = {"first", "second"};
  start();
  EXPECT_EQ(cached("first", false, false), 0);
  EXPECT_EQ(cached("second", false, false), 0);
  EXPECT_EQ(cached("first", false, false), 40);
  EXPECT_EQ(cached("second", false, true), 40);
}

TEST_F(CachedTokens, AreOfAllKeysWhereTheOperatorSaysSo) {
  keys_ = {"first", "second"};
  options_.share_prefix_cache = true;
  start();
  EXPECT_EQ(cached("first", false, false), 0);
  EXPECT_EQ(cached("second", false, false), 40);
}

TEST_F(WholeServer, ErrorsOfEveryRoomHaveTheSameShape) {
  EngineOptions full;
  full.max_queued_requests = 0;
  start(full);
  const std::vector<std::pair<std::string, int>> cases = {
      {http::get("/nothing"), 404},
      {http::get("/v1/completions"), 405},
      {http::get("/v1/models/none/such"), 404},
      {http::post("/v1/completions", "{"), 400},
      {http::post("/v1/completions", R"({"model":"other","prompt":"x"})"), 404},
      {http::post("/v1/completions", R"({"model":"org/bytes","prompt":"x"})"), 429}};
  for (const auto& [bytes, status] : cases) {
    const auto answer = ask(bytes);
    EXPECT_EQ(answer.status, status) << bytes;
    EXPECT_FALSE(answer.header("x-request-id").empty());
    const auto error = json::parse(answer.body).at("error");
    EXPECT_EQ(error.as_object().size(), 4U) << answer.body;
    EXPECT_TRUE(error.at("message").is_string());
  }
}

}  // namespace
}  // namespace mlxd::api
