// Seeded requests of the API, put together from valid and hostile values, through the whole server;
// and clients that leave at any moment. MLXD_FUZZ_RUNS and MLXD_FUZZ_SEED change number and start.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "api/whole_server.h"

namespace mlxd::api {
namespace {

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

class BodyMaker {
 public:
  explicit BodyMaker(unsigned seed) : random_(seed) {}

  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

  std::string body(bool chat) {
    std::string text = R"({"model":"org/bytes",)";
    text += chat ? R"("messages":[{"role":"user","content":"hi"}])" : R"("prompt":"hi")";
    text += ",\"max_tokens\":" + std::to_string(below(12));
    for (unsigned more = below(4); more > 0; --more) text += "," + member();
    text += "}";
    if (below(4) == 0) damage(text);
    return text;
  }

  // Of Ollama's paths and of the questions about texts.
  std::string other_body(std::string_view path) {
    static const char* const first[] = {R"("messages":[{"role":"user","content":"hi"}])",
                                        R"("prompt":"hi")",
                                        R"("content":"hi")",
                                        R"("tokens":[104,105])",
                                        R"("input":["hi","ho"])",
                                        R"("query":"hi","documents":["ho","hi"])",
                                        R"("text_1":"hi","text_2":["ho"])"};
    static const char* const names[] = {"messages",     "prompt",
                                        "content",      "tokens",
                                        "model",        "stream",
                                        "format",       "think",
                                        "tools",        "keep_alive",
                                        "raw",          "system",
                                        "suffix",       "context",
                                        "images",       "add_special",
                                        "with_pieces",  "logprobs",
                                        "template",     "shift",
                                        "name",         "unknown",
                                        "top_logprobs", "add_special_tokens",
                                        "input",        "query",
                                        "documents",    "text_1",
                                        "text_2",       "dimensions",
                                        "top_n",        "encoding_format",
                                        "truncate",     "truncate_prompt_tokens"};
    static const char* const options[] = {"temperature",    "top_k",  "top_p",   "min_p",
                                          "seed",           "stop",   "num_ctx", "repeat_last_n",
                                          "repeat_penalty", "unknown"};
    std::string text = R"({"model":"org/bytes")";
    if (path != "/api/show" && path != "/tokenizer_info") text += std::string(",") + one_of(first);
    if (path == "/api/chat" || path == "/api/generate") {
      text += R"(,"options":{"num_predict":)" + std::to_string(below(12));
      for (unsigned more = below(3); more > 0; --more) {
        text += ",\"" + one_of(options) + "\":" + value();
      }
      text += "}";
    }
    for (unsigned more = below(3); more > 0; --more) {
      text += ",\"" + one_of(names) + "\":" + value();
    }
    text += "}";
    if (below(4) == 0) damage(text);
    return text;
  }

 private:
  template <std::size_t N>
  std::string one_of(const char* const (&choices)[N]) {
    return choices[below(N)];
  }

  std::string member() {
    static const char* const names[] = {"messages",
                                        "prompt",
                                        "model",
                                        "max_tokens",
                                        "max_completion_tokens",
                                        "min_tokens",
                                        "temperature",
                                        "top_p",
                                        "top_k",
                                        "min_p",
                                        "n",
                                        "best_of",
                                        "stop",
                                        "seed",
                                        "logprobs",
                                        "top_logprobs",
                                        "echo",
                                        "suffix",
                                        "stream",
                                        "stream_options",
                                        "presence_penalty",
                                        "frequency_penalty",
                                        "repetition_penalty",
                                        "logit_bias",
                                        "ignore_eos",
                                        "priority",
                                        "response_format",
                                        "tools",
                                        "tool_choice",
                                        "functions",
                                        "function_call",
                                        "parallel_tool_calls",
                                        "documents",
                                        "chat_template_kwargs",
                                        "reasoning_effort",
                                        "continue_final_message",
                                        "user",
                                        "unknown"};
    return "\"" + one_of(names) + "\":" + value();
  }

  std::string value() {
    static const char* const values[] = {
        "null",
        "true",
        "false",
        "0",
        "1",
        "2",
        "-1",
        "0.5",
        "-0.0",
        "1e308",
        "1e309",
        "-1e-320",
        "2147483648",
        "9223372036854775807",
        "18446744073709551616",
        "\"\"",
        "\"a\"",
        R"("\u0000")",
        R"("\ud800")",
        R"("\ud83e\udd8a")",
        "[]",
        "\"auto\"",
        "\"low\"",
        R"([{"type":"function","function":{"name":"f","parameters":{"properties":{"a":{}}}}}])",
        R"([{"name":"f"}])",
        R"({"type":"function","function":{"name":"f"}})",
        "[1,2,3]",
        "[-1]",
        "[4294967296]",
        R"(["a",""])",
        R"(["a","b","c","d","e"])",
        "{}",
        R"({"65":100})",
        R"({"-1":1,"x":2})",
        R"({"include_usage":true})",
        R"({"type":"json_object"})",
        R"([{"role":"user","content":"x"}])",
        R"([{"role":"wizard","content":[{"type":"text","text":"x"}]}])",
        R"([{"role":"user"}])"};
    if (below(60) == 0) return std::string(200, '[') + std::string(200, ']');
    if (below(60) == 0) return "\"" + std::string(3000, 'x') + "\"";
    return one_of(values);
  }

  void damage(std::string& text) {
    const unsigned at = below(static_cast<unsigned>(text.size()));
    switch (below(4)) {
      case 0:
        text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.erase(at, 1 + below(8));
        break;
      case 2:
        text.insert(at, text.substr(below(static_cast<unsigned>(text.size())), 30));
        break;
      default:
        text.resize(at);
    }
  }

  std::mt19937 random_;
};

class ServerFuzz : public WholeServer {
 protected:
  void SetUp() override { spdlog::set_level(spdlog::level::warn); }  // a line a request is many
  void TearDown() override { spdlog::set_level(spdlog::level::info); }
};

TEST_F(ServerFuzz, AnyBodyIsAnsweredOrRefused) {
  start({.max_running_sequences = 8});
  const unsigned runs = from_environment("MLXD_FUZZ_RUNS", 3000);
  const unsigned seed = from_environment("MLXD_FUZZ_SEED", 1);
  const std::set<int> allowed = {200, 400, 404, 413, 429, 503};
  BodyMaker maker(seed);
  std::map<int, unsigned> seen;
  auto client = std::make_unique<http::RawClient>(server_->port());
  for (unsigned run = 0; run < runs; ++run) {
    const bool chat = maker.below(2) == 0;
    const std::string body = maker.body(chat);
    const char* const path = chat ? "/v1/chat/completions" : "/v1/completions";
    if (!client->send(http::post(path, body))) client.reset();
    http::Answer answer;
    if (client) answer = client->read_answer(false, 20);
    if (!answer.complete) {  // the connection had ended
      client = std::make_unique<http::RawClient>(server_->port());
      ASSERT_TRUE(client->send(http::post(path, body)));
      answer = client->read_answer(false, 20);
    }
    ASSERT_TRUE(answer.complete) << "seed " << seed << " run " << run << "\n" << body;
    ASSERT_TRUE(allowed.contains(answer.status))
        << answer.status << " seed " << seed << " run " << run << "\n"
        << body << "\n"
        << answer.body;
    ++seen[answer.status];
  }
  EXPECT_GT(seen[200], runs / 20);
  EXPECT_GT(seen[400], runs / 20);
  EXPECT_TRUE(becomes_idle());
  EXPECT_EQ(model_->engine->stats().kv_blocks_used, 0);
  EXPECT_EQ(ask(http::get("/health")).status, 200);
  for (const auto& [status, count] : seen)
    RecordProperty("status_" + std::to_string(status), static_cast<int>(count));
}

TEST_F(ServerFuzz, AnyBodyOfOtherPathsIsAnsweredOrRefused) {
  start({.max_running_sequences = 8});
  const unsigned runs = from_environment("MLXD_FUZZ_RUNS", 3000);
  const unsigned seed = from_environment("MLXD_FUZZ_SEED", 1);
  static const char* const paths[] = {
      "/api/chat",      "/api/generate",   "/api/show",       "/tokenize",
      "/detokenize",    "/apply-template", "/tokenizer_info", "/v1/chat/completions/input_tokens",
      "/v1/embeddings", "/v1/rerank",      "/v1/score",       "/api/embed",
      "/api/embeddings"};
  const std::set<int> allowed = {200, 400, 404, 413, 503};
  BodyMaker maker(seed);
  std::map<std::string, std::map<int, unsigned>> seen;
  for (unsigned run = 0; run < runs; ++run) {
    const char* const path = paths[maker.below(std::size(paths))];
    const std::string body = maker.other_body(path);
    const auto answer = ask(http::post(path, body));
    ASSERT_TRUE(allowed.contains(answer.status)) << answer.status << " " << path << " " << body;
    ++seen[path][answer.status];
  }
  EXPECT_TRUE(becomes_idle());
  if (runs < 1000) return;
  for (const char* const path : paths) {
    EXPECT_GT(seen[path][200], 0u) << path;
    EXPECT_GT(seen[path][400], 0u) << path;
  }
}

#ifdef __linux__
std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

TEST_F(ServerFuzz, ClientsThatLeaveAtAnyMomentLeaveNothingBehind) {
  start({.max_running_sequences = 32}, 0.0002);
  const unsigned runs = from_environment("MLXD_FUZZ_RUNS", 600);
  const auto before = open_descriptors();
  std::atomic<unsigned> left{0};
  const auto leave = [&](unsigned seed) {
    std::mt19937 random(seed);
    while (left++ < runs) {
      const std::string request =
          http::post("/v1/completions", R"({"model":"org/bytes","prompt":"once upon a time",
              "max_tokens":200,"ignore_eos":true,"stream":)" +
                                            std::string(random() % 2 == 0 ? "true}" : "false}"));
      http::RawClient client(server_->port());
      const bool whole = random() % 4 != 0;
      client.send(whole ? request : request.substr(0, random() % request.size()));
      client.receive(static_cast<double>(random() % 8) / 1000);
      random() % 2 == 0 ? client.reset() : client.close();
    }
  };
  std::vector<std::thread> clients;
  for (unsigned seed = 0; seed < 8; ++seed) clients.emplace_back(leave, seed);
  for (auto& client : clients) client.join();
  // Connections are accepted in their order, so that with this answer all have been; and once their
  // sockets are closed, none of them hands over a request any more.
  EXPECT_EQ(ask(http::get("/health")).status, 200);
  const TimePoint limit = Clock::now() + std::chrono::seconds(20);
  while (open_descriptors() != before && Clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_TRUE(becomes_idle());
  EXPECT_EQ(model_->engine->stats().kv_blocks_used, 0);
}
#endif

}  // namespace
}  // namespace mlxd::api
