// Streams that lose their client: what it has not read is kept for it, in bounds.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/generation/stream_log.h"
#include "api/scripted_api.h"

namespace mlxd::api {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kPath = "/v1/chat/completions";
constexpr auto kBody =
    R"({"model":"org/tiny","stream":true,"messages":[{"role":"user","content":"x"}]})";

std::string without_ids(std::string frames) {
  for (std::size_t at = frames.find("id: "); at != std::string::npos; at = frames.find("id: ")) {
    frames.erase(at, frames.find('\n', at) + 1 - at);
  }
  return frames;
}

// What the events of a stream say, in order.
std::string said(const std::string& frames) {
  std::string text;
  for (const auto& chunk : data_frames(without_ids(frames))) {
    const auto& choices = chunk.at("choices").as_array();
    if (choices.empty()) continue;
    const auto* content = choices[0].at("delta").as_object().if_contains("content");
    if (content != nullptr) text += text_of(*content);
  }
  return text;
}

std::string last_id_of(const std::string& frames) {
  const std::size_t at = frames.rfind("id: ");
  return at == std::string::npos ? "" : frames.substr(at + 4, frames.find('\n', at) - at - 4);
}

class Resumed : public ScriptedApi {
 protected:
  Resumed() { options_.resume_seconds = 30; }

  void go_on() {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(60));
  }
  std::shared_ptr<FakeExchange> resume(const std::string& id) {
    headers_ = {{"last-event-id", id}};
    auto exchange = start("POST", kPath, kBody);
    headers_.clear();
    return exchange;
  }
};

TEST_F(Resumed, AClientReadsOnBehindTheEventThatItReadLast) {
  auto first = start("POST", kPath, kBody);
  const auto run = wait_for_run(0);
  ASSERT_TRUE(run);
  run->push({piece("one"), piece(" two")});
  go_on();
  const std::string read = first->streamed();
  EXPECT_EQ(said(read), "one two");
  first->leave();
  go_on();
  EXPECT_FALSE(run->cancelled) << "it may come back";
  run->push({piece(" three")});
  go_on();
  auto second = resume(last_id_of(read));
  go_on();
  EXPECT_EQ(said(second->streamed()), " three");
  run->push({piece(" four"), sample_end(), generation_end()});
  finish();
  EXPECT_EQ(said(second->streamed()), " three four");
  EXPECT_TRUE(second->ended_);
  EXPECT_THAT(second->streamed(), HasSubstr("[DONE]"));
  EXPECT_EQ(first->streamed(), read) << "the connection that was lost gets nothing more";
  EXPECT_EQ(ended_, 2);
}

TEST_F(Resumed, FromAnyEventTheRestIsTheSame) {
  model_->play({piece("a"), piece("b"), piece("c"), sample_end(), generation_end()});
  const auto first = post(kPath, kBody);
  const std::string whole = first->streamed();
  for (std::size_t at = whole.find("id: "); at != std::string::npos;
       at = whole.find("id: ", at + 1)) {
    const std::size_t next = whole.find("\n\n", at) + 2;
    const auto again = resume(last_id_of(whole.substr(0, next)));
    finish();
    EXPECT_EQ(again->streamed(), whole.substr(next));
  }
}

TEST_F(Resumed, AStreamThatNobodyComesBackToIsCancelled) {
  options_.resume_seconds = 0.05;
  auto exchange = start("POST", kPath, kBody);
  const auto run = wait_for_run(0);
  ASSERT_TRUE(run);
  run->push({piece("one")});
  go_on();
  exchange->leave();
  finish();
  EXPECT_TRUE(run->cancelled);
  EXPECT_EQ(ended_, 1);
}

TEST_F(Resumed, WithoutTheOptionEventsHaveNoIdsAndWhoLeavesCancels) {
  options_.resume_seconds = 0;
  auto exchange = start("POST", kPath, kBody);
  const auto run = wait_for_run(0);
  ASSERT_TRUE(run);
  run->push({piece("one")});
  go_on();
  EXPECT_THAT(exchange->streamed(), Not(HasSubstr("id: ")));
  exchange->leave();
  finish();
  EXPECT_TRUE(run->cancelled);
}

TEST_F(Resumed, NoOtherKeyReadsIt) {
  model_->play({piece("a"), sample_end(), generation_end()});
  caller_ = 1;
  const std::string id = last_id_of(post(kPath, kBody)->streamed());
  caller_ = 2;
  for (const std::string& other : {id, std::string("nonsense"), id + "0", std::string("-1")}) {
    const auto exchange = resume(other);
    finish();
    EXPECT_EQ(exchange->response_.status, 404) << other;
    EXPECT_THAT(exchange->response_.body, HasSubstr("stream_not_found"));
  }
}

TEST(StreamLog, CommentsHaveNoIds) {
  StreamLog log("name", 0);
  EXPECT_EQ(log.add(": hush\n\ndata: a\n\n"), ": hush\n\nid: name-1\ndata: a\n\n");
  EXPECT_EQ(log.add("event: x\ndata: b\n\n"), "id: name-2\nevent: x\ndata: b\n\n");
}

TEST(StreamLog, KeepsItsLastEventsWhileTheyAreReadAndAllOnceTheyAreNot) {
  StreamLog log("name", 0);
  const std::string event = "data: " + std::string(100'000, 'x') + "\n\n";
  for (int i = 0; i < 30; ++i) log.add(event);
  EXPECT_FALSE(log.is_full());
  EXPECT_FALSE(log.has_all_behind(0));
  EXPECT_TRUE(log.has_all_behind(25));
  log.lose(Clock::now());
  while (!log.is_full()) log.add(event);
  EXPECT_TRUE(log.has_all_behind(25)) << "the writer stops before one of them goes";
}

TEST(StreamLogs, AreBounded) {
  StreamLogs logs(60);
  std::vector<std::shared_ptr<StreamLog>> open;
  const TimePoint now = Clock::now();
  for (std::size_t i = 0; i < StreamLogs::kMost; ++i) open.push_back(logs.open(0, now));
  EXPECT_EQ(logs.open(0, now), nullptr);
  open[3]->end(now);
  EXPECT_NE(logs.open(0, now), nullptr) << "in place of one that has ended";
  EXPECT_EQ(StreamLogs(0).open(0, now), nullptr);
}

TEST(StreamLogs, ForgetWhatEndedLongAgo) {
  StreamLogs logs(60);
  const TimePoint now = Clock::now();
  const auto log = logs.open(0, now);
  const std::string id = last_id_of(log->add("data: a\n\n"));
  log->end(now);
  EXPECT_TRUE(logs.find(0, id, now + std::chrono::seconds(59)).log);
  EXPECT_FALSE(logs.find(0, id, now + std::chrono::seconds(61)).log);
}

}  // namespace
}  // namespace mlxd::api
