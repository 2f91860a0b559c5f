// Answers and errors in Ollama's shapes, and what there is to ask of models.
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/ollama_handlers.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using OllamaAnswers = OllamaHandlers;

TEST_F(OllamaAnswers, ChatStreamsLinesByDefault) {
  model_->play(hello());
  const auto exchange = post(kChat, chat_body());
  EXPECT_EQ(exchange->stream_type_, "application/x-ndjson");
  EXPECT_FALSE(header_of(exchange->stream_headers_, "x-seed").empty());
  const auto lines = lines_of(exchange->streamed());
  ASSERT_EQ(lines.size(), 3u);
  std::string text;
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(lines[i].at("model"), "tiny");
    EXPECT_EQ(lines[i].at("created_at").as_string().size(), 27u);
    EXPECT_EQ(lines[i].at("message").at("role"), "assistant");
    EXPECT_EQ(lines[i].at("done"), false);
    EXPECT_FALSE(lines[i].as_object().contains("done_reason"));
    text += lines[i].at("message").at("content").as_string();
  }
  EXPECT_EQ(text, "Hello");
  const auto& last = lines[2];
  EXPECT_EQ(last.at("message"), json::parse(R"({"role":"assistant","content":""})"));
  EXPECT_EQ(last.at("done"), true);
  EXPECT_EQ(last.at("done_reason"), "stop");
  EXPECT_EQ(last.at("prompt_eval_count"), 5);
  EXPECT_EQ(last.at("eval_count"), 7);
  const auto seconds = [&](const char* name) { return last.at(name).as_int64(); };
  EXPECT_GT(seconds("total_duration"), 0);
  EXPECT_GE(seconds("load_duration"), 0);
  EXPECT_GE(seconds("prompt_eval_duration"), 0);
  EXPECT_GE(seconds("eval_duration"), 0);
  EXPECT_NEAR(static_cast<double>(seconds("load_duration") + seconds("prompt_eval_duration") +
                                  seconds("eval_duration")),
              static_cast<double>(seconds("total_duration")), 5);
}

TEST_F(OllamaAnswers, DurationsArePartsOfTheTimeThatTheAnswerTook) {
  const auto exchange = start("POST", kChat, chat_body());
  const auto run = wait_for_run(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  run->push({piece("Hel")});
  io_.restart();
  io_.run_for(std::chrono::milliseconds(40));
  GenerationEnd end = generation_end(5, 7);
  end.queue_seconds = 0.03;
  run->push({sample_end(), end});
  finish();
  const auto last = lines_of(exchange->streamed()).back();
  const auto ms = [&](const char* name) { return last.at(name).as_int64() / 1000000; };
  EXPECT_GE(ms("load_duration"), 30);
  EXPECT_GE(ms("prompt_eval_duration"), 20);
  EXPECT_GE(ms("load_duration") + ms("prompt_eval_duration"), 59);
  EXPECT_GE(ms("eval_duration"), 39);
  EXPECT_GE(ms("total_duration"), 100);
}

TEST_F(OllamaAnswers, AWholeAnswerIsTheStreamsPutTogether) {
  const std::vector<GenerationEvent> script = {
      in_channel(AnswerChannel::reasoning, "Hm"), piece("Hel"), piece("lo"),
      sample_end(0, FinishReason::length), generation_end(5, 7)};
  model_->play(script);
  model_->play(script);
  const auto whole = json::parse(post(kChat, chat_body(R"(,"stream":false)"))->response_.body);
  EXPECT_EQ(whole.at("message"),
            json::parse(R"({"role":"assistant","content":"Hello","thinking":"Hm"})"));
  EXPECT_EQ(whole.at("done"), true);
  EXPECT_EQ(whole.at("done_reason"), "length");
  EXPECT_EQ(whole.at("eval_count"), 7);
  const auto lines = lines_of(post(kChat, chat_body())->streamed());
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].at("message"),
            json::parse(R"({"role":"assistant","content":"","thinking":"Hm"})"));
  EXPECT_EQ(lines[3].at("done_reason"), "length");
}

TEST_F(OllamaAnswers, GenerateHasAResponse) {
  model_->play(
      {in_channel(AnswerChannel::reasoning, "Hm"), piece("Hello"), sample_end(), generation_end()});
  model_->play(hello());
  const auto whole =
      json::parse(post(kGenerate, generate_body(R"(,"stream":false)"))->response_.body);
  EXPECT_EQ(whole.at("response"), "Hello");
  EXPECT_EQ(whole.at("thinking"), "Hm");
  EXPECT_FALSE(whole.as_object().contains("message"));
  const auto lines = lines_of(post(kGenerate, generate_body())->streamed());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].at("response"), "Hel");
  EXPECT_EQ(lines[2].at("response"), "");
  EXPECT_EQ(lines[2].at("done_reason"), "stop");
}

TEST_F(OllamaAnswers, CallsComeInOnePieceWithObjects) {
  const std::string tools =
      R"(,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":
         {"type":"object","properties":{"a":{"type":"integer"}}}}}])";
  const std::vector<GenerationEvent> script = {
      piece("Well."),
      in_channel(AnswerChannel::tool_name, "f", 0),
      in_channel(AnswerChannel::tool_arguments, "{\"a\":\n", 0),
      in_channel(AnswerChannel::tool_arguments, " 1}", 0),
      in_channel(AnswerChannel::tool_name, "f", 1),
      in_channel(AnswerChannel::tool_arguments, "{}", 1),
      sample_end(),
      generation_end()};
  model_->play(script);
  model_->play(script);
  const auto stream = lines_of(post(kChat, chat_body(tools))->streamed());
  ASSERT_EQ(stream.size(), 4u);
  json::array calls;
  for (const auto* line : {&stream[1], &stream[2]}) {
    EXPECT_EQ(line->at("message").at("content"), "");
    for (const auto& call : line->at("message").at("tool_calls").as_array()) calls.push_back(call);
  }
  EXPECT_EQ(stream[3].at("done_reason"), "stop");
  const auto whole =
      json::parse(post(kChat, chat_body(tools + R"(,"stream":false)"))->response_.body);
  EXPECT_EQ(whole.at("message").at("content"), "Well.");
  for (const auto& list : {calls, whole.at("message").at("tool_calls").as_array()}) {
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[0].at("function"), json::parse(R"({"name":"f","arguments":{"a":1}})"));
    EXPECT_EQ(list[1].at("function"), json::parse(R"({"name":"f","arguments":{}})"));
    EXPECT_NE(list[0].at("id"), list[1].at("id"));
  }
  const auto& chat = std::get<ChatPrompt>(model_->run(0)->request.prompt);
  EXPECT_THAT(chat.tools_json, HasSubstr(R"("name":"f")"));
  EXPECT_TRUE(chat.tools->contains("f"));
}

TEST_F(OllamaAnswers, ACallThatBreaksOffIsNone) {
  model_->play({in_channel(AnswerChannel::tool_name, "f", 0),
                in_channel(AnswerChannel::tool_arguments, "{\"a\":", 0),
                sample_end(0, FinishReason::length), generation_end()});
  const auto whole = json::parse(post(kChat, chat_body(R"(,"stream":false)"))->response_.body);
  EXPECT_FALSE(whole.at("message").as_object().contains("tool_calls"));
  EXPECT_EQ(whole.at("done_reason"), "length");
}

TEST_F(OllamaAnswers, LogProbabilitiesOfEachPiece) {
  auto first = piece("He", 0, {detail(7, "He", -0.5f)});
  first.details[0].top.push_back({8, "Ho", -1.5f});
  model_->play({first, sample_end(), generation_end()});
  const auto lines =
      lines_of(post(kChat, chat_body(R"(,"logprobs":true,"top_logprobs":1)"))->streamed());
  EXPECT_EQ(lines[0].at("logprobs"),
            json::parse(R"([{"token":"He","logprob":-0.5,"bytes":[72,101],"top_logprobs":
                            [{"token":"Ho","logprob":-1.5,"bytes":[72,111]}]}])"));
  const auto& sampling = model_->run(0)->request.job.sampling;
  EXPECT_TRUE(sampling.logprobs);
  EXPECT_EQ(sampling.top_logprobs, 1);
}

TEST_F(OllamaAnswers, WithoutAPromptTheModelIsLoadedAndDoesNothing) {
  struct Case {
    const char *path, *body, *reason;
  };
  for (const Case& each : {
           Case{kChat, R"({"model":"tiny"})", "load"},
           Case{kChat, R"({"model":"tiny","messages":[],"stream":false})", "load"},
           Case{kChat, R"({"model":"tiny","messages":[],"keep_alive":"0s"})", "unload"},
           Case{kGenerate, R"({"model":"tiny"})", "load"},
           Case{kGenerate, R"({"model":"tiny","prompt":"","keep_alive":"10m"})", "load"},
           Case{kGenerate, R"({"model":"tiny","keep_alive":0,"stream":false})", "unload"},
       }) {
    const auto exchange = post(each.path, each.body);
    const auto said =
        json::parse(exchange->streaming_ ? exchange->streamed() : exchange->response_.body);
    EXPECT_EQ(said.at("done"), true);
    EXPECT_EQ(said.at("done_reason"), each.reason) << each.body;
    EXPECT_FALSE(said.as_object().contains("eval_count"));
  }
  EXPECT_EQ(model_->run(0), nullptr);
  EXPECT_THAT(refusal(kChat, R"({"model":"other"})", 404), StartsWith("model 'other' not found"));
}

TEST_F(OllamaAnswers, NamesMayHaveATag) {
  model_->play(hello());
  model_->aliases.push_back("with:tag");
  const auto lines =
      lines_of(post(kChat, R"({"model":"tiny:latest","messages":[{"role":"user","content":"x"}]})")
                   ->streamed());
  EXPECT_EQ(lines.at(0).at("model"), "tiny:latest");
  EXPECT_EQ(post("/api/show", R"({"model":"with:tag"})")->response_.status, 200);
  refusal("/api/show", R"({"model":"tiny:other"})", 404);
  refusal("/api/show", R"({"model":"with:latest"})", 404);
}

TEST_F(OllamaAnswers, ErrorsUnderWayAreALineAndOverloadIs503) {
  const auto exchange = start("POST", kChat, chat_body());
  const auto run = wait_for_run(0);
  run->push({piece("Hel")});
  io_.restart();
  io_.run_for(std::chrono::milliseconds(40));
  GenerationEnd end;
  end.outcome = RequestFinished::Outcome::error;
  end.error.message = "It broke.";
  run->push({end});
  finish();
  EXPECT_EQ(lines_of(exchange->streamed()).back(), json::parse(R"({"error":"It broke."})"));

  Error full;
  full.status = 429;
  full.message = "Too many.";
  full.retry_after_seconds = 1;
  model_->refuse_after(1, full);
  EXPECT_EQ(refusal(kChat, chat_body(), 503), "Too many.");
}

TEST_F(OllamaAnswers, ASilentStreamIsStillLinesOfJson) {
  const auto exchange = start("POST", kChat, chat_body());
  const auto run = wait_for_run(0);
  io_.restart();
  io_.run_for(std::chrono::milliseconds(100));
  EXPECT_THAT(exchange->streamed(), StartsWith(" "));
  run->push(hello());
  finish();
  EXPECT_EQ(lines_of(exchange->streamed()).size(), 3u);
}

TEST_F(OllamaAnswers, ModelsAreListedAndShown) {
  model_->card.summary.parameters = 1543714304;
  model_->card.summary.fingerprint = "0123456789ab";
  model_->card.summary.formats = {{"Q4_K", 10, 1000}, {"F32", 2, 24}};
  const auto details =
      json::parse(R"({"parent_model":"","format":"gguf","family":"llama","families":["llama"],
                      "parameter_size":"1.5B","quantization_level":"Q4_K"})");
  const auto tags = json::parse(run("GET", "/api/tags")->response_.body).at("models");
  ASSERT_EQ(tags.as_array().size(), 1u);
  EXPECT_EQ(tags.at(0), json::value({{"name", "org/tiny"},
                                     {"model", "org/tiny"},
                                     {"size", 1024},
                                     {"digest", "0123456789ab"},
                                     {"details", details},
                                     {"modified_at", "2023-11-14T22:13:20Z"}}));
  const auto running = json::parse(run("GET", "/api/ps")->response_.body).at("models").at(0);
  EXPECT_EQ(running.at("name"), "org/tiny");
  EXPECT_EQ(running.at("context_length"), 2048);
  const auto shown = json::parse(post("/api/show", R"({"name":"tiny"})")->response_.body);
  EXPECT_EQ(shown.at("details"), details);
  EXPECT_EQ(shown.at("template"), "{{ messages }}");
  EXPECT_EQ(shown.at("capabilities"), json::parse(R"(["completion","tools"])"));
  EXPECT_EQ(shown.at("model_info").at("general.architecture"), "llama");
  EXPECT_EQ(shown.at("model_info").at("llama.context_length"), 2048);
  model_->card.reasons = true;
  model_->card.chat_template.clear();
  EXPECT_EQ(json::parse(post("/api/show", R"({"model":"tiny","verbose":false})")->response_.body)
                .at("capabilities"),
            json::parse(R"(["completion","thinking"])"));
  const auto version = json::parse(run("GET", "/api/version")->response_.body);
  EXPECT_EQ(version.at("mlxd"), "1.2.3");
  EXPECT_FALSE(version.at("version").as_string().empty());
}

TEST_F(OllamaAnswers, ShowRefusesByName) {
  EXPECT_EQ(refusal("/api/show", "{}"), "model is required");
  EXPECT_THAT(refusal("/api/show", R"({"model":5})"), HasSubstr("'model'"));
  EXPECT_THAT(refusal("/api/show", R"({"model":"tiny","verbose":true})"), HasSubstr("'verbose'"));
  EXPECT_THAT(refusal("/api/show", R"({"model":"tiny","speed":1})"), HasSubstr("'speed'"));
  EXPECT_THAT(refusal("/api/show", R"({"model":"other"})", 404),
              StartsWith("model 'other' not found"));
}

TEST_F(OllamaAnswers, HttpsOwnRefusalsHaveItsShapeOnAllOfItsPaths) {
  Error error;
  error.status = 404;
  error.message = "Not here.";
  const auto of_http = api().http_error_body();
  for (const char* path : {kChat, kGenerate, "/api/tags", "/api/show", "/api/pull"}) {
    EXPECT_EQ(of_http(path, error), R"({"error":"Not here."})");
  }
  EXPECT_THAT(of_http("/v1/models", error), HasSubstr(R"("message":"Not here.")"));
}

}  // namespace
}  // namespace mlxd::api
