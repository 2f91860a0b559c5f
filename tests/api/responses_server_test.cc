// /v1/responses over sockets, with the engine behind it: whole and streamed answers, conversations
// that go on from the store, and who may see them.
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace mlxd::api
