// Anthropic's paths on the whole server: what http refuses there, and what the engine says.
#include <map>
#include <random>
#include <string>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "api/whole_server.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class AnthropicServer : public WholeServer {
 protected:
  http::Answer messages(const std::string& members, const std::string& path = "/v1/messages") {
    return post(path, R"("messages":[{"role":"user","content":"x"}],)" + members);
  }
};

TEST_F(AnthropicServer, AnswersWithTheBetaQueryAndCutsTheLimitToWhatFits) {
  start();
  const auto answer = messages(R"("max_tokens":32000,"temperature":0)", "/v1/messages?beta=true");
  EXPECT_EQ(answer.status, 200) << answer.body;
  const auto message = json::parse(answer.body);
  const auto& usage = message.at("usage").as_object();
  const auto read = usage.at("input_tokens").as_int64() + usage.at("output_tokens").as_int64();
  EXPECT_LE(read, 512) << "the context";
  const auto count = messages(R"("max_tokens":1)", "/v1/messages/count_tokens?beta=true");
  EXPECT_EQ(json::parse(count.body).at("input_tokens"), usage.at("input_tokens"));
}

TEST_F(AnthropicServer, AStreamBeginsWithThePromptsCount) {
  start();
  const auto count = messages(R"("max_tokens":1)", "/v1/messages/count_tokens");
  const auto stream = messages(R"("max_tokens":5,"stream":true)");
  EXPECT_EQ(stream.header("content-type"), "text/event-stream");
  EXPECT_THAT(stream.body, StartsWith("event: message_start\ndata: "));
  const auto first = stream.body.substr(27, stream.body.find("\n\n") - 27);
  EXPECT_EQ(json::parse(first).at("message").at("usage").at("input_tokens"),
            json::parse(count.body).at("input_tokens"));
  EXPECT_THAT(stream.body, HasSubstr("event: message_stop\n"));
}

TEST_F(AnthropicServer, APromptThatIsTooLongIsToldInTheWordsThatClientsKnow) {
  start();
  const auto answer =
      post("/v1/messages", R"("max_tokens":9,"messages":[{"role":"user","content":")" +
                               std::string(600, 'x') + "\"}]");
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.body, HasSubstr("prompt is too long"));
  EXPECT_THAT(answer.body, HasSubstr("invalid_request_error"));
}

TEST_F(AnthropicServer, IsRefusedInItsOwnShapeByHttpToo) {
  http_.body_limit = 1000;
  keys_ = {"secret"};
  start();
  const std::string key = "X-Api-Key: secret\r\n";
  const auto refused = [&](const std::string& head, const std::string& path) {
    return ask("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nx-request-id: r7\r\n" + head +
               "\r\n{}");
  };
  for (const std::string path : {"/v1/messages", "/v1/messages/count_tokens"}) {
    const auto unknown = refused("Content-Type: application/json\r\nContent-Length: 2\r\n", path);
    EXPECT_EQ(unknown.status, 401);
    const auto error = json::parse(unknown.body);
    EXPECT_EQ(error.at("error").at("type"), "authentication_error");
    EXPECT_EQ(error.at("request_id"), "r7");
    const auto large =
        refused(key + "Content-Type: application/json\r\nContent-Length: 2000\r\n", path);
    EXPECT_EQ(large.status, 413);
    EXPECT_THAT(large.body, HasSubstr("request_too_large"));
    EXPECT_THAT(refused(key + "Content-Type: text/plain\r\nContent-Length: 2\r\n", path).body,
                HasSubstr("invalid_request_error"));
  }
}

// Bodies of parts that mean something, put together without sense, and cut into now and then.
class MessagesMaker {
 public:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

  std::string body() {
    std::string text = R"({"model":"org/bytes","max_tokens":)" + std::to_string(below(9));
    text += R"(,"messages":)" + messages();
    for (unsigned more = below(3); more > 0; --more) text += "," + member();
    text += "}";
    const unsigned at = below(static_cast<unsigned>(text.size()));
    if (below(6) == 0) text[at] = static_cast<char>(below(256));
    if (below(12) == 0) text.erase(at, 1 + below(8));
    return text;
  }

 private:
  template <std::size_t N>
  std::string one_of(const char* const (&choices)[N]) {
    return choices[below(N)];
  }
  std::string block() {
    static const char* const blocks[] = {
        R"({"type":"text","text":"a"})",
        R"({"type":"text","text":""})",
        R"({"type":"text","text":"\u0000","cache_control":{"type":"ephemeral"}})",
        R"({"type":"thinking","thinking":"t","signature":"s"})",
        R"({"type":"redacted_thinking","data":"d"})",
        R"({"type":"tool_use","id":"i","name":"f","input":{"a":[{}]}})",
        R"({"type":"tool_result","tool_use_id":"i","content":"r","is_error":true})",
        R"({"type":"tool_result","tool_use_id":"i","content":[{"type":"text","text":"r"}]})",
        R"({"type":"tool_result","tool_use_id":"i"})",
        R"({"type":"image","source":{}})",
        R"({"type":7})",
        R"({"type":"text","text":null,"x":[]})",
        "null",
        "\"a\"",
        "[]"};
    return one_of(blocks);
  }
  std::string content() {
    std::string text = "[";
    for (unsigned more = below(4); more > 0; --more) text += block() + (more > 1 ? "," : "");
    return below(5) == 0 ? "\"x\"" : text + "]";
  }
  std::string messages() {
    static const char* const roles[] = {"user", "user", "assistant", "assistant", "system", "tool"};
    if (below(2) == 0) return R"([{"role":"user","content":"x"}])";
    std::string text = "[";
    for (unsigned more = 1 + below(3); more > 0; --more) {
      text += R"({"role":")" + one_of(roles) + R"(","content":)" + content() + "}";
      if (more > 1) text += ",";
    }
    return text + "]";
  }
  std::string member() {
    static const char* const names[] = {
        "system",      "stop_sequences", "stream",        "temperature", "top_p",
        "top_k",       "tools",          "tool_choice",   "thinking",    "output_config",
        "mcp_servers", "cache_control",  "output_format", "metadata",    "seed"};
    static const char* const values[] = {"null",
                                         "true",
                                         "0",
                                         "1",
                                         "1e309",
                                         "-1",
                                         "\"a\"",
                                         "[]",
                                         "{}",
                                         R"(["a","b"])",
                                         R"([{"type":"text","text":"s"}])",
                                         R"([{"name":"f","input_schema":{"type":"object"}}])",
                                         R"([{"type":"web_search_20250305","name":"w"}])",
                                         R"({"type":"auto","disable_parallel_tool_use":true})",
                                         R"({"type":"any"})",
                                         R"({"type":"tool","name":"f"})",
                                         R"({"type":"adaptive","display":"omitted"})",
                                         R"({"effort":"high"})",
                                         R"({"format":{"type":"json_schema","schema":{}}})"};
    return "\"" + one_of(names) + "\":" + one_of(values);
  }

  std::mt19937 random_{7};
};

TEST_F(AnthropicServer, AnyBodyIsAnsweredOrRefused) {
  spdlog::set_level(spdlog::level::warn);  // a line a request is many
  start({.max_running_sequences = 8});
  MessagesMaker maker;
  std::map<int, unsigned> seen;
  for (int i = 0; i < 1500; ++i) {
    const std::string body = maker.body();
    const bool counts = maker.below(4) == 0;
    const auto answer =
        ask(http::post(counts ? "/v1/messages/count_tokens" : "/v1/messages", body));
    ++seen[answer.status];
    if (answer.status == 200) continue;
    ASSERT_TRUE(answer.status == 400 || answer.status == 404) << answer.status << " " << body;
    const auto error = json::parse(answer.body);
    EXPECT_EQ(error.at("type"), "error") << body;
    EXPECT_FALSE(error.at("error").at("message").as_string().empty()) << body;
  }
  EXPECT_GT(seen[200], 100U);
  EXPECT_GT(seen[400], 100U);
  EXPECT_TRUE(becomes_idle());
  spdlog::set_level(spdlog::level::info);
}

TEST_F(AnthropicServer, HeadOfTheRootIsAnswered) {
  start();
  http::RawClient client(server_->port());
  ASSERT_TRUE(client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  EXPECT_EQ(client.read_answer(true).status, 200);
}

}  // namespace
}  // namespace mlxd::api
