// Ollama's API and the questions about texts over sockets, on a model whose tokens are bytes.
#include <string>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/stream_fold.h"
#include "api/whole_server.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class OllamaServer : public WholeServer {
 protected:
  http::Answer chat(const std::string& more) {
    return post("/api/chat", R"("messages":[{"role":"user","content":"hello"}],)"
                             R"("options":{"seed":7,"num_predict":20})" +
                                 more);
  }
  // The only member of an error's body.
  std::string error_of(const http::Answer& answer) {
    const auto body = json::parse(answer.body);
    EXPECT_EQ(body.as_object().size(), 1u) << answer.body;
    return text_of(body.at("error"));
  }
};

TEST_F(OllamaServer, StreamsLinesThatAddUpToTheWholeAnswer) {
  start();
  const auto whole = chat(R"(,"stream":false)");
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.header("content-type"), "application/json");
  const auto body = json::parse(whole.body);
  const auto stream = chat("");
  EXPECT_EQ(stream.header("content-type"), "application/x-ndjson");
  EXPECT_EQ(stream.header("x-seed"), "7");
  std::string text;
  json::value last;
  for (std::size_t begin = 0; begin < stream.body.size();) {
    const auto end = stream.body.find('\n', begin);
    ASSERT_NE(end, std::string::npos);
    last = json::parse(stream.body.substr(begin, end - begin));
    text += text_of(last.at("message").at("content"));
    begin = end + 1;
  }
  EXPECT_EQ(text, text_of(body.at("message").at("content")));
  EXPECT_EQ(last.at("done"), true);
  for (const char* same : {"done_reason", "eval_count", "prompt_eval_count"}) {
    EXPECT_EQ(last.at(same), body.at(same)) << same;
  }
  EXPECT_THAT(ask(http::get("/metrics")).body,
              HasSubstr(R"(endpoint="ollama_chat",outcome="completed"} 2)"));
  EXPECT_TRUE(becomes_idle());
}

TEST_F(OllamaServer, MoreTokensThanFitAreWhatFits) {
  start();
  const auto answer =
      json::parse(post("/api/generate", R"("prompt":"hello","raw":true,"stream":false,)"
                                        R"("options":{"num_predict":100000,"num_ctx":100000})")
                      .body);
  EXPECT_EQ(answer.at("prompt_eval_count"), 6);  // with the one that begins a text
  EXPECT_LE(answer.at("eval_count").as_int64(), 512 - 6);
  EXPECT_GT(answer.at("eval_count").as_int64(), 0);
}

TEST_F(OllamaServer, ItsErrorsHaveItsShapeWhoeverRefuses) {
  EngineOptions full;
  full.max_queued_requests = 0;
  http_.body_limit = 1000;
  start(full);
  const auto overloaded = chat("");
  EXPECT_EQ(overloaded.status, 503);
  EXPECT_FALSE(error_of(overloaded).empty());
  EXPECT_FALSE(overloaded.header("Retry-After").empty());
  const auto status_of = [&](const std::string& request) {
    const auto answer = ask(request);
    EXPECT_FALSE(error_of(answer).empty());
    return answer.status;
  };
  EXPECT_EQ(status_of(http::post("/api/chat", "{")), 400);
  EXPECT_EQ(status_of(http::post("/api/chat", std::string(2000, ' '))), 413);
  EXPECT_EQ(status_of(http::get("/api/generate")), 405);
  EXPECT_EQ(status_of(http::post("/api/tags", "{}")), 405);
  EXPECT_EQ(status_of(http::post("/api/show", R"({"model":"nobody"})")), 404);
  EXPECT_EQ(status_of(http::post("/api/pull", "{}")), 404);
}

TEST_F(OllamaServer, NeedsAKeyWhereThereAreKeys) {
  keys_ = {"secret"};
  start();
  for (const char* path : {"/api/tags", "/api/ps", "/api/version"}) {
    const auto answer = ask(http::get(path));
    EXPECT_EQ(answer.status, 401);
    EXPECT_FALSE(error_of(answer).empty());
  }
}

class TextServer : public WholeServer {
 protected:
  json::value answer(const std::string& path, const std::string& members) {
    const auto answer = post(path, members);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body);
  }
};

TEST_F(TextServer, TextsAndTokensAreTheModelsOwn) {
  start();
  EXPECT_EQ(answer("/tokenize", R"("content":"Aé")"), json::parse(R"({"tokens":[65,195,169]})"));
  EXPECT_EQ(answer("/tokenize", R"("content":"Aé","with_pieces":true)"),
            json::parse(R"({"tokens":[{"id":65,"piece":"A"},{"id":195,"piece":[195]},
                                      {"id":169,"piece":[169]}]})"));
  EXPECT_EQ(answer("/tokenize", R"("prompt":"A")"),
            json::parse(R"({"count":2,"max_model_len":512,"tokens":[257,65],"token_strs":null})"));
  EXPECT_EQ(answer("/detokenize", R"("tokens":[257,65,195,169,195])").at("prompt"),
            "<bos>Aé\xef\xbf\xbd");
}

TEST_F(TextServer, AChatIsRenderedAndCountedAsItsAnswerIs) {
  start();
  const std::string chat = R"("messages":[{"role":"user","content":"hello"}])";
  const auto prompt = answer("/apply-template", chat).at("prompt");
  EXPECT_THAT(text_of(prompt), StartsWith(R"([{"role":"user","content":"hello"}])"));
  const auto counted = answer("/v1/chat/completions/input_tokens", chat).at("input_tokens");
  EXPECT_EQ(counted, text_of(prompt).size());
  EXPECT_EQ(answer("/tokenize", chat).at("count"), counted);
  EXPECT_EQ(
      answer("/v1/chat/completions", chat + R"(,"max_tokens":1)").at("usage").at("prompt_tokens"),
      counted);
}

TEST_F(TextServer, QuestionsAreAnsweredWhileTheServerDrains) {
  start();
  api_->drain();
  EXPECT_EQ(post("/tokenize", R"("content":"A")").status, 200);
  EXPECT_EQ(post("/v1/completions", R"("prompt":"A")").status, 503);
}

}  // namespace
}  // namespace mlxd::api
