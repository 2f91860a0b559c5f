// What a request was made of is let go when it is parsed, not when it is answered.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/whole_server.h"

namespace mlxd::api {
namespace {

using ::testing::EndsWith;

// A template that shows the model the end of a conversation, however long that is.
class ShortTemplate : public ChatTemplate {
 public:
  Result<RenderedChat> render(std::string_view document, bool) const override {
    return RenderedChat{std::string(document.substr(document.size() - 8)), {{0, 8}}};
  }
};

// 64 streams of histories that together are as large as all bodies may be: 8 MiB each of 512 MiB by
// default, here a fraction of both.
constexpr int kStreams = 64;
constexpr std::size_t kHistory = 128 << 10;

class RequestMemory : public WholeServer {
 protected:
  RequestMemory() {
    http_.total_body_limit = kStreams * kHistory;
    http_.body_limit = http_.total_body_limit;
    options_.keep_alive_seconds = 0.02;  // a stream begins, though no token has come
    EngineOptions engine;
    engine.hang_seconds = 600;
    FakeOptions fake;
    fake.before_step = [held = held_](const Batch&, std::uint64_t) { held->wait(true); };
    start(engine, fake);
    model_->chat_template = std::make_unique<ShortTemplate>();
  }
  ~RequestMemory() override { let_model_go_on(); }

  void let_model_go_on() {
    *held_ = false;
    held_->notify_all();
  }

  static std::string chat(std::size_t bytes, const std::string& more) {
    return http::post("/v1/chat/completions", R"({"model":"org/bytes","ignore_eos":true,)" + more +
                                                  R"(,"messages":[{"role":"user","content":")" +
                                                  std::string(bytes, 'x') + "\"}]}");
  }

  // Every one has been read, and waits for its first token.
  void begin_streams() {
    for (int i = 0; i < kStreams; ++i) {
      clients_.push_back(std::make_unique<http::RawClient>(server_->port()));
      ASSERT_TRUE(clients_.back()->send(chat(kHistory, R"("max_tokens":9,"stream":true)")));
      ASSERT_TRUE(clients_.back()->receive_until(R"("delta":{})", 20)) << i;
    }
    ASSERT_EQ(model_->engine->stats().live_requests, kStreams);
  }

  const std::shared_ptr<std::atomic<bool>> held_ = std::make_shared<std::atomic<bool>>(true);
  std::vector<std::unique_ptr<http::RawClient>> clients_;
};

TEST_F(RequestMemory, OfBodiesIsNothingWhileTheirAnswersRun) {
  begin_streams();
  EXPECT_EQ(server_->stats().body_bytes, 0U);
  let_model_go_on();
  for (const auto& client : clients_) {
    EXPECT_THAT(client->read_answer(false, 20).body, EndsWith("data: [DONE]\n\n"));
  }
}

TEST_F(RequestMemory, ThatManyRunningStreamsHaveReadLeavesRoomForTheNext) {
  begin_streams();
  http::RawClient next(server_->port());
  ASSERT_TRUE(next.send(chat(http_.total_body_limit / 2, R"("max_tokens":2)")));
  for (int i = 0; i < 4000 && model_->engine->stats().live_requests == kStreams; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(model_->engine->stats().live_requests, kStreams + 1);
  let_model_go_on();
  const auto answer = next.read_answer(false, 20);
  EXPECT_EQ(answer.status, 200) << answer.body.substr(0, 300);
}

}  // namespace
}  // namespace mlxd::api
