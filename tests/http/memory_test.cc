// What connections hold is counted, bounded, and gone when they are.
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "http/raw_client.h"

namespace mlxd::http {
namespace {

constexpr int kClients = 20;

class ConnectionMemoryTest : public ServerTest {
 protected:
  ConnectionMemoryTest() {
    router_.add("POST", "/wait", [](Exchange& exchange) -> Task<> {
      while (!exchange.peer_gone()) co_await exchange.wakeup()->wait_for(30);
    });
    router_.add("POST", "/read", [](Exchange& exchange) -> Task<> {
      exchange.take_body().release();
      while (!exchange.peer_gone()) co_await exchange.wakeup()->wait_for(30);
    });
    router_.add("GET", "/flood", [](Exchange& exchange) -> Task<> {
      bool open = co_await exchange.begin_stream(Headers(), kEventStream);
      while (open) open = co_await exchange.write(std::string(10'000, 'x'));
    });
    router_.add("GET", "/large", [](Exchange& exchange) -> Task<> {
      Response response;
      response.body = std::string(8'000'000, 'x');
      co_await exchange.respond(std::move(response));
    });
  }

  // Many clients that send these bytes and read nothing.
  void send_from_all(const std::string& bytes) {
    for (int i = 0; i < kClients; ++i) {
      clients_.push_back(std::make_unique<RawClient>(server().port(), 4096));
      ASSERT_TRUE(clients_.back()->send(bytes));
    }
  }
  bool eventually(const std::function<bool(const ServerStats&)>& condition) {
    return http::eventually([&] { return condition(server().stats()); });
  }
  void expect_nothing_held_when_all_leave() {
    clients_.clear();
    EXPECT_TRUE(eventually([](const ServerStats& stats) {
      return stats.connections == 0 && stats.buffer_bytes == 0 && stats.body_bytes == 0;
    })) << server().stats().buffer_bytes
        << " bytes of buffers";
  }
  // By how much each connection raises the bound.
  std::size_t most_each() const {
    ServerOptions more = options_;
    ++more.max_connections;
    return most_connection_bytes(more) - most_connection_bytes(options_);
  }

  std::vector<std::unique_ptr<RawClient>> clients_;
};

TEST_F(ConnectionMemoryTest, IsNothingWhileConnectionsAreIdle) {
  send_from_all(post("/echo", "[" + std::string(1000, '1') + "]"));
  for (const auto& client : clients_) ASSERT_EQ(client->read_answer().status, 200);
  EXPECT_TRUE(eventually([](const ServerStats& stats) { return stats.buffer_bytes == 0; }));
  EXPECT_EQ(server().stats().connections, kClients);
  expect_nothing_held_when_all_leave();
}

TEST_F(ConnectionMemoryTest, CountsHeadersThatAreNotComplete) {
  send_from_all("GET /hello HTTP/1.1\r\nX-A: " + std::string(8000, 'a'));
  EXPECT_TRUE(
      eventually([](const ServerStats& stats) { return stats.buffer_bytes >= kClients * 8000; }));
  EXPECT_LE(server().stats().buffer_bytes, kClients * most_each());
  expect_nothing_held_when_all_leave();
}

TEST_F(ConnectionMemoryTest, CountsBodiesThatAreNotComplete) {
  const std::string request = post("/echo", std::string(100'000, '1'));
  send_from_all(request.substr(0, 90'000));
  EXPECT_TRUE(
      eventually([](const ServerStats& stats) { return stats.body_bytes >= kClients * 80'000; }));
  EXPECT_LE(server().stats().buffer_bytes, kClients * most_each());
  expect_nothing_held_when_all_leave();
}

TEST_F(ConnectionMemoryTest, OfABodyIsHeldByWhomeverTookItAndUntilItLetsGo) {
  const std::string body(100'000, '1');
  send_from_all(post("/wait", body));
  EXPECT_TRUE(
      eventually([](const ServerStats& stats) { return stats.body_bytes >= kClients * 100'000; }));
  clients_.clear();
  send_from_all(post("/read", body));
  EXPECT_TRUE(eventually([](const ServerStats& stats) {
    return stats.connections == kClients && stats.body_bytes == 0 && stats.buffer_bytes == 0;
  })) << server().stats().body_bytes;
  EXPECT_EQ(server().stats().connections, kClients) << "their answers are still under way";
  expect_nothing_held_when_all_leave();
}

TEST_F(ConnectionMemoryTest, OfABodyMayOutliveTheServer) {
  Body kept;
  std::atomic<bool> taken{false};
  router_.add("POST", "/keep", [&](Exchange& exchange) -> Task<> {
    kept = exchange.take_body();
    taken = true;
    Response response;
    co_await exchange.respond(std::move(response));
  });
  EXPECT_EQ(ask(post("/keep", "[1]")).status, 200);
  EXPECT_TRUE(taken);
  EXPECT_GT(server().stats().body_bytes, 0U);
  server_.reset();
  EXPECT_EQ(kept.text, "[1]");
}

TEST_F(ConnectionMemoryTest, IsBoundedHoweverMuchIsPipelinedBehindARequest) {
  for (int i = 0; i < kClients; ++i) {
    clients_.push_back(std::make_unique<RawClient>(server().port()));
    ASSERT_TRUE(clients_.back()->send(post("/wait", "[]") + std::string(40'000, 'x')));
  }
  EXPECT_TRUE(
      eventually([](const ServerStats& stats) { return stats.buffer_bytes >= kClients * 16'000; }));
  let_io_thread_catch_up();
  EXPECT_LE(server().stats().buffer_bytes, kClients * most_each());
  // Behind so much, only a reset is noticed.
  for (const auto& client : clients_) client->reset();
  expect_nothing_held_when_all_leave();
}

TEST_F(ConnectionMemoryTest, CountsAnswersThatNobodyReads) {
  send_from_all(get("/large"));
  EXPECT_TRUE(eventually(
      [](const ServerStats& stats) { return stats.buffer_bytes >= kClients * 8'000'000ul; }));
  expect_nothing_held_when_all_leave();
}

TEST_F(ConnectionMemoryTest, CountsTheFrameOfAStreamThatNobodyReads) {
  send_from_all(get("/flood"));
  const auto stalled = [](const ServerStats& stats) {
    return stats.buffer_bytes >= kClients * 10'000 && stats.buffer_bytes < kClients * 12'000;
  };
  EXPECT_TRUE(eventually(stalled));
  let_io_thread_catch_up();
  EXPECT_TRUE(stalled(server().stats()));  // one frame each, however long it waits
  expect_nothing_held_when_all_leave();
}

TEST_F(ConnectionMemoryTest, IsNothingAfterClientsThatWereDroppedForNotReading) {
  options_.write_stall_seconds = 0.1;
  send_from_all(get("/flood"));
  EXPECT_TRUE(
      eventually([](const ServerStats& stats) { return stats.buffer_bytes >= kClients * 10'000; }));
  EXPECT_TRUE(eventually(
      [](const ServerStats& stats) { return stats.connections == 0 && stats.buffer_bytes == 0; }));
}

}  // namespace
}  // namespace mlxd::http
