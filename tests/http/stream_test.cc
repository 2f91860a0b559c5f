// Streams, back-pressure, wake-ups and peers that leave.
#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "http/raw_client.h"

namespace mlxd::http {
namespace {

class StreamTest : public ServerTest {
 protected:
  StreamTest() {
    router_.add("GET", "/count", [](Exchange& exchange) -> Task<> {
      Headers headers = {{"x-seed", "7"}};
      co_await exchange.begin_stream(std::move(headers), kEventStream);
      for (int i = 0; i < 5; ++i) {
        co_await exchange.write("data: " + std::to_string(i) + "\n\n");
        co_await exchange.write("");
      }
      co_await exchange.end_stream();
    });
    // Waits until its peer has left; what it saw is in the fields below.
    router_.add("POST", "/wait", [this](Exchange& exchange) -> Task<> {
      ++waiting_;
      while (!exchange.peer_gone()) co_await exchange.wakeup()->wait_for(30);
      ++left_;
      --waiting_;
    });
    // Writes for as long as the peer takes it.
    router_.add("GET", "/flood", [this](Exchange& exchange) -> Task<> {
      ++waiting_;
      bool open = co_await exchange.begin_stream(Headers(), kEventStream);
      while (open) {
        open = co_await exchange.write(std::string(1000, 'x'));
        written_ += 1000;
      }
      if (exchange.peer_gone()) ++left_;
      --waiting_;
    });
  }

  std::atomic<int> waiting_ = 0, left_ = 0;
  std::atomic<long> written_ = 0;
};

TEST_F(StreamTest, SendsFramesAsChunksAndKeepsTheConnection) {
  auto client = connect();
  for (int i = 0; i < 3; ++i) {
    client.send(get("/count"));
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.header("content-type"), "text/event-stream");
    EXPECT_EQ(answer.header("cache-control"), "no-cache");
    EXPECT_EQ(answer.header("x-seed"), "7");
    EXPECT_EQ(answer.body, "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n");
  }
}

TEST_F(StreamTest, EndsAnHttp10StreamByClosing) {
  const Answer answer = ask("GET /count HTTP/1.0\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(answer.header("transfer-encoding"), "");
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(answer.body, "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n");
}

TEST_F(StreamTest, AnExceptionInTheMiddleCutsTheStreamVisibly) {
  router_.add("GET", "/breaks", [](Exchange& exchange) -> Task<> {
    co_await exchange.begin_stream(Headers(), kEventStream);
    co_await exchange.write("data: 1\n\n");
    throw std::runtime_error("broken");
  });
  auto client = connect();
  client.send(get("/breaks"));
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.body, "data: 1\n\n");
  EXPECT_FALSE(answer.complete);
  EXPECT_TRUE(client.is_closed_within(3));
  expect_still_serving();
}

TEST_F(StreamTest, AWaitingHandlerLearnsThatItsPeerClosed) {
  auto client = connect();
  client.send(post("/wait", "[]"));
  ASSERT_TRUE(eventually([&] { return waiting_ == 1; }));
  client.close();
  EXPECT_TRUE(eventually([&] { return left_ == 1; }));
  EXPECT_TRUE(eventually([&] { return server().stats().connections == 0; }));
}

TEST_F(StreamTest, AWaitingHandlerLearnsThatItsPeerReset) {
  auto client = connect();
  client.send(post("/wait", "[]"));
  ASSERT_TRUE(eventually([&] { return waiting_ == 1; }));
  client.reset();
  EXPECT_TRUE(eventually([&] { return left_ == 1; }));
}

TEST_F(StreamTest, AResetIsNoticedBehindMorePipelinedBytesThanAreReadAhead) {
  auto client = connect();
  client.send(post("/wait", "[]") + std::string(100'000, 'x'));
  ASSERT_TRUE(eventually([&] { return waiting_ == 1; }));
  ASSERT_TRUE(eventually([&] { return server().stats().buffer_bytes >= 16 * 1024; }));
  client.reset();
  EXPECT_TRUE(eventually([&] { return left_ == 1; }));
}

TEST_F(StreamTest, AHalfClosedPeerStillGetsAnswersThatAreReady) {
  auto client = connect();
  client.send(get("/hello") + post("/echo", "[1]"));
  client.half_close();
  EXPECT_EQ(client.read_answer().body, "hello");
  EXPECT_EQ(client.read_answer().body, "[1]");
  EXPECT_TRUE(client.is_closed_within(3));
}

TEST_F(StreamTest, PipelinedBytesSurviveTheWatchForLeaving) {
  std::atomic<bool> begun = false;
  router_.add("GET", "/slow", [&](Exchange& exchange) -> Task<> {
    begun = true;
    co_await exchange.wakeup()->wait_for(0.1);
    EXPECT_FALSE(exchange.peer_gone());
    co_await respond_empty(exchange);
  });
  auto client = connect();
  const std::string body = "[" + std::string(200'000, '1') + "]";
  client.send(get("/slow"));
  ASSERT_TRUE(eventually([&] { return begun.load(); }));
  client.send(post("/echo", body) + get("/hello"));
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_EQ(client.read_answer().body, body);
  EXPECT_EQ(client.read_answer().body, "hello");
}

TEST_F(StreamTest, ASlowReaderHoldsBackItsHandlerAlone) {
  RawClient slow(server().port(), 4096);
  slow.send(get("/flood"));
  ASSERT_TRUE(eventually([&] { return written_ > 0; }));
  long held = 0;
  do {
    held = written_;
    let_io_thread_catch_up();
  } while (written_ != held);
  EXPECT_LT(held, 200'000);
  ASSERT_TRUE(slow.receive());
  for (int i = 0; i < 100; ++i) slow.receive(0.01);
  EXPECT_TRUE(eventually([&] { return written_ > held; }));
}

TEST_F(StreamTest, AReaderThatStallsIsDroppedAfterTheLimit) {
  options_.write_stall_seconds = 0.2;
  RawClient slow(server().port(), 4096);
  slow.send(get("/flood"));
  EXPECT_TRUE(eventually([&] { return left_ == 1; }));
  EXPECT_TRUE(eventually([&] { return server().stats().connections == 0; }));
}

TEST_F(StreamTest, ALongAnswerToAStalledReaderIsDroppedToo) {
  options_.write_stall_seconds = 0.2;
  router_.add("GET", "/long", [](Exchange& exchange) -> Task<> {
    Response response;
    response.body.assign(20'000'000, 'x');
    co_await exchange.respond(std::move(response));
  });
  RawClient slow(server().port(), 4096);
  slow.send(get("/long"));
  EXPECT_TRUE(eventually([&] { return server().stats().connections == 1; }));
  EXPECT_TRUE(eventually([&] { return server().stats().connections == 0; }));
  EXPECT_EQ(ask(get("/long")).body.size(), 20'000'000u);
}

TEST_F(StreamTest, APeerThatLeavesAFloodEndsIt) {
  auto client = connect();
  client.send(get("/flood"));
  ASSERT_TRUE(client.receive_until("xxxx"));
  client.close();
  EXPECT_TRUE(eventually([&] { return left_ == 1; }));
}

TEST_F(StreamTest, ManyNotificationsFromManyThreadsAreOneWakeup) {
  std::atomic<int> wakeups = 0;
  std::promise<std::shared_ptr<Wakeup>> promised;
  std::atomic<bool> done = false;
  router_.add("GET", "/notified", [&](Exchange& exchange) -> Task<> {
    promised.set_value(exchange.wakeup());
    do {  // once at least, however late this thread gets its turn
      if (co_await exchange.wakeup()->wait_for(5)) ++wakeups;
    } while (!done);
    co_await respond_empty(exchange);
  });
  auto client = connect();
  client.send(get("/notified"));
  const auto wakeup = promised.get_future().get();
  std::vector<std::thread> threads;
  constexpr int notifications = 200'000;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < notifications / 4; ++i) wakeup->notify();
    });
  }
  for (auto& thread : threads) thread.join();
  done = true;
  wakeup->notify();
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_GE(wakeups, 1);
  EXPECT_LT(wakeups, notifications / 2);
  server_.reset();
  wakeup->notify();  // has outlived its server
}

TEST_F(StreamTest, AWakeupIsNeverLostAndTimesOutOnlyWhenNobodyNotified) {
  std::atomic<int> rounds = 0;
  std::promise<std::shared_ptr<Wakeup>> promised;
  router_.add("GET", "/rounds", [&](Exchange& exchange) -> Task<> {
    promised.set_value(exchange.wakeup());
    for (int i = 0; i < 500; ++i) {
      EXPECT_TRUE(co_await exchange.wakeup()->wait_for(5));
      ++rounds;
    }
    EXPECT_FALSE(co_await exchange.wakeup()->wait_for(0.02));
    EXPECT_FALSE(co_await exchange.wakeup()->wait_for(-1));
    co_await respond_empty(exchange);
  });
  auto client = connect();
  client.send(get("/rounds"));
  const auto wakeup = promised.get_future().get();
  for (int i = 0; i < 500; ++i) {
    wakeup->notify();
    ASSERT_TRUE(eventually([&] { return rounds == i + 1; }));
  }
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(StreamTest, AThousandStreamsRunAtOnce) {
  constexpr int streams = 1000;
  std::atomic<int> open = 0;
  router_.add("GET", "/together", [&](Exchange& exchange) -> Task<> {
    co_await exchange.begin_stream(Headers(), kEventStream);
    ++open;
    while (open < streams) co_await exchange.wakeup()->wait_for(0.1);
    for (int i = 0; i < 20; ++i) {
      co_await exchange.write("data: " + std::to_string(i) + "\n\n");
      co_await exchange.wakeup()->wait_for(0.001);
    }
    co_await exchange.end_stream();
  });
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < streams; ++i) {
    clients.push_back(std::make_unique<RawClient>(server().port()));
    ASSERT_TRUE(clients.back()->send(get("/together")));
  }
  std::string expected;
  for (int i = 0; i < 20; ++i) expected += "data: " + std::to_string(i) + "\n\n";
  for (auto& client : clients) ASSERT_EQ(client->read_answer(false, 20).body, expected);
}

}  // namespace
}  // namespace mlxd::http
