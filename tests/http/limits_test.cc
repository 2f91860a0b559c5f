// Sizes, deadlines and numbers of connections.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>
#include <vector>

#include <dirent.h>
#include <sys/resource.h>

#include "http/raw_client.h"

namespace mlxd::http {
namespace {

class LimitsTest : public ServerTest {};

TEST_F(LimitsTest, AHeaderOverTheLimitIs431) {
  expect_refused_and_closed(get("/hello", "X-A: " + std::string(16 * 1024, 'a') + "\r\n"), 431);
  expect_refused_and_closed("GET /" + std::string(100'000, 'a'), 431);
  const std::string rest = get("/hello", "X-A: \r\n");
  EXPECT_EQ(ask(get("/hello", "X-A: " + std::string(16 * 1024 - rest.size(), 'a') + "\r\n")).status,
            200);
  EXPECT_EQ(
      ask(get("/hello", "X-A: " + std::string(16 * 1024 - rest.size() + 1, 'a') + "\r\n")).status,
      431);
}

TEST_F(LimitsTest, TooManyHeaderFieldsAre431) {
  std::string fields;
  for (int i = 0; i < 127; ++i) fields += "A: 1\r\n";
  EXPECT_EQ(ask(get("/hello", fields)).status, 200);
  expect_refused_and_closed(get("/hello", fields + "A: 1\r\n"), 431);
}

TEST_F(LimitsTest, ABodyOverTheLimitIs413BeforeItIsSent) {
  expect_refused_and_closed(
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 8388609\r\n\r\n",
      413);
  const std::string largest(8 * 1024 * 1024, '1');
  EXPECT_EQ(ask(post("/echo", largest)).body, largest);
}

TEST_F(LimitsTest, AChunkedBodyIs413AsSoonAsItAnnouncesTooMuch) {
  options_.body_limit = 1000;
  std::string chunks;
  for (int i = 0; i < 10; ++i) chunks += "64\r\n" + std::string(100, '1') + "\r\n";
  EXPECT_EQ(ask(post_chunked(chunks + "0\r\n\r\n")).body, std::string(1000, '1'));
  expect_refused_and_closed(post_chunked(chunks + "1\r\n"), 413);
  expect_refused_and_closed(post_chunked("3e9\r\n"), 413);
  expect_refused_and_closed(post_chunked("ffffffffffffffff\r\n"), 413);
}

TEST_F(LimitsTest, TheSenderOfABodyThatIsTooLargeCanReadTheAnswer) {
  options_.body_limit = 1000;
  for (int i = 0; i < 20; ++i) {
    auto client = connect();
    client.send(post("/echo", std::string(1'000'000, '1')));
    EXPECT_EQ(client.read_answer().status, 413);
  }
}

TEST_F(LimitsTest, BodiesOfAllConnectionsTogetherAreBounded) {
  options_.total_body_limit = 300'000;
  const std::string first = post("/echo", std::string(200'000, '1'));
  auto holder = connect();
  holder.send(std::string_view(first).substr(0, 190'000));
  ASSERT_TRUE(eventually([&] { return server().stats().body_bytes >= 180'000; }));
  const Answer refused = ask(first);
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.header("retry-after"), "");
  holder.send(std::string_view(first).substr(190'000));
  EXPECT_EQ(holder.read_answer().status, 200);
  EXPECT_EQ(ask(first).status, 200);
}

TEST_F(LimitsTest, AHeaderThatIsLateIs408) {
  options_.header_seconds = 0.2;
  auto client = connect();
  client.send("GET /hello HT");
  for (int i = 0; i < 100 && client.send("x"); ++i) {  // dripping does not extend it
    if (client.receive(0.01)) break;
  }
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, 408);
  EXPECT_TRUE(client.is_closed_within(3));
}

TEST_F(LimitsTest, ABodyThatIsLateIs408) {
  options_.body_seconds = 0.2;
  auto client = connect();
  client.send(
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 1000\r\n\r\n");
  for (int i = 0; i < 100 && client.send("1"); ++i) {
    if (client.receive(0.01)) break;
  }
  EXPECT_EQ(client.read_answer().status, 408);
  EXPECT_TRUE(client.is_closed_within(3));
}

TEST_F(LimitsTest, AnIdleConnectionIsClosed) {
  options_.idle_seconds = 0.2;
  auto silent = connect();
  auto client = connect();
  client.send(get("/hello"));
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_TRUE(client.is_open_after(0.05));
  EXPECT_TRUE(client.is_closed_within(3));
  EXPECT_TRUE(silent.is_closed_within(3));
}

TEST_F(LimitsTest, AHandlerMayTakeLongerThanEveryDeadline) {
  options_.idle_seconds = options_.header_seconds = options_.body_seconds = 0.05;
  options_.write_stall_seconds = 0.05;
  router_.add("GET", "/slow", [](Exchange& exchange) -> Task<> {
    co_await exchange.wakeup()->wait_for(0.3);
    co_await respond_empty(exchange);
  });
  EXPECT_EQ(ask(get("/slow")).status, 200);
}

TEST_F(LimitsTest, AConnectionTooManyIsAnswered503AtOnce) {
  options_.max_connections = 2;
  auto first = connect();
  first.send(get("/hello"));
  EXPECT_EQ(first.read_answer().status, 200);
  {
    auto second = connect();
    second.send(get("/hello"));
    EXPECT_EQ(second.read_answer().status, 200);
    for (int i = 0; i < 10; ++i) {
      auto third = connect();
      const Answer answer = third.read_answer();
      EXPECT_EQ(answer.status, 503);
      EXPECT_EQ(answer.header("connection"), "close");
      EXPECT_NE(answer.header("retry-after"), "");
    }
  }
  first.send(get("/hello"));
  EXPECT_EQ(first.read_answer().status, 200);
  ASSERT_TRUE(eventually([&] { return server().stats().connections == 1; }));
  expect_still_serving();
}

// Resident bytes of this process, where /proc tells.
std::optional<long> resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  long total = 0, resident = 0;
  if (!(statm >> total >> resident)) return std::nullopt;
  return resident * ::sysconf(_SC_PAGESIZE);
}

TEST_F(LimitsTest, AnIdleConnectionCostsLessThanTenKibibytes) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory of their own";
#endif
  const char* wish = std::getenv("MLXD_IDLE_CONNECTIONS");
  const int count = wish ? std::atoi(wish) : 1000;
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  if (descriptors.rlim_cur < static_cast<rlim_t>(2 * count + 100))
    GTEST_SKIP() << "few descriptors";
  for (int i = 0; i < 10; ++i) expect_still_serving();
  const auto before = resident_bytes();
  if (!before) GTEST_SKIP() << "no /proc";
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<RawClient>(server().port()));
    ASSERT_TRUE(clients.back()->send(post("/echo", "[" + std::string(4000, '1') + "]")));
    ASSERT_EQ(clients.back()->read_answer().status, 200);
  }
  const long each = (*resident_bytes() - *before) / count;
  RecordProperty("bytes_per_connection", static_cast<int>(each));
  std::cout << count << " idle connections: " << each << " bytes each\n";
  EXPECT_LT(each, 10 * 1024);
  EXPECT_EQ(server().stats().connections, count);
}

int open_descriptors() {
  int count = 0;
  DIR* directory = ::opendir("/dev/fd");
  while (::readdir(directory)) ++count;
  ::closedir(directory);
  return count - 3;  // ".", ".." and the directory's own
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

TEST_F(LimitsTest, RunningOutOfDescriptorsNeitherStopsNorSpinsTheServer) {
  router_.add("GET", "/throws", [](Exchange&) -> Task<> {
    throw std::runtime_error("a first log line");  // UBSan's first look at the logger takes a pipe
    co_return;
  });
  EXPECT_EQ(ask(get("/throws")).status, 500);
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  std::vector<std::unique_ptr<RawClient>> clients;
  ASSERT_TRUE(eventually([&] { return server().stats().connections == 0; }));
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(open_descriptors() + 9);
  ::setrlimit(RLIMIT_NOFILE, &low);
  for (int i = 0; i < 9; ++i) clients.push_back(std::make_unique<RawClient>(server().port()));
  const double start = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(cpu_seconds() - start, 0.2);
  ::setrlimit(RLIMIT_NOFILE, &before);
  clients.clear();
  expect_still_serving();
}

}  // namespace
}  // namespace mlxd::http
