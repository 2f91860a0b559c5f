// Memory that runs out on the I/O thread, at each place where it allocates.
#include "base/scarce_memory.h"

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include "base/scarce_threads.h"
#include "http/raw_client.h"

namespace mlxd::http {
namespace {

using mlxd::testing::allocations_that_failed;
using mlxd::testing::make_memory_scarce;

class ScarceMemory : public ServerTest {
 protected:
  ScarceMemory() {
    // "GET /scarce/works/fails": from its answer on, on this thread.
    router_.add("GET", "/scarce/*", [](Exchange& exchange) -> Task<> {
      const std::string numbers = exchange.request().path.substr(8);
      const long works = std::stol(numbers);
      const long fails = std::stol(numbers.substr(numbers.find('/') + 1));
      co_await respond_empty(exchange);
      make_memory_scarce(works, fails);
    });
    router_.add("GET", "/stream", [](Exchange& exchange) -> Task<> {
      co_await exchange.begin_stream(Headers(), kEventStream);
      for (int i = 0; i < 3; ++i) {
        co_await exchange.write("data: " + std::to_string(i) + "\n\n");
        co_await exchange.wakeup()->wait_for(0.001);
      }
      co_await exchange.end_stream();
    });
    // Waits for news of another thread.
    router_.add("GET", "/news", [](Exchange& exchange) -> Task<> {
      std::thread teller([wakeup = exchange.wakeup()] { wakeup->notify(); });
      teller.join();
      const bool told = co_await exchange.wakeup()->wait_for(30);
      Response response;
      response.body = told ? "told" : "not told";
      co_await exchange.respond(std::move(response));
    });
    // Waits until its peer has left.
    router_.add("POST", "/wait", [this](Exchange& exchange) -> Task<> {
      ++waiting_;
      const std::unique_ptr<std::atomic<int>, void (*)(std::atomic<int>*)> leaves(
          &waiting_, [](std::atomic<int>* waiting) { --*waiting; });
      while (!exchange.peer_gone()) co_await exchange.wakeup()->wait_for(30);
    });
    router_.add("GET", "/large", [](Exchange& exchange) -> Task<> {
      Response response;
      response.body.assign(2'000'000, 'x');
      co_await exchange.respond(std::move(response));
    });
    router_.add("GET", "/throws", [](Exchange&) -> Task<> {
      throw std::runtime_error("broken");
      co_return;
    });
  }
  void SetUp() override {
    usual_log_ = spdlog::default_logger();
    spdlog::set_default_logger(spdlog::null_logger_mt("scarce memory"));
  }
  void TearDown() override {
    server_.reset();
    spdlog::set_default_logger(usual_log_);
    spdlog::drop("scarce memory");
  }

  // What became of one connection: the statuses and bodies of its answers.
  std::string say(const std::string& bytes, int answers = 1) {
    RawClient client(server().port());
    client.send(bytes);
    std::string said;
    for (int i = 0; i < answers; ++i) {
      const Answer answer = client.read_answer(bytes.starts_with("HEAD "));
      said += std::to_string(answer.status) + (answer.complete ? " " : " cut ") +
              (answer.status == 200 ? answer.body : "") + "\n";
    }
    return said;
  }
  std::string leave_while_it_is_answered() {
    RawClient client(server().port());
    client.send(post("/wait", "[]"));
    // Either it waits, or it was refused, which is heard as an answer or an end.
    while (waiting_ == 0 && !client.receive(0.002) && !client.has_ended()) {
    }
    const bool waited = waiting_ > 0;
    client.close();
    EXPECT_TRUE(eventually([&] { return waiting_ == 0; })) << "it never learns that its peer left";
    return waited ? "waited" : "0 cut \n";
  }

  // One connection for each thing that the I/O thread does.
  std::vector<std::string> session() {
    std::vector<std::string> said;
    said.push_back(say(get("/hello") + post("/echo", "[1]") + get("/hello"), 3));
    said.push_back(say(post("/echo", std::string(60'000, '1'))));
    said.push_back(say(post_chunked("6;a=b\r\n[\"abc\"\r\n1\r\n]\r\n0\r\n\r\n")));
    said.push_back(
        say(get("/hello", "Connection: close\r\nX-Long: " + std::string(200, 'a') + "\r\n")));
    said.push_back(say("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    said.push_back(say("GET http://localhost/hello?a=b HTTP/1.0\r\n\r\n"));
    said.push_back(say(get("/nothing")));
    said.push_back(say("nonsense\r\n\r\n"));
    said.push_back(say(post("/echo", "[]", "Content-Encoding: gzip\r\n")));
    said.push_back(say("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    said.push_back(say(post("/echo", "[]", "Expect: 100-continue\r\n")));
    said.push_back(say(get("/throws")));
    said.push_back(say(get("/stream") + get("/hello"), 2));
    said.push_back(say(get("/news")));
    said.push_back(say(get("/large")));
    said.push_back(leave_while_it_is_answered());
    return said;
  }

  // Nothing is lost: what connections held is given back, and the next client is served.
  void expect_baseline() {
    EXPECT_TRUE(server().wait_until_idle(10));
    EXPECT_TRUE(eventually([&] {
      const ServerStats stats = server().stats();
      return stats.connections == 0 && stats.body_bytes == 0 && stats.buffer_bytes == 0;
    })) << server().stats().connections
        << " connections are left";
    expect_still_serving();
  }

  // A connection that memory was wanted for is cut off, or told that the server failed.
  int failures_among(const std::vector<std::string>& said) {
    int failures = 0;
    for (std::size_t i = 0; i < said.size(); ++i) {
      if (said[i] == expected_[i]) continue;
      ++failures;
      EXPECT_TRUE(said[i].find("0 cut") != said[i].npos || said[i].find("500 ") != said[i].npos ||
                  said[i].find(" cut") != said[i].npos)
          << i << ": " << said[i].substr(0, 200);
    }
    return failures;
  }
  void make_scarce(long works, long fails) {
    ask(get("/scarce/" + std::to_string(works) + "/" + std::to_string(fails)));
  }

  std::atomic<int> waiting_{0};
  std::vector<std::string> expected_;
  std::shared_ptr<spdlog::logger> usual_log_;
};

TEST_F(ScarceMemory, AnAllocationThatFailsCostsOneConnectionAtMost) {
  expected_ = session();
  ASSERT_EQ(expected_[0], "200 hello\n200 [1]\n200 hello\n");
  ASSERT_EQ(expected_.back(), "waited");
  expect_baseline();
  allocations_that_failed();
  int places = 0;
  int costly = 0;
  for (;; ++places) {
    SCOPED_TRACE(places);
    make_scarce(places, 1);
    const int failures = failures_among(session());
    const long failed = allocations_that_failed();
    make_scarce(0, 0);
    expect_baseline();
    ASSERT_LE(failures, 1);
    if (HasFailure()) return;
    if (failed == 0) break;
    costly += failures;
  }
  EXPECT_GT(places, 100);
  EXPECT_GT(costly, 20);
  RecordProperty("places", places);
}

#if defined(__linux__)
TEST_F(ScarceMemory, WithoutAThreadAServerDoesNotStart) {
  mlxd::testing::make_threads_scarce(0);
  EXPECT_THROW(Server(options_, router_), std::system_error);
  mlxd::testing::make_threads_plentiful();
  expect_still_serving();
}
#endif

// A handler that does not end is destroyed where it stands.
TEST_F(ScarceMemory, StoppingInTheMidstOfAnswersNeedsNone) {
  std::atomic<int> stubborn = 0;
  router_.add("GET", "/stubborn", [&](Exchange& exchange) -> Task<> {
    ++stubborn;
    const std::unique_ptr<std::atomic<int>, void (*)(std::atomic<int>*)> leaves(
        &stubborn, [](std::atomic<int>* waiting) { --*waiting; });
    for (;;) co_await exchange.wakeup()->wait_for(30);
  });
  RawClient first(server().port()), second(server().port());
  first.send(get("/stubborn"));
  second.send(get("/stubborn"));
  ASSERT_TRUE(eventually([&] { return stubborn == 2; }));
  make_scarce(0, 1'000'000);
  make_memory_scarce(0);
  server_.reset();
  mlxd::testing::make_memory_plentiful();
  EXPECT_EQ(stubborn, 0);
}

TEST_F(ScarceMemory, StoppingNeedsNone) {
  RawClient waiting(server().port());
  waiting.send(post("/wait", "[]"));
  ASSERT_TRUE(eventually([&] { return waiting_ == 1; }));
  make_memory_scarce(0);
  server_->stop_accepting();
  server_.reset();
  mlxd::testing::make_memory_plentiful();
  EXPECT_EQ(waiting_, 0);
}

TEST_F(ScarceMemory, WhileThereIsNoneConnectionsEndAndTheServerLivesOn) {
  expected_ = session();
  for (const long fails : {2, 10, 50, 200, 1000}) {
    for (const long works : {0, 5, 20, 80}) {
      SCOPED_TRACE(std::to_string(works) + " then " + std::to_string(fails));
      make_scarce(works, fails);
      failures_among(session());
      // It ends by itself, with the allocations that are tried.
      EXPECT_TRUE(eventually([&] { return say(get("/hello")) == "200 hello\n"; }));
      make_scarce(0, 0);
      expect_baseline();
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace mlxd::http
