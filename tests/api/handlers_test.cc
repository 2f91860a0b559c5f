// The handlers, from a request's body to the bytes of its answer, with a scripted model and an
// exchange in memory.
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/api.h"
#include "api/request_log.h"
#include "api/scripted_api.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kChatPath = "/v1/chat/completions";
constexpr auto kCompletionsPath = "/v1/completions";

std::string chat_body(const std::string& more = "") {
  return R"({"model":"org/tiny","messages":[{"role":"user","content":"x"}])" + more + "}";
}
std::string completion_body(const std::string& more = "") {
  return R"({"model":"org/tiny","prompt":"x")" + more + "}";
}

Error error_of(int status, std::string code) {
  Error error;
  error.status = status;
  error.code = std::move(code);
  error.message = "because";
  error.retry_after_seconds = 3;
  return error;
}

using Handlers = ScriptedApi;

TEST_F(Handlers, AnswerAChatWhole) {
  model_->play({piece("Hello"), piece(" you"), sample_end(), generation_end()});
  const auto exchange = post(kChatPath, chat_body(R"(,"seed":7)"));
  EXPECT_EQ(exchange->answers_, 1);
  EXPECT_EQ(exchange->response_.status, 200);
  EXPECT_EQ(header_of(exchange->response_.headers, "x-seed"), "7");
  const auto body = json::parse(exchange->response_.body);
  EXPECT_EQ(text_of(body.at("choices").at(0).at("message").at("content")), "Hello you");
  EXPECT_EQ(text_of(body.at("model")), "org/tiny");
  EXPECT_EQ(text_of(body.at("system_fingerprint")), "mlxd-test");
  EXPECT_THAT(text_of(body.at("id")), ::testing::StartsWith("chatcmpl-"));
  EXPECT_EQ(model_->run(0)->request.job.id, "req-1");
  EXPECT_EQ(std::get<ChatPrompt>(model_->run(0)->request.prompt).messages_json,
            R"([{"role":"user","content":"x"}])");
}

TEST_F(Handlers, StreamAChatInOneWriteOfAllThatIsReady) {
  model_->play({piece("Hello"), piece(" you"), sample_end(), generation_end()});
  const auto exchange = post(kChatPath, chat_body(R"(,"stream":true)"));
  EXPECT_TRUE(exchange->streaming_);
  EXPECT_TRUE(exchange->ended_);
  EXPECT_EQ(exchange->answers_, 1);
  EXPECT_EQ(exchange->writes_.size(), 1U);
  EXPECT_FALSE(header_of(exchange->stream_headers_, "x-seed").empty());
  const auto chunks = data_frames(exchange->streamed());
  ASSERT_EQ(chunks.size(), 4U);
  EXPECT_EQ(chunks[0].at("choices").at(0).at("delta"),
            json::parse(R"({"role":"assistant","content":""})"));
  EXPECT_EQ(chunks[2].at("choices").at(0).at("delta"), json::parse(R"({"content":" you"})"));
  EXPECT_EQ(chunks[3].at("choices").at(0).at("delta"), json::parse("{}"));
  EXPECT_THAT(exchange->streamed(), ::testing::EndsWith("data: [DONE]\n\n"));
  for (const auto& chunk : chunks) EXPECT_EQ(chunk.at("id"), chunks[0].at("id"));
}

TEST_F(Handlers, AnswerSeveralPromptsWithSeveralSamplesInOrder) {
  for (const std::string prompt : {"a", "b"}) {
    model_->play({PromptEcho{piece(prompt)}, piece("1", 1), piece("0", 0), sample_end(1),
                  sample_end(0), generation_end(3, 2)});
  }
  const auto exchange =
      post(kCompletionsPath, R"({"model":"tiny","prompt":["a","b"],"n":2,"echo":true})");
  const auto body = json::parse(exchange->response_.body);
  std::vector<std::string> texts;
  for (const auto& choice : body.at("choices").as_array())
    texts.push_back(text_of(choice.at("text")));
  EXPECT_THAT(texts, ElementsAre("a0", "a1", "b0", "b1"));
  EXPECT_EQ(body.at("usage").at("prompt_tokens"), 6);
  EXPECT_EQ(body.at("usage").at("total_tokens"), 10);
  EXPECT_EQ(body.at("usage").at("prompt_tokens_details").at("cached_tokens"), 2);
}

TEST_F(Handlers, ShowTheBestOfTheSamples) {
  model_->play({piece("poor", 0, {detail(1, "poor", -3)}),
                piece("rich", 1, {detail(2, "rich", -1)}), sample_end(0), sample_end(1),
                generation_end()});
  const auto exchange = post(kCompletionsPath, completion_body(R"(,"best_of":2)"));
  const auto body = json::parse(exchange->response_.body);
  EXPECT_EQ(body.at("choices").as_array().size(), 1U);
  EXPECT_EQ(text_of(body.at("choices").at(0).at("text")), "rich");
  EXPECT_TRUE(body.at("choices").at(0).at("logprobs").is_null());
}

TEST_F(Handlers, AnswerEventsThatComeLaterFromAnotherThread) {
  const auto exchange = start("POST", kChatPath, chat_body(R"(,"stream":true)"));
  const auto run = wait_for_run(0);
  std::thread engine([&] {
    for (int i = 0; i < 50; ++i) run->push({piece("x")});
    run->push({sample_end(), generation_end()});
  });
  finish();
  engine.join();
  finish();
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(data_frames(exchange->streamed()).size(), 52U);
  EXPECT_TRUE(run->destroyed);
}

TEST_F(Handlers, TellTheEngineWhoCallsThoughAllShareThePrefixCache) {
  options_.share_prefix_cache = true;
  caller_ = 7;
  start("POST", kChatPath, chat_body(R"(,"priority":3)"));
  const auto run = wait_for_run(0);
  EXPECT_EQ(run->request.job.caller, 7U);
  EXPECT_EQ(run->request.job.cache_salt, 0U);
  EXPECT_EQ(run->request.job.priority, 3);
  run->push({sample_end(), generation_end()});
  finish();
}

TEST_F(Handlers, LetGoOfTheBodyBeforeTheFirstEvent) {
  const auto exchange = start("POST", kChatPath, chat_body(R"(,"stream":true)"));
  const auto run = wait_for_run(0);
  EXPECT_TRUE(exchange->request_.body.text.empty());
  run->push({sample_end(), generation_end()});
  finish();
}

TEST_F(Handlers, KeepASilentChatAliveWithChunksThatAddNothing) {
  const auto exchange = start("POST", kChatPath, chat_body(R"(,"stream":true)"));
  const auto run = wait_for_run(0);
  io_.restart();
  io_.run_for(std::chrono::milliseconds(80));
  const std::string streamed = exchange->streamed();
  const std::size_t nothing =
      streamed.find(R"({"index":0,"delta":{},"logprobs":null,"finish_reason":null})");
  ASSERT_NE(nothing, streamed.npos);
  EXPECT_LT(streamed.find(R"("role":"assistant")"), nothing);
  run->push({sample_end(), generation_end()});
  finish();
  EXPECT_EQ(ended_, 1);
}

TEST_F(Handlers, KeepASilentCompletionAliveWithComments) {
  const auto exchange =
      start("POST", "/v1/completions", R"({"model":"org/tiny","prompt":"x","stream":true})");
  const auto run = wait_for_run(0);
  io_.restart();
  io_.run_for(std::chrono::milliseconds(80));
  EXPECT_THAT(exchange->streamed(), HasSubstr(": keep-alive\n\n"));
  run->push({sample_end(), generation_end()});
  finish();
}

TEST_F(Handlers, RefuseABadRequestBeforeAnyByteOfAStream) {
  const auto exchange = post(kChatPath, chat_body(R"(,"stream":true,"temperature":3)"));
  EXPECT_FALSE(exchange->streaming_);
  EXPECT_EQ(exchange->response_.status, 400);
  EXPECT_EQ(text_of(json::parse(exchange->response_.body).at("error").at("param")), "temperature");
  EXPECT_EQ(model_->run(0), nullptr);
}

TEST_F(Handlers, PassOnTheEnginesRefusalWithRetryAfter) {
  model_->refuse_after(0, error_of(429, "queue_full"));
  const auto exchange = post(kChatPath, chat_body());
  EXPECT_EQ(exchange->response_.status, 429);
  EXPECT_EQ(header_of(exchange->response_.headers, "Retry-After"), "3");
  EXPECT_EQ(header_of(exchange->response_.headers, "x-should-retry"), "");
}

TEST_F(Handlers, SubmitAllPromptsOrNone) {
  model_->refuse_after(1, error_of(429, "queue_full"));
  const auto exchange = post(kCompletionsPath, R"({"model":"tiny","prompt":["a","b"]})");
  EXPECT_EQ(exchange->response_.status, 429);
  EXPECT_TRUE(model_->run(0)->destroyed);
}

TEST_F(Handlers, AnswerATimeoutWith504AndInAStreamWithAnErrorFrame) {
  GenerationEnd end;
  end.outcome = RequestFinished::Outcome::timeout;
  model_->play({piece("x"), end});
  model_->play({piece("x"), end});
  const auto whole = post(kChatPath, chat_body());
  EXPECT_EQ(whole->response_.status, 504);
  EXPECT_EQ(text_of(json::parse(whole->response_.body).at("error").at("code")), "timeout");
  EXPECT_EQ(header_of(whole->response_.headers, "x-should-retry"), "false")
      << "OpenAI's client would have it generated three times";
  const auto stream = post(kChatPath, chat_body(R"(,"stream":true)"));
  const auto chunks = data_frames(stream->streamed());
  ASSERT_EQ(chunks.size(), 3U);
  EXPECT_EQ(text_of(chunks[2].at("error").at("code")), "timeout");
  EXPECT_THAT(stream->streamed(), ::testing::EndsWith("data: [DONE]\n\n"));
  EXPECT_TRUE(stream->ended_);
}

TEST_F(Handlers, GiveAFailureBeforeTheFirstTokenItsStatusEvenInAStream) {
  GenerationEnd end;
  end.outcome = RequestFinished::Outcome::error;
  end.error = error_of(503, "engine_hung");
  model_->play({end});
  const auto exchange = post(kChatPath, chat_body(R"(,"stream":true)"));
  EXPECT_FALSE(exchange->streaming_);
  EXPECT_EQ(exchange->response_.status, 503);
}

TEST_F(Handlers, CancelWhenThePeerLeavesWhileNothingIsReady) {
  for (const auto* more : {"", R"(,"stream":true)"}) {
    const int before = ended_;
    const auto exchange = start("POST", kChatPath, chat_body(more));
    const auto run = wait_for_run(static_cast<std::size_t>(before));
    exchange->leave();
    finish();
    EXPECT_EQ(ended_, before + 1);
    EXPECT_TRUE(run->cancelled);
    EXPECT_TRUE(run->destroyed);
    EXPECT_TRUE(exchange->response_.body.empty());
    run->on_ready();  // the engine's last word, after the handler has gone
  }
  EXPECT_THAT(scrape(), HasSubstr(R"(mlxd_requests_total{endpoint="chat",outcome="cancelled"} 2)"));
}

TEST_F(Handlers, CancelWhenAWriteFindsThePeerGone) {
  const auto exchange = start("POST", kChatPath, chat_body(R"(,"stream":true)"));
  exchange->on_write_ = [&] { exchange->leave(); };
  const auto run = wait_for_run(0);
  run->push({piece("x")});
  finish();
  EXPECT_EQ(ended_, 1);
  EXPECT_TRUE(run->cancelled);
  EXPECT_FALSE(exchange->ended_);
}

TEST_F(Handlers, NameWhatTheLenientSettingIgnores) {
  options_.lenient = true;
  model_->play({sample_end(), generation_end()});
  const auto exchange = post(kChatPath, chat_body(R"(,"zap":1,"bad\r\nname":2)"));
  EXPECT_EQ(exchange->response_.status, 200);
  EXPECT_EQ(header_of(exchange->response_.headers, "x-mlxd-ignored"), "zap, bad??name");
}

TEST_F(Handlers, RefuseNewRequestsWhileDraining) {
  api().drain();
  const auto exchange = post(kChatPath, chat_body());
  EXPECT_EQ(exchange->response_.status, 503);
  EXPECT_FALSE(header_of(exchange->response_.headers, "Retry-After").empty());
  const auto health = run("GET", "/health");
  EXPECT_EQ(health->response_.status, 503);
  EXPECT_EQ(text_of(json::parse(health->response_.body).at("status")), "draining");
}

TEST_F(Handlers, HealthFollowsTheEngine) {
  EXPECT_EQ(run("GET", "/health")->response_.status, 200);
  model_->stats_.healthy = false;
  const auto health = run("GET", "/health");
  EXPECT_EQ(health->response_.status, 503);
  EXPECT_EQ(text_of(json::parse(health->response_.body).at("status")), "unhealthy");
}

TEST_F(Handlers, ListModelsAndFindOneByItsIdWithSlashes) {
  const auto list = json::parse(run("GET", "/v1/models")->response_.body);
  EXPECT_EQ(text_of(list.at("object")), "list");
  EXPECT_EQ(list.at("data").as_array().size(), 1U);
  const auto one = run("GET", "/v1/models/org/tiny");
  EXPECT_EQ(one->response_.status, 200);
  EXPECT_EQ(json::parse(one->response_.body), list.at("data").at(0));
  EXPECT_EQ(run("GET", "/v1/models/tiny")->response_.status, 200);
  const auto none = run("GET", "/v1/models/no/such");
  EXPECT_EQ(none->response_.status, 404);
  EXPECT_EQ(text_of(json::parse(none->response_.body).at("error").at("code")), "model_not_found");
}

// What a balancer that was made for vLLM scrapes, to the letter: names, labels and kinds.
TEST_F(Handlers, MetricsHaveTheNamesOfVllmToo) {
  model_->stats_.queued_requests = 3;
  model_->stats_.preempted_sequences = 1;
  model_->stats_.running_sequences = 2;
  model_->stats_.kv_blocks_used = 5;
  model_->stats_.kv_blocks_total = 20;
  model_->stats_.prompt_tokens = 30;
  model_->stats_.cached_prompt_tokens = 12;
  const auto text = scrape();
  for (const auto* lines :
       {"# TYPE vllm:num_requests_waiting gauge\n"
        "vllm:num_requests_waiting{model_name=\"org/tiny\",engine=\"0\"} 4\n",
        "# TYPE vllm:num_requests_running gauge\n"
        "vllm:num_requests_running{model_name=\"org/tiny\",engine=\"0\"} 2\n",
        "# TYPE vllm:kv_cache_usage_perc gauge\n"
        "vllm:kv_cache_usage_perc{model_name=\"org/tiny\",engine=\"0\"} 0.25\n",
        "vllm:gpu_cache_usage_perc{model_name=\"org/tiny\",engine=\"0\"} 0.25\n",
        "# TYPE vllm:prefix_cache_queries_total counter\n"
        "vllm:prefix_cache_queries_total{model_name=\"org/tiny\",engine=\"0\"} 42\n",
        "vllm:prefix_cache_hits_total{model_name=\"org/tiny\",engine=\"0\"} 12\n",
        "# TYPE vllm:cache_config_info gauge\n"
        "vllm:cache_config_info{model_name=\"org/tiny\",engine=\"0\",block_size=\"16\","
        "num_gpu_blocks=\"20\"} 1\n"}) {
    EXPECT_THAT(text, ::testing::HasSubstr(lines));
  }
}

TEST_F(Handlers, MetricsCountWhatHappened) {
  model_->stats_.kv_blocks_used = 5;
  model_->stats_.generated_tokens = 11;
  model_->stats_.drafted_tokens = 9;
  model_->stats_.accepted_tokens = 7;
  model_->stats_.memory.weights = 2048;
  start("POST", kChatPath, chat_body());
  const auto generation = wait_for_run(0);
  generation->push({piece("a")});
  io_.restart();
  io_.run_for(std::chrono::milliseconds(20));
  generation->push({piece("b"), sample_end(), generation_end()});
  finish();
  post(kCompletionsPath, "{}");
  api().set_server_stats(
      [] { return http::ServerStats{.connections = 4, .body_bytes = 1234, .buffer_bytes = 766}; });
  metrics_.engine_observer()->on_step(0.002, 8, 2);
  const auto text = scrape();
  for (const auto* line :
       {R"(mlxd_requests_total{endpoint="chat",outcome="completed"} 1)",
        R"(mlxd_requests_total{endpoint="completions",outcome="refused"} 1)",
        R"(mlxd_kv_blocks_used{model="org/tiny"} 5)",
        R"(mlxd_generated_tokens_total{model="org/tiny"} 11)",
        R"(mlxd_drafted_tokens_total{model="org/tiny"} 9)",
        R"(mlxd_accepted_tokens_total{model="org/tiny"} 7)", "mlxd_connections 4",
        "mlxd_request_body_bytes 1234",
        R"(mlxd_memory_bytes{model="org/tiny",part="weights"} 2048)",
        R"(mlxd_memory_bytes{part="connections"} 2000)", "mlxd_step_seconds_count 1",
        "mlxd_time_to_first_token_seconds_count 1", "mlxd_time_between_tokens_seconds_count 1",
        R"(mlxd_build_info{version="1.2.3",model="org/tiny",backend="fake"} 1)"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(RequestLog, SaysWhatHappenedInOneLine) {
  RequestRecord record;
  record.id = "r1";
  record.endpoint = "chat";
  record.model = "m";
  record.status = 200;
  record.outcome = Outcome::completed;
  record.finish = "stop";
  record.prompt_tokens = 4;
  record.completion_tokens = 9;
  record.queue_seconds = 0.0015;
  record.first_token_seconds = 0.02;
  record.total_seconds = 0.5;
  EXPECT_EQ(RequestLog::text_line(record),
            "r1 chat model=m status=200 outcome=completed finish=stop in=4 cached=0 out=9 "
            "queue_ms=1.5 first_ms=20.0 total_ms=500.0");
  const auto line = json::parse(RequestLog::json_line(record));
  EXPECT_EQ(line.at("completion_tokens"), 9);
  EXPECT_EQ(line.at("queue_ms"), 1.5);
  EXPECT_EQ(text_of(line.at("outcome")), "completed");
}

}  // namespace
}  // namespace mlxd::api
