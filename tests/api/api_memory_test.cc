// Memory that runs out on the text thread, which reads requests, and on the I/O thread, which
// answers them, at each place where they allocate.
#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include "api/whole_server.h"
#include "base/scarce_memory.h"

namespace mlxd::api {
namespace {

using mlxd::testing::allocations_that_failed;
using mlxd::testing::make_memory_plentiful;
using mlxd::testing::make_memory_scarce;

// As PlainTemplate, and a conversation that holds "scarce" makes memory scarce for its thread.
class ScarceTemplate final : public PlainTemplate {
 public:
  Result<RenderedChat> render(std::string_view document, bool with_tools) const override {
    if (document.find("scarce") != document.npos) make_memory_scarce(works, fails);
    if (document.find("plentiful") != document.npos) make_memory_plentiful();
    return PlainTemplate::render(document, with_tools);
  }
  std::atomic<long> works = 0, fails = 0;
};

class ScarceMemory : public WholeServer {
 protected:
  void SetUp() override {
    usual_log_ = spdlog::default_logger();
    spdlog::set_default_logger(spdlog::null_logger_mt("scarce memory"));
    options_.text_threads = 1;
    more_routes_ = [this](http::Router& router) {
      // From its answer on, on the I/O thread.
      router.add("GET", "/scarce", [this](http::Exchange& exchange) -> Task<> {
        co_await http::respond_empty(exchange);
        make_memory_scarce(works_, fails_);
      });
    };
    EngineOptions engine;
    engine.prefix_cache = false;  // what was found there is told, too
    start(engine);
    auto scarce = std::make_unique<ScarceTemplate>();
    template_ = scarce.get();
    model_->chat_template = std::move(scarce);
  }
  void TearDown() override {
    server_.reset();
    api_.reset();
    spdlog::set_default_logger(usual_log_);
    spdlog::drop("scarce memory");
  }

  static std::string chat(const std::string& text, const std::string& more = "") {
    return http::post("/v1/chat/completions",
                      R"({"model":"org/bytes","seed":1,"max_tokens":4,"messages":[)"
                      R"({"role":"user","content":")" +
                          text + "\"}]" + more + "}");
  }
  static std::string complete(const std::string& prompt, const std::string& more = "") {
    return http::post(
        "/v1/completions",
        R"({"model":"org/bytes","seed":1,"max_tokens":4,"prompt":)" + prompt + more + "}");
  }

  // What became of one request, without what is of its own.
  std::string say(const std::string& bytes) {
    http::RawClient client(server_->port());
    client.send(bytes);
    const http::Answer answer = client.read_answer(false, 20);
    static const std::regex own(R"re("(id|created)":("[^"]*"|\d+))re");
    const bool stream = answer.body.starts_with("data: ");
    return std::to_string(answer.status) + (answer.complete ? " " : " cut ") +
           (stream ? text_of(answer.body) : std::regex_replace(answer.body, own, ""));
  }
  // Of a stream, however it was cut into pieces.
  static std::string text_of(const std::string& frames) {
    static const std::regex piece(R"re("(?:content|text)":"((?:[^"\\]|\\.)*)")re");
    std::string text = frames.find("internal_error") == frames.npos ? "" : "internal_error ";
    for (std::sregex_iterator at(frames.begin(), frames.end(), piece), end; at != end; ++at) {
      text += (*at)[1];
    }
    return text + (frames.ends_with("data: [DONE]\n\n") ? " done" : "");
  }
  std::vector<std::string> requests() const {
    return {chat("hello"),
            chat("a stream", R"(,"stream":true,"stream_options":{"include_usage":true})"),
            chat("samples", R"(,"n":2,"logprobs":true,"top_logprobs":2)"),
            chat("a field that is not known", R"(,"nonsense":1)"),
            complete(R"("once upon a time")", R"(,"echo":true,"logprobs":1,"stop":["zz","\n"])"),
            complete(R"("a text")", R"(,"stream":true,"logit_bias":{"7":1})"),
            complete(R"(["two","prompts"])", R"(,"best_of":1)"),
            complete(R"([1,2,3,999])"),
            http::post("/v1/completions", "{\"model\":"),
            http::post("/v1/completions", R"({"model":"none","prompt":""})")};
  }
  std::vector<std::string> session() {
    std::vector<std::string> said;
    for (const std::string& request : requests()) said.push_back(say(request));
    return said;
  }

  // A request that memory was wanted for ends with a server's error, or is cut off.
  int failures_among(const std::vector<std::string>& said) const {
    int failures = 0;
    for (std::size_t i = 0; i < said.size(); ++i) {
      if (said[i] == expected_[i]) continue;
      ++failures;
      const bool told = said[i].starts_with("500 ") || said[i].find(" cut ") != said[i].npos ||
                        said[i].find("internal_error") != said[i].npos;
      EXPECT_TRUE(told) << i << ": " << said[i].substr(0, 500) << "\nfor " << expected_[i];
    }
    return failures;
  }
  void expect_nothing_left() {
    EXPECT_TRUE(becomes_idle());
    const EngineStats stats = model_->engine->stats();
    EXPECT_EQ(stats.queued_requests, 0);
    EXPECT_EQ(stats.queued_tokens, 0);
    EXPECT_TRUE(http::eventually([&] {
      const auto held = server_->stats();
      return held.connections == 0 && held.body_bytes == 0 && held.buffer_bytes == 0;
    }));
    EXPECT_EQ(session(), expected_);
  }

  // Each allocation of a thread fails in turn; `make_scarce` makes memory scarce for it.
  void fail_each_in_turn(const std::function<void(long works, long fails)>& make_scarce) {
    expected_ = session();
    expect_nothing_left();
    ASSERT_TRUE(expected_[0].starts_with("200 "));
    allocations_that_failed();
    int places = 0;
    int costly = 0;
    for (;; ++places) {
      SCOPED_TRACE(places);
      make_scarce(places, 1);
      const int failures = failures_among(session());
      const bool failed = allocations_that_failed() > 0;
      make_scarce(0, 0);
      expect_nothing_left();
      ASSERT_LE(failures, 1);
      if (HasFailure()) return;
      if (!failed) break;
      costly += failures;
    }
    EXPECT_GT(places, 50);
    EXPECT_GT(costly, 20);
    RecordProperty("places", places);
  }

  long works_ = 0, fails_ = 0;
  ScarceTemplate* template_ = nullptr;
  std::vector<std::string> expected_;
  std::shared_ptr<spdlog::logger> usual_log_;
};

TEST_F(ScarceMemory, AnAllocationOfTheTextThreadThatFailsCostsOneRequestAtMost) {
  fail_each_in_turn([this](long works, long fails) {
    template_->works = works;
    template_->fails = fails;
    say(chat(fails > 0 ? "scarce" : "plentiful"));
  });
}

TEST_F(ScarceMemory, AnAllocationOfTheIoThreadThatFailsCostsOneRequestAtMost) {
  fail_each_in_turn([this](long works, long fails) {
    works_ = works;
    fails_ = fails;
    say(http::get("/scarce"));
  });
}

TEST_F(ScarceMemory, WhileThereIsNoneRequestsEndAndBothThreadsLiveOn) {
  expected_ = session();
  for (const long fails : {2, 10, 50, 200, 1000}) {
    for (const long works : {0, 5, 20, 80}) {
      SCOPED_TRACE(std::to_string(works) + " then " + std::to_string(fails));
      template_->works = works;
      template_->fails = fails;
      say(chat("scarce"));
      works_ = works;
      fails_ = fails;
      say(http::get("/scarce"));
      failures_among(session());
      // It ends by itself, with the allocations that are tried.
      EXPECT_TRUE(http::eventually([&] { return say(chat("plentiful")).starts_with("200 "); }));
      fails_ = 0;
      say(http::get("/scarce"));
      expect_nothing_left();
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace mlxd::api
