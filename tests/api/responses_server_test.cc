// /v1/responses over sockets, with the engine behind it: whole and streamed answers, conversations
// that go on from the store, and who may see them.
#include <map>
#include <random>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "api/stream_fold.h"
#include "api/whole_server.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr auto kPath = "/v1/responses";

class ResponsesServer : public WholeServer {
 protected:
  static std::string body(const std::string& members) {
    return R"({"model":"org/bytes","max_output_tokens":12,"seed":5,)" + members + "}";
  }
  static std::string key(const std::string& of) {
    return of.empty() ? "" : "Authorization: Bearer " + of + "\r\n";
  }
  http::Answer create(const std::string& members, const std::string& who = {}) {
    return ask(http::post(kPath, body(members), key(who)));
  }
  http::Answer stored(const std::string& method, const std::string& id,
                      const std::string& who = {}) {
    return ask(method + " " + kPath + "/" + id + " HTTP/1.1\r\nHost: localhost\r\n" + key(who) +
               "\r\n");
  }
  static json::value error_of(const http::Answer& answer) {
    return json::parse(answer.body).at("error");
  }
};

json::value without_ids(json::value value) {
  if (value.is_object()) {
    for (const char* name : {"id", "created_at", "completed_at", "usage"}) {
      value.as_object().erase(name);
    }
    for (auto& member : value.as_object()) member.value() = without_ids(member.value());
  } else if (value.is_array()) {
    for (auto& one : value.as_array()) one = without_ids(one);
  }
  return value;
}

TEST_F(ResponsesServer, AStreamLeadsToTheWholeAnswer) {
  start();
  const auto whole = create(R"("input":"hello")");
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.header("x-seed"), "5");
  const auto answer = json::parse(whole.body);
  EXPECT_EQ(answer.at("usage").at("output_tokens"), 12);
  EXPECT_EQ(answer.at("status"), "incomplete");

  const auto stream = create(R"("input":"hello","stream":true)");
  EXPECT_EQ(stream.header("content-type"), "text/event-stream");
  EXPECT_THAT(stream.body, StartsWith("event: response.created\ndata: {\"type\":"));
  const auto last = stream.body.rfind("event: response.incomplete\ndata: ");
  ASSERT_NE(last, std::string::npos);
  const auto data = stream.body.substr(last + 33);
  EXPECT_EQ(without_ids(json::parse(data.substr(0, data.size() - 2)).at("response")),
            without_ids(answer));
  EXPECT_THAT(ask(http::get("/metrics")).body,
              HasSubstr(R"(mlxd_requests_total{endpoint="responses",outcome="completed"} 2)"));
}

TEST_F(ResponsesServer, AConversationGoesOnFromAStoredResponse) {
  start();
  const auto first = json::parse(create(R"("input":"hello")").body);
  const auto id = text_of(first.at("id"));
  const auto next = create(fmt::format(R"("input":"more","previous_response_id":"{}")", id));
  ASSERT_EQ(next.status, 200) << next.body;
  EXPECT_EQ(json::parse(next.body).at("previous_response_id"), first.at("id"));
  // The same as the whole conversation sent at once, but longer than its last turn alone.
  const auto by_hand = create(fmt::format(
      R"("input":[{{"role":"user","content":"hello"}},{},{{"role":"user","content":"more"}}])",
      json::serialize(first.at("output").at(0))));
  ASSERT_EQ(by_hand.status, 200) << by_hand.body;
  EXPECT_EQ(json::parse(next.body).at("usage").at("input_tokens"),
            json::parse(by_hand.body).at("usage").at("input_tokens"));
  EXPECT_EQ(without_ids(json::parse(next.body).at("output")),
            without_ids(json::parse(by_hand.body).at("output")));
}

TEST_F(ResponsesServer, GivesAndForgetsWhatWasStored) {
  start();
  const auto answer = create(R"("input":"hello")");
  const auto id = text_of(json::parse(answer.body).at("id"));
  EXPECT_EQ(stored("GET", id).body, answer.body);
  EXPECT_EQ(stored("GET", id + "?stream=true").status, 400);
  EXPECT_EQ(json::parse(stored("DELETE", id).body),
            (json::value{{"id", id}, {"object", "response"}, {"deleted", true}}));
  EXPECT_EQ(stored("GET", id).status, 404);
  EXPECT_EQ(error_of(stored("DELETE", id)).at("code"), "response_not_found");
  const auto next = create(fmt::format(R"("input":"more","previous_response_id":"{}")", id));
  EXPECT_EQ(next.status, 400);
  EXPECT_EQ(error_of(next).at("code"), "previous_response_not_found");
  EXPECT_EQ(error_of(next).at("param"), "previous_response_id");

  const auto unstored = text_of(json::parse(create(R"("input":"x","store":false)").body).at("id"));
  EXPECT_EQ(stored("GET", unstored).status, 404);
}

TEST_F(ResponsesServer, AStoredResponseIsItsCallersAlone) {
  keys_ = {"first", "second"};
  start();
  const auto id = text_of(json::parse(create(R"("input":"hello")", "first").body).at("id"));
  EXPECT_EQ(stored("GET", id, "first").status, 200);
  EXPECT_EQ(stored("GET", id, "second").status, 404);
  EXPECT_EQ(stored("DELETE", id, "second").status, 404);
  EXPECT_EQ(stored("GET", id).status, 401);
  const auto next = fmt::format(R"("input":"more","previous_response_id":"{}")", id);
  EXPECT_EQ(create(next, "second").status, 400);
  EXPECT_EQ(create(next, "first").status, 200);
}

TEST_F(ResponsesServer, KeepsNothingWhenTheStoreIsOff) {
  options_.response_store_bytes = 0;
  start();
  const auto answer = json::parse(create(R"("input":"hello","store":true)").body);
  EXPECT_EQ(answer.at("store"), false);
  const auto id = text_of(answer.at("id"));
  EXPECT_EQ(stored("GET", id).status, 404);
  EXPECT_EQ(
      error_of(create(fmt::format(R"("input":"x","previous_response_id":"{}")", id))).at("code"),
      "previous_response_not_found");
}

TEST_F(ResponsesServer, RefusalsHaveOpenAisShape) {
  start();
  const auto refused = create(R"("input":"x","background":true)");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(error_of(refused).at("param"), "background");
  EXPECT_EQ(error_of(ask(http::post(kPath, "{"))).at("type"), "invalid_request_error");
  EXPECT_EQ(ask(http::get(kPath)).status, 405);
  const auto ignored = create(R"("input":"x","tools":[{"type":"web_search"}])");
  EXPECT_EQ(ignored.header("x-mlxd-ignored"), "tools[0]:web_search");
}

TEST_F(ResponsesServer, AFailureUnderWayIsAnEvent) {
  start({}, 0.2);
  http::RawClient client(server_->port());
  ASSERT_TRUE(client.send(http::post(kPath, body(R"("input":"x","stream":true)"))));
  ASSERT_TRUE(client.receive_until("event: response.in_progress"));
  Error error;
  error.status = 503;
  error.code = "server_stopping";
  error.message = "The server is stopping.";
  model_->engine->abort_all(error);
  const auto answer = client.read_answer().body;
  EXPECT_THAT(answer, HasSubstr("event: error\n"));
  EXPECT_THAT(answer.substr(answer.rfind("event: ")), StartsWith("event: response.failed\n"));
}

// Somewhere in it, at random, something else.
void mutate(json::value& value, std::mt19937& random) {
  static const std::vector<json::value> kOthers = {nullptr,
                                                   true,
                                                   -1,
                                                   7,
                                                   0.5,
                                                   1e300,
                                                   "",
                                                   "x",
                                                   "resp_1",
                                                   "function",
                                                   json::array(),
                                                   json::array{"a"},
                                                   json::object(),
                                                   json::object{{"type", "function"}}};
  const auto below = [&](std::size_t n) { return random() % n; };
  if (below(4) != 0) {
    if (value.is_object() && !value.get_object().empty()) {
      json::object& in = value.get_object();
      auto member = in.begin() + static_cast<std::ptrdiff_t>(below(in.size()));
      if (below(8) == 0) {
        in.erase(member);
      } else {
        mutate(member->value(), random);
      }
      return;
    }
    if (value.is_array() && !value.get_array().empty()) {
      return mutate(value.get_array()[below(value.get_array().size())], random);
    }
  }
  value = kOthers[below(kOthers.size())];
}

TEST_F(ResponsesServer, AnyBodyIsAnsweredOrRefused) {
  start();
  spdlog::set_level(spdlog::level::warn);
  // Several, as the context is a short one.
  const json::value valid[] = {
      json::parse(R"({"model":"org/bytes","max_output_tokens":3,"input":"x","temperature":0.5,
        "text":{"format":{"type":"text"},"verbosity":"low"},"include":["reasoning.encrypted_content"],
        "reasoning":{"effort":"low","summary":"auto"},"metadata":{"a":"b"},
        "tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}],
        "tool_choice":{"type":"allowed_tools","mode":"auto","tools":[
          {"type":"function","name":"f"}]}})"),
      json::parse(R"({"model":"org/bytes","max_output_tokens":3,"input":"x","tools":[
        {"type":"namespace","name":"n","tools":[{"type":"custom","name":"g",
         "format":{"type":"text"}}]}]})"),
      json::parse(R"({"model":"org/bytes","max_output_tokens":3,"instructions":"i",
        "tools":[{"type":"web_search"}],"input":[
        {"role":"user","content":[{"type":"input_text","text":"q"}]},
        {"type":"reasoning","summary":[{"type":"summary_text","text":"t"}]},
        {"type":"local_shell_call","call_id":"a","action":{"command":["ls"]}},
        {"type":"function_call_output","call_id":"a","output":[
          {"type":"input_text","text":"o"}]}]})")};
  std::mt19937 random(1);
  std::map<int, int> seen;
  for (int run = 0; run < 3000; ++run) {
    json::value body = valid[run % 3];
    for (int times = static_cast<int>(random() % 3); times >= 0; --times) mutate(body, random);
    const std::string text = json::serialize(body);
    const auto answer = ask(http::post(kPath, text));
    ASSERT_TRUE(answer.complete) << text;
    ++seen[answer.status];
    ASSERT_TRUE(answer.status == 200 || answer.status == 400 || answer.status == 404)
        << answer.status << " " << text << " " << answer.body;
  }
  spdlog::set_level(spdlog::level::info);
  EXPECT_GT(seen[200], 100);
  EXPECT_GT(seen[400], 1000);
  EXPECT_TRUE(becomes_idle());
}

}  // namespace
}  // namespace mlxd::api
