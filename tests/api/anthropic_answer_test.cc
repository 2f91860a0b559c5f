// Answers in Anthropic's shapes, whole and streamed, from the handlers with a scripted model.
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/scripted_api.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr auto kPath = "/v1/messages";

std::string body(const std::string& more = "") {
  return R"({"model":"tiny","max_tokens":9,"messages":[{"role":"user","content":"x"}])" + more +
         "}";
}

TextDelta said(AnswerChannel channel, std::string text, int call = -1) {
  TextDelta delta = piece(std::move(text));
  delta.channel = channel;
  delta.call = call;
  return delta;
}
TextDelta stopped_by(std::string stop) {
  TextDelta delta = sample_end();
  delta.stop = std::move(stop);
  return delta;
}

// Reasoning, words, and two calls, with white space between them as models write it.
std::vector<GenerationEvent> long_answer() {
  return {said(AnswerChannel::content, "\n"),
          said(AnswerChannel::reasoning, "\nh"),
          said(AnswerChannel::reasoning, "m"),
          said(AnswerChannel::content, "\n\n"),
          said(AnswerChannel::content, "I "),
          said(AnswerChannel::content, "look.\n"),
          said(AnswerChannel::tool_name, "f", 0),
          said(AnswerChannel::tool_arguments, R"({"a":)", 0),
          said(AnswerChannel::tool_arguments, R"("b"})", 0),
          said(AnswerChannel::content, "\n"),
          said(AnswerChannel::tool_name, "g", 1),
          said(AnswerChannel::content, " \n"),
          sample_end(),
          generation_end(3, 20)};
}

struct Event {
  std::string name;
  json::value data;
};

std::vector<Event> events_of(std::string_view stream) {
  std::vector<Event> events;
  while (!stream.empty()) {
    const auto end = stream.find("\n\n");
    EXPECT_NE(end, std::string_view::npos);
    const std::string frame(stream.substr(0, end));
    stream.remove_prefix(end + 2);
    const auto line = frame.find('\n');
    EXPECT_THAT(frame, StartsWith("event: "));
    EXPECT_EQ(frame.substr(line + 1, 6), "data: ");
    events.push_back({frame.substr(7, line - 7), json::parse(frame.substr(line + 7))});
    EXPECT_EQ(text_of(events.back().data.at("type")), events.back().name);
  }
  return events;
}

// As clients do it: what a stream's events add up to.
json::value put_together(const std::vector<Event>& events) {
  json::value message;
  std::map<std::int64_t, std::string> inputs;
  for (const Event& event : events) {
    const json::value& data = event.data;
    if (event.name == "message_start") message = data.at("message");
    if (event.name == "content_block_start") {
      json::array& content = message.at("content").as_array();
      EXPECT_EQ(data.at("index").as_int64(), static_cast<std::int64_t>(content.size()));
      content.push_back(data.at("content_block"));
    }
    if (event.name == "content_block_delta") {
      const auto index = data.at("index").as_int64();
      json::object& block =
          message.at("content").as_array().at(static_cast<std::size_t>(index)).as_object();
      const json::object& delta = data.at("delta").as_object();
      for (const char* key : {"text", "thinking", "signature"}) {
        if (const auto* more = delta.if_contains(key)) {
          block[key] = text_of(block.at(key)) + text_of(*more);
        }
      }
      if (const auto* more = delta.if_contains("partial_json")) {
        inputs[index] += text_of(*more);
        boost::system::error_code cut;
        const json::value input = json::parse(inputs[index], cut);
        if (!cut) block["input"] = input;
      }
    }
    if (event.name == "message_delta") {
      for (const auto& [key, value] : data.at("delta").as_object())
        message.as_object()[key] = value;
      message.as_object()["usage"] = data.at("usage");
    }
  }
  return message;
}

// Without what is made anew for each answer.
json::value without_ids(json::value message) {
  message.as_object().erase("id");
  for (json::value& block : message.at("content").as_array()) {
    block.as_object().erase("id");
    block.as_object().erase("signature");
  }
  return message;
}

using Anthropic = ScriptedApi;

TEST_F(Anthropic, AWholeAnswerIsAMessageOfBlocks) {
  model_->play(long_answer());
  const auto exchange = post(kPath, body());
  EXPECT_EQ(exchange->response_.status, 200);
  const json::value message = json::parse(exchange->response_.body);
  EXPECT_THAT(text_of(message.at("id")), StartsWith("msg_"));
  for (const json::value& block : message.at("content").as_array()) {
    const bool is_call = block.at("type") == "tool_use";
    EXPECT_EQ(is_call, block.as_object().contains("id"));
    if (is_call) {
      EXPECT_THAT(text_of(block.at("id")), StartsWith("toolu_"));
    }
    if (block.at("type") == "thinking") {
      EXPECT_NE(block.at("signature"), "");
    }
  }
  EXPECT_NE(message.at("content").at(2).at("id"), message.at("content").at(3).at("id"));
  EXPECT_EQ(without_ids(message), json::parse(R"({"type":"message","role":"assistant",
      "model":"org/tiny","content":[{"type":"thinking","thinking":"\nhm"},
        {"type":"text","text":"\n\nI look.\n"},{"type":"tool_use","name":"f","input":{"a":"b"}},
        {"type":"tool_use","name":"g","input":{}}],
      "stop_reason":"tool_use","stop_sequence":null,
      "usage":{"input_tokens":2,"cache_creation_input_tokens":0,"cache_read_input_tokens":1,
        "output_tokens":20,"output_tokens_details":{"thinking_tokens":0}}})"));
}

TEST_F(Anthropic, AStreamSaysTheSameInItsWholeSequenceOfEvents) {
  model_->play(long_answer());
  model_->play(long_answer());
  const auto whole = json::parse(post(kPath, body())->response_.body);
  const auto exchange = post(kPath, body(R"(,"stream":true)"));
  EXPECT_TRUE(exchange->ended_);
  const auto events = events_of(exchange->streamed());
  std::vector<std::string> names;
  for (const Event& event : events) {
    std::string name = event.name;
    if (name == "content_block_delta") name = text_of(event.data.at("delta").at("type"));
    if (name == "content_block_start") {
      name = "start " + text_of(event.data.at("content_block").at("type"));
    }
    names.push_back(name);
  }
  EXPECT_THAT(names,
              ElementsAre("message_start", "start thinking", "thinking_delta", "thinking_delta",
                          "signature_delta", "content_block_stop", "start text", "text_delta",
                          "text_delta", "content_block_stop", "start tool_use", "input_json_delta",
                          "input_json_delta", "content_block_stop", "start tool_use",
                          "content_block_stop", "message_delta", "message_stop"));
  EXPECT_EQ(without_ids(put_together(events)), without_ids(whole));
  // The prompt's count is known before the first token; what was found of it, at the end.
  EXPECT_EQ(events.at(0).data.at("message").at("usage").at("input_tokens"), 3);
  EXPECT_EQ(events.at(0).data.at("message").at("stop_reason"), nullptr);
}

TEST_F(Anthropic, TheStopReasonIsWhatEndedIt) {
  const auto reason_of = [this](TextDelta end) {
    model_->play({piece("a"), std::move(end), generation_end()});
    const auto message = json::parse(post(kPath, body())->response_.body);
    return std::pair(text_of(message.at("stop_reason")), message.at("stop_sequence"));
  };
  EXPECT_EQ(reason_of(sample_end()), std::pair(std::string("end_turn"), json::value()));
  EXPECT_EQ(reason_of(sample_end(0, FinishReason::length)),
            std::pair(std::string("max_tokens"), json::value()));
  EXPECT_EQ(reason_of(stopped_by("STOP")),
            std::pair(std::string("stop_sequence"), json::value("STOP")));
}

TEST_F(Anthropic, ACallThatBreaksOffHasNoInput) {
  model_->play({said(AnswerChannel::tool_name, "f", 0),
                said(AnswerChannel::tool_arguments, R"({"a":"b)", 0),
                sample_end(0, FinishReason::length), generation_end()});
  const auto message = json::parse(post(kPath, body())->response_.body);
  EXPECT_EQ(message.at("content").at(0).at("input"), json::value(json::object()));
  EXPECT_EQ(message.at("stop_reason"), "max_tokens");
}

TEST_F(Anthropic, ThinkingIsLeftOutWhereTheRequestSaysSo) {
  const std::string omit = R"(,"thinking":{"type":"adaptive","display":"omitted"})";
  model_->play(long_answer());
  model_->play(long_answer());
  const auto message = json::parse(post(kPath, body(omit))->response_.body);
  EXPECT_EQ(message.at("content").at(0).at("thinking"), "");
  EXPECT_NE(message.at("content").at(0).at("signature"), "");
  const auto stream = post(kPath, body(omit + R"(,"stream":true)"))->streamed();
  EXPECT_THAT(stream, Not(HasSubstr("thinking_delta")));
  EXPECT_THAT(stream, HasSubstr("signature_delta"));
}

TEST_F(Anthropic, CacheControlMakesWhatIsComputedACreation) {
  model_->play({piece("a"), sample_end(), generation_end(30, 2)});
  const auto message =
      json::parse(post(kPath, body(R"(,"cache_control":{"type":"ephemeral"})"))->response_.body);
  EXPECT_EQ(message.at("usage").at("input_tokens"), 1);
  EXPECT_EQ(message.at("usage").at("cache_creation_input_tokens"), 28);
  EXPECT_EQ(message.at("usage").at("cache_read_input_tokens"), 1);
}

TEST_F(Anthropic, TheRequestsIdIsWhereClientsLookForIt) {
  for (const std::string stream : {"false", "true"}) {
    model_->play({piece("a"), sample_end(), generation_end()});
    const auto exchange = post(kPath, body(R"(,"stream":)" + stream));
    const auto& headers =
        stream == "true" ? exchange->stream_headers_ : exchange->response_.headers;
    EXPECT_EQ(header_of(headers, "request-id"), "req-1");
  }
  const auto counted = post("/v1/messages/count_tokens", body());
  EXPECT_EQ(header_of(counted->response_.headers, "request-id"), "req-1");
}

// As the SDK's MessageStream and Claude Code add up usage: a count of 0 corrects nothing.
TEST_F(Anthropic, TheCountsOfAStreamsLastEventTakeThePlaceOfTheFirsts) {
  model_->play({piece("a"), sample_end(), generation_end(30, 2)});
  const auto stream =
      post(kPath, body(R"(,"stream":true,"cache_control":{"type":"ephemeral"})"))->streamed();
  EXPECT_THAT(stream, HasSubstr(R"("usage":{"input_tokens":1,"cache_creation_input_tokens":28,)"
                                R"("cache_read_input_tokens":1,)"));
}

TEST_F(Anthropic, ASilenceIsAPing) {
  auto exchange = start("POST", kPath, body(R"(,"stream":true)"));
  const auto run = wait_for_run(0);
  ASSERT_TRUE(run);
  io_.restart();
  io_.run_for(std::chrono::milliseconds(60));
  run->push({piece("a"), sample_end(), generation_end()});
  finish();
  const auto events = events_of(exchange->streamed());
  EXPECT_EQ(events.at(0).name, "message_start");
  EXPECT_EQ(events.at(1).name, "ping");
  EXPECT_EQ(put_together(events).at("content").at(0).at("text"), "a");
}

TEST_F(Anthropic, ErrorsHaveItsShapeAndTypeWithTheRequestsId) {
  const std::vector<std::tuple<int, int, std::string>> types = {
      {400, 400, "invalid_request_error"}, {404, 404, "not_found_error"},
      {429, 529, "overloaded_error"},      {500, 500, "api_error"},
      {503, 529, "overloaded_error"},      {504, 504, "timeout_error"}};
  for (const auto& [status, own, type] : types) {
    Error error;
    error.status = status;
    error.message = "because";
    model_->refuse_after(0, error);
    const auto exchange = post(kPath, body());
    EXPECT_EQ(exchange->response_.status, own);
    EXPECT_EQ(header_of(exchange->response_.headers, "request-id"), "req-1");
    EXPECT_EQ(json::parse(exchange->response_.body),
              json::parse(R"({"type":"error","error":{"type":")" + type +
                          R"(","message":"because"},"request_id":"req-1"})"));
  }
}

TEST_F(Anthropic, AStreamThatFailsEndsWithAnErrorEvent) {
  GenerationEnd end;
  end.outcome = RequestFinished::Outcome::error;
  model_->play({piece("a"), end});
  const auto events = events_of(post(kPath, body(R"(,"stream":true)"))->streamed());
  EXPECT_EQ(events.back().name, "error");
  EXPECT_EQ(events.back().data.at("error").at("type"), "api_error");
  EXPECT_EQ(events.back().data.at("request_id"), "req-1");
}

TEST_F(Anthropic, WhatIsIgnoredIsNamedInAHeader) {
  model_->play({piece("a"), sample_end(), generation_end()});
  const auto exchange = post(kPath, body(R"(,"mood":"good","mcp_servers":[])"));
  EXPECT_EQ(header_of(exchange->response_.headers, "x-mlxd-ignored"), "mood, mcp_servers");
}

TEST_F(Anthropic, TokensAreCountedWithoutAnAnswer) {
  const auto exchange =
      post("/v1/messages/count_tokens",
           R"({"model":"tiny","system":"s","messages":[{"role":"user","content":"x"}]})");
  EXPECT_EQ(exchange->response_.status, 200);
  // The fake model's tokens are the bytes of the messages.
  const std::string messages = R"([{"role":"system","content":"s"},{"role":"user","content":"x"}])";
  EXPECT_EQ(json::parse(exchange->response_.body),
            json::value({{"input_tokens", messages.size()}}));
  const auto refused = post("/v1/messages/count_tokens", R"({"model":"tiny"})");
  EXPECT_EQ(refused->response_.status, 400);
  EXPECT_THAT(refused->response_.body, HasSubstr("'messages' is missing"));
  EXPECT_THAT(refused->response_.body, HasSubstr(R"("request_id":"req-1")"));
}

TEST_F(Anthropic, ModelsAreListedInTheShapeOfWhoAsks) {
  EXPECT_THAT(run("GET", "/v1/models")->response_.body, HasSubstr(R"("object":"list")"));
  headers_ = {{"anthropic-version", "2023-06-01"}};
  EXPECT_EQ(json::parse(run("GET", "/v1/models")->response_.body), json::parse(R"({"data":[
      {"type":"model","id":"org/tiny","display_name":"org/tiny",
       "created_at":"2023-11-14T22:13:20Z","lifecycle":"active","max_input_tokens":2048,
       "max_tokens":2048},
      {"type":"model","id":"tiny","display_name":"tiny","created_at":"2023-11-14T22:13:20Z",
       "lifecycle":"active","max_input_tokens":2048,"max_tokens":2048}],
      "has_more":false,"first_id":"org/tiny","last_id":"tiny"})"));
  EXPECT_THAT(run("GET", "/v1/models/tiny")->response_.body, HasSubstr(R"("id":"tiny")"));
  const auto unknown = run("GET", "/v1/models/nobody");
  EXPECT_EQ(unknown->response_.status, 404);
  EXPECT_THAT(unknown->response_.body, HasSubstr("not_found_error"));
}

TEST_F(Anthropic, ModelsComeInPages) {
  headers_ = {{"anthropic-version", "2023-06-01"}};
  const auto page = [this](const std::string& query) {
    auto exchange = std::make_shared<FakeExchange>(io_, "GET", "/v1/models", "");
    api();
    exchange->request_.headers = headers_;
    exchange->request_.query = query;
    const auto match = router_.match("GET", "/v1/models");
    runs_.push_back(std::make_unique<HandlerRun>(io_, (*match.handler)(*exchange), [] {}));
    finish();
    return json::parse(exchange->response_.body);
  };
  const auto first = page("limit=1");
  EXPECT_EQ(first.at("last_id"), "org/tiny");
  EXPECT_EQ(first.at("has_more"), true);
  const auto second = page("limit=1&after_id=org%2Ftiny");
  EXPECT_EQ(second.at("first_id"), "tiny");
  EXPECT_EQ(second.at("has_more"), false);
  EXPECT_EQ(page("before_id=tiny").at("last_id"), "org/tiny");
  EXPECT_EQ(page("after_id=tiny").at("first_id"), nullptr);
  EXPECT_THAT(text_of(page("limit=0").at("error").at("message")), HasSubstr("'limit'"));
  EXPECT_THAT(text_of(page("after_id=x").at("error").at("message")), HasSubstr("'after_id'"));
}

}  // namespace
}  // namespace mlxd::api
