// Whoever is refused leaves a line in the log, and many leave no flood.
#include "http/refusal_log.h"

#include <memory>
#include <sstream>
#include <string>
#include <string_view>

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "http/raw_client.h"
#include "http/server_state.h"

namespace mlxd::http {
namespace {

using testing::HasSubstr;
using testing::Not;

// What was logged while it lived.
class CapturedLog {
 public:
  CapturedLog() : usual_(spdlog::default_logger()) {
    auto logger = std::make_shared<spdlog::logger>(
        "captured", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
    logger->set_pattern("%l %v");
    spdlog::set_default_logger(std::move(logger));
  }
  ~CapturedLog() { spdlog::set_default_logger(usual_); }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;

  std::string text() const { return text_.str(); }
  long lines() const {
    const std::string all = text();
    return std::count(all.begin(), all.end(), '\n');
  }

 private:
  std::ostringstream text_;
  const std::shared_ptr<spdlog::logger> usual_;
};

const TimePoint kStart = TimePoint(std::chrono::hours(1));

TEST(RefusalLog, SaysWhoWasRefusedWhatAndWhy) {
  const CapturedLog captured;
  RefusalLog log;
  log.write(make_error(413, "body_too_large", "Too long."), "req-1", "POST /v1/completions",
            kStart);
  log.write(make_error(503, "overloaded", "Later."), "req-2", "", kStart);
  EXPECT_EQ(captured.text(),
            "info req-1 POST /v1/completions status=413 outcome=refused finish=body_too_large: Too "
            "long.\nwarning req-2 - status=503 outcome=refused finish=overloaded: Later.\n");
}

TEST(RefusalLog, HoldsNothingThatCouldForgeALineOrMoveATerminal) {
  const CapturedLog captured;
  RefusalLog log;
  log.write(make_error(404, "unknown_url", "no \n\x1b[2J\xc2\x9b\"\\"), "req-1",
            "GET /\r\n\x1b]0;\xe2\x80\xae", kStart);
  EXPECT_EQ(captured.lines(), 1);
  const std::string text = captured.text();
  for (const char c : text.substr(0, text.size() - 1)) {
    EXPECT_TRUE(c >= ' ' && c <= '~' && c != '"' && c != '\\') << static_cast<int>(c);
  }
  log.write(make_error(404, "unknown_url", ""), "req-2", "GET /" + std::string(9000, 'a'), kStart);
  EXPECT_LT(captured.text().size(), 600U);
}

TEST(RefusalLog, IsBoundedInItsRateAndCountsWhatItLeavesOut) {
  const CapturedLog captured;
  const Error error = make_error(400, "bad_request", "Bad.");
  {
    RefusalLog log;
    for (int i = 0; i < 1000; ++i) log.write(error, "req", "", kStart);
    EXPECT_EQ(captured.lines(), 50);
    log.write(error, "req", "", kStart + std::chrono::seconds(1));
    EXPECT_EQ(captured.lines(), 52);
    EXPECT_THAT(captured.text(), HasSubstr("950 refused requests"));
    for (int i = 0; i < 100; ++i) log.write(error, "req", "", kStart + std::chrono::seconds(1));
    EXPECT_EQ(captured.lines(), 61);
    for (int i = 0; i < 100; ++i) log.write(error, "req", "", kStart + std::chrono::hours(1));
    EXPECT_EQ(captured.lines(), 112) << "what is saved up is bounded";
  }
  EXPECT_EQ(captured.lines(), 113) << "the last are told of at the end";
}

class RefusalsTest : public ServerTest {
 protected:
  // The lines that these requests leave.
  std::string logged_by(std::initializer_list<std::string_view> requests) {
    const CapturedLog captured;
    for (const std::string_view request : requests) ask(request);
    server_.reset();
    EXPECT_EQ(captured.lines(), static_cast<long>(requests.size())) << captured.text();
    return captured.text();
  }
};

TEST_F(RefusalsTest, OfEveryKindLeaveOneLine) {
  options_.api_keys = {"the-key"};
  options_.body_limit = 100;
  options_.total_body_limit = 50;
  options_.header_seconds = options_.body_seconds = 0.05;
  const std::string key = "Authorization: Bearer the-key\r\n";
  const std::string log = logged_by(
      {"nonsense\r\n\r\n", "GET /hello HTTP/1.1\r\n", "GET /" + std::string(20'000, 'a'),
       get("/hello"), get("/nothing", key),
       "PUT /hello HTTP/1.1\r\nHost: localhost\r\n" + key + "\r\n",
       post("/echo", std::string(101, '1'), key), post("/echo", std::string(99, '1'), key),
       post("/echo", "[]", key).substr(0, post("/echo", "[]", key).size() - 1),
       "GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n",
       post("/echo", "[]", key + "Content-Encoding: gzip\r\n"), get("/hello", "Expect: tea\r\n")});
  for (const char* status :
       {"400", "408", "431", "401", "404", "405", "413", "503", "421", "415", "417"}) {
    EXPECT_THAT(log, HasSubstr("status=" + std::string(status)));
  }
  EXPECT_THAT(log, HasSubstr("POST /echo status=413"));
  EXPECT_THAT(log, HasSubstr("within 0.05 seconds (--header-timeout)"));
  EXPECT_THAT(log, HasSubstr("within 0.05 seconds (--body-timeout)"));
  EXPECT_THAT(log, Not(HasSubstr("the-key")));
}

TEST_F(RefusalsTest, OfAConnectionTooManyLeaveALine) {
  options_.max_connections = 0;
  EXPECT_THAT(logged_by({get("/hello")}), HasSubstr("--max-connections"));
}

TEST_F(RefusalsTest, AreNoneWhereRequestsAreAnswered) {
  EXPECT_EQ(logged_by({}), "");
  const CapturedLog captured;
  EXPECT_EQ(ask(get("/hello")).status, 200);
  EXPECT_EQ(captured.lines(), 0);
}

}  // namespace
}  // namespace mlxd::http
