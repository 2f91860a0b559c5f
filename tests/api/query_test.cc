// Questions that the text pool answers, whatever becomes of pool, client and server meanwhile.
#include "api/generation/query.h"

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/scripted_api.h"

namespace mlxd::api {
namespace {

using ::testing::HasSubstr;

// What a question waits at until it is opened.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for_one() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

// Says its body again, but for "wait", "throw" and "wrong".
class Echo final : public Query {
 public:
  explicit Echo(Gate& gate, std::string method = "POST")
      : gate_(gate), method_(std::move(method)) {}
  std::string_view path() const override { return "/echo"; }
  std::string_view method() const override { return method_; }
  Result<std::string> answer(std::string_view body, const ModelDirectory& models) const override {
    if (body == "wait") gate_.pass();
    if (body == "throw") throw std::runtime_error("no");
    if (body == "wrong") return Error{.code = "wrong", .param = {}, .message = "It is wrong."};
    return std::string(body) + " of " + models.ready().at(0)->id;
  }
  Error in_own_terms(Error error) const override {
    if (error.status == 429) error.status = 529;
    return error;
  }
  std::string error_body(const Error& error) const override { return "oh: " + error.code; }

 private:
  Gate& gate_;
  const std::string method_;
};

Error refusal(int status, std::string code) {
  Error error;
  error.status = status;
  error.code = std::move(code);
  return error;
}

class Queries : public ScriptedApi {
 protected:
  Queries() { options_.text_threads = 1; }
  ~Queries() override { gate_.open(); }
  void add(const std::string& method = "POST") {
    api_ = std::make_unique<Api>(options_, metrics_, std::move(models_));
    api_->add(std::make_unique<Echo>(gate_, method));
    api_->mount(router_);
  }
  // Runs what is ready on the I/O thread.
  void turn() {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(20));
  }

  Gate gate_;
};

TEST_F(Queries, AreAnsweredWithTheBodyThatTheyMake) {
  add();
  const auto exchange = post("/echo", "hello");
  EXPECT_EQ(exchange->response_.status, 200);
  EXPECT_EQ(exchange->response_.content_type, "application/json");
  EXPECT_EQ(exchange->response_.body, "hello of org/tiny");
}

TEST_F(Queries, MayBeAskedByAMethodWithoutABody) {
  add("GET");
  EXPECT_EQ(run("GET", "/echo")->response_.body, " of org/tiny");
  EXPECT_EQ(router_.match("POST", "/echo").handler, nullptr);
}

TEST_F(Queries, HaveTheirOwnShapeOfErrorsForHttpsToo) {
  add();
  const auto refused = post("/echo", "wrong");
  EXPECT_EQ(refused->response_.status, 400);
  EXPECT_EQ(refused->response_.body, "oh: wrong");
  const auto of_http = api_->http_error_body();
  EXPECT_EQ(of_http("/echo", refusal(405, "method_not_allowed")), "oh: method_not_allowed");
  EXPECT_THAT(of_http("/elsewhere", refusal(404, "unknown_url")),
              HasSubstr(R"("code":"unknown_url")"));
}

TEST_F(Queries, ThatThrowAre500AndTheNextIsAnswered) {
  add();
  const auto thrown = post("/echo", "throw");
  EXPECT_EQ(thrown->response_.status, 500);
  EXPECT_EQ(thrown->response_.body, "oh: internal_error");
  EXPECT_EQ(post("/echo", "hello")->response_.status, 200);
}

TEST_F(Queries, BeyondThePoolsRoomAreOverloadInTheirOwnTerms) {
  options_.max_queued_texts = 1;
  add();
  const auto first = start("POST", "/echo", "wait");
  turn();
  gate_.wait_for_one();
  const auto second = start("POST", "/echo", "two");
  turn();
  const auto third = start("POST", "/echo", "three");
  turn();
  EXPECT_EQ(third->response_.status, 529);
  EXPECT_EQ(third->response_.body, "oh: overloaded");
  EXPECT_EQ(header_of(third->response_.headers, "Retry-After"), "1");
  EXPECT_EQ(second->answers_, 0);
  gate_.open();
  finish();
  EXPECT_EQ(first->response_.body, "wait of org/tiny");
  EXPECT_EQ(second->response_.body, "two of org/tiny");
}

TEST_F(Queries, OfAClientThatLeavesEndWithoutAnAnswer) {
  add();
  const auto exchange = start("POST", "/echo", "wait");
  turn();
  gate_.wait_for_one();
  exchange->leave();
  turn();
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(exchange->answers_, 0);
  gate_.open();
  EXPECT_EQ(post("/echo", "hello")->response_.status, 200);
}

TEST_F(Queries, AreAnsweredWhileTheServerDrains) {
  add();
  api_->drain();
  EXPECT_EQ(post("/echo", "hello")->response_.status, 200);
}

}  // namespace
}  // namespace mlxd::api
