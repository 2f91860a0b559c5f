// Another wire format is one file: this one. Admission, streaming, errors, the log and the metrics
// are the same for all.
#include <string>
#include <utility>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/generation/model_directory.h"
#include "api/stream_fold.h"
#include "api/whole_server.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SayWriter final : public AnswerWriter {
 public:
  std::string whole(const std::vector<ChoiceText>& choices, const Usage& usage) override {
    std::string text;
    for (const TextDelta& part : choices.at(0)) text += part.text;
    return json::serialize(json::value{{"said", text}, {"cost", usage.completion_tokens}});
  }
  void begin(int, std::string& frames) override { frames += "event: begin\n\n"; }
  void add(const TextDelta& delta, std::string& frames) override {
    if (!delta.text.empty())
      frames += "data: " + json::serialize(json::string(delta.text)) + "\n\n";
  }
  void end(const Usage&, std::string& frames) override { frames += "event: end\n\n"; }
  void fail(const Error& error, std::string& frames) override {
    frames += "event: oops " + error.code + "\n\n";
  }
  void keep_alive(std::string& frames) override { frames += "event: wait\n\n"; }
};

// {"say": text} with an optional "stream": true.
class SayDialect final : public Dialect {
 public:
  std::string_view path() const override { return "/say"; }
  std::string_view name() const override { return "say"; }
  Result<ParsedRequest> parse(std::string_view body, const ModelDirectory& models) const override {
    boost::system::error_code failed;
    const json::value value = json::parse({body.data(), body.size()}, failed);
    if (failed) return Error{.code = "no_json", .param = {}, .message = "Say it in JSON."};
    ParsedRequest request;
    request.model = models.ready().at(0);
    request.prompts.emplace_back(TextPrompt{text_of(value.at("say"))});
    request.job.max_tokens = 20;
    request.job.ignore_eos = true;
    request.stream = value.as_object().contains("stream");
    request.headers.emplace_back("x-dialect", "say");
    request.writer = std::make_unique<SayWriter>();
    return request;
  }
  std::string error_body(const Error& error) const override {
    return json::serialize(json::value{{"oops", error.code}});
  }
};

class SecondDialect : public WholeServer {
 protected:
  SecondDialect() { dialect_ = std::make_unique<SayDialect>(); }
  http::Answer say(const std::string& body) { return ask(http::post("/say", body)); }
};

TEST_F(SecondDialect, AnswersWholeAndStreamed) {
  start();
  const auto whole = say(R"({"say":"hello"})");
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.header("x-dialect"), "say");
  const auto body = json::parse(whole.body);
  EXPECT_EQ(body.at("cost"), 20);
  EXPECT_FALSE(body.at("said").as_string().empty());

  const auto stream = say(R"({"say":"hello","stream":true})");
  EXPECT_EQ(stream.status, 200);
  EXPECT_THAT(stream.body, StartsWith("event: begin\n\ndata: \""));
  EXPECT_THAT(stream.body, EndsWith("\"\n\nevent: end\n\n"));
  const auto metrics = ask(http::get("/metrics")).body;
  EXPECT_THAT(metrics, HasSubstr(R"(mlxd_requests_total{endpoint="say",outcome="completed"} 2)"));
}

TEST_F(SecondDialect, IsAnsweredInItsOwnShapeByEveryRoomThatRefuses) {
  EngineOptions full;
  full.max_queued_requests = 0;
  http_.body_limit = 1000;
  start(full);
  const auto oops = [](const std::string& code) { return R"({"oops":")" + code + R"("})"; };
  EXPECT_EQ(say("{").body, oops("no_json"));
  EXPECT_EQ(say(R"({"say":"hello"})").body, oops("queue_full"));
  EXPECT_EQ(say(std::string(2000, ' ')).body, oops("body_too_large"));
  EXPECT_EQ(ask(http::get("/say")).body, oops("method_not_allowed"));
  EXPECT_EQ(ask("POST /say HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                "Content-Length: 1\r\n\r\nx")
                .body,
            oops("unsupported_media_type"));
  // OpenAI's paths, and those of nobody, keep OpenAI's.
  EXPECT_THAT(ask(http::get("/v1/completions")).body, HasSubstr(R"("code":"method_not_allowed")"));
  EXPECT_THAT(ask(http::get("/nothing")).body, HasSubstr(R"("code":"unknown_url")"));
}

TEST_F(SecondDialect, SaysInItsOwnWordsThatItWaitsAndThatItFailed) {
  options_.keep_alive_seconds = 0.02;
  start({}, 0.2);
  http::RawClient client(server_->port());
  ASSERT_TRUE(client.send(http::post("/say", R"({"say":"hello","stream":true})")));
  ASSERT_TRUE(client.receive_until("event: wait"));
  Error error;
  error.status = 503;
  error.code = "server_stopping";
  error.message = "The server is stopping.";
  model_->engine->abort_all(error);
  EXPECT_THAT(client.read_answer().body, EndsWith("event: oops server_stopping\n\n"));
}

}  // namespace
}  // namespace mlxd::api
