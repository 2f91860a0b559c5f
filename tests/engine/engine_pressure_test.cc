#include <algorithm>
#include <chrono>
#include <mutex>
#include <random>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

using Outcome = RequestFinished::Outcome;

// What one client does to one request, of all that a client can do.
void misbehave(Engine& engine, std::mt19937& random, std::atomic<int>& terminals,
               std::atomic<int>& accepted) {
  GenerateJob job;
  job.id = "pressure";
  job.prompt.assign(1 + random() % 50, static_cast<int>(random() % 64));
  job.max_tokens = static_cast<int>(random() % 60);
  job.samples = 1 + static_cast<int>(random() % 3);
  job.sampling.seed = random();
  if (random() % 4 == 0) job.prompt_logprobs = 1;
  if (random() % 4 == 0) job.stop_ids = {3, 9, 27};
  if (random() % 6 == 0) job.deadline = in_seconds(0.0001 * (random() % 100));
  auto handle = engine.submit(job);
  if (!handle) return;
  if (random() % 10 == 0) return;  // walks away
  ++accepted;
  const int patience = random() % 3 == 0 ? static_cast<int>(random() % 30) : 1 << 30;
  const bool slow = random() % 5 == 0;
  int events = 0;
  for (bool ended = false; !ended;) {
    const auto event = handle->next_until(in_seconds(60));
    ASSERT_TRUE(event) << "a request without an end";
    ended = std::holds_alternative<RequestFinished>(*event);
    if (++events == patience) handle->cancel();
    if (events == 5 && job.samples > 1) handle->stop_sample(1);
    if (slow) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  ++terminals;
  EXPECT_FALSE(handle->try_next()) << "an event after the terminal one";
}

class Pressure : public InEveryCombination {};
INSTANTIATE_IN_EVERY_COMBINATION(Pressure);

TEST_P(Pressure, EveryAcceptedRequestGetsExactlyOneTerminalEventWhateverIsInjected) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    FakeOptions fake;
    fake.before_step = [random = std::mt19937(seed)](const Batch&, std::uint64_t) mutable {
      const auto dice = random() % 100;
      if (dice == 0) throw std::runtime_error("injected");
      if (dice == 1) throw std::bad_alloc();
      if (dice == 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    EngineOptions options;
    options.max_queued_requests = 8;
    options.max_running_sequences = 6;
    options.max_step_tokens = 40;
    options.kv_blocks = 40;
    options.channel_capacity = 6;
    auto engine = make_engine(options, fake);
    std::atomic<int> terminals{0}, accepted{0};
    std::vector<std::thread> clients;
    for (unsigned client = 0; client < 12; ++client) {
      clients.emplace_back([&, client] {
        std::mt19937 random(seed * 100 + client);
        for (int i = 0; i < 60; ++i) misbehave(*engine, random, terminals, accepted);
      });
    }
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(terminals, accepted);
    EXPECT_GT(accepted, 100);
    EXPECT_TRUE(eventually([&] { return engine->stats().live_requests == 0; }));
    EXPECT_TRUE(eventually([&] {
      const EngineStats stats = engine->stats();
      return stats.kv_blocks_used == 0 && stats.queued_requests == 0 &&
             stats.running_sequences == 0;
    }));
    EXPECT_TRUE(engine->stats().healthy);
  }
}

// A step of this model takes 2 ms and 0.2 ms a row.
TEST_P(Pressure, RunningStreamsKeepTheirPaceWhileALongPromptEnters) {
  std::mutex mutex;
  std::vector<int> mixed;  // rows of steps with both
  FakeOptions fake;
  fake.before_step = [&](const Batch& batch, std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + 200 * batch.rows()));
    const auto rows = std::span(batch.sequences);
    const auto is_long = [](const BatchSequence& s) { return s.query_length > 1; };
    if (rows.size() < 5 || std::ranges::none_of(rows, is_long)) return;
    std::lock_guard lock(mutex);
    mixed.push_back(batch.rows());
  };
  auto engine = make_engine({.max_draft_tokens = 0, .prefix_cache = false}, fake);
  const auto submit = [&](int prompt, int max_tokens) {
    GenerateJob job = job_of(std::vector<int>(prompt, 3), max_tokens);
    job.ignore_eos = true;
    return *engine->submit(job);
  };
  RequestHandle first = submit(1500, 1);  // what a row costs
  ASSERT_TRUE(read_all(first).completed());
  std::vector<RequestHandle> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(submit(2, 250));
  ASSERT_TRUE(eventually([&] { return engine->stats().generated_tokens > 100; }));
  RequestHandle late = submit(1500, 1);
  EXPECT_TRUE(read_all(late).completed());
  for (RequestHandle& stream : streams) EXPECT_TRUE(read_all(stream).completed());

  std::lock_guard lock(mutex);
  ASSERT_GE(mixed.size(), 3u);
  std::ranges::nth_element(mixed, mixed.begin() + mixed.size() / 2);
  // Four rows take 2.8 ms, and 25 take 2.5 times that; on a busy machine a sleep takes longer. The
  // prompt alone gets 512.
  EXPECT_LE(mixed[mixed.size() / 2], 100);
}

// Whose reader waits holds places and blocks that the one who is read needs.
TEST_P(Pressure, RequestsThatAreReadOneAfterTheOtherAllEnd) {
  EngineOptions options;
  options.max_running_sequences = 6;
  options.kv_blocks = 40;
  options.channel_capacity = 3;
  auto engine = make_engine(options);
  std::mt19937 random(6);
  std::vector<RequestHandle> handles;
  for (int i = 0; i < 60; ++i) {
    GenerateJob job = job_of(std::vector<int>(1 + random() % 40, i), 40, i);
    job.samples = 1 + static_cast<int>(random() % 2);
    handles.push_back(*engine->submit(job));
  }
  for (RequestHandle& handle : handles) ASSERT_TRUE(read_all(handle).completed());
}

TEST_P(Pressure, DestructionInFullFlightEndsEveryRequestOnce) {
  for (int trial = 0; trial < 20; ++trial) {
    auto engine = make_engine({.max_running_sequences = 4, .kv_blocks = 60});
    std::vector<RequestHandle> handles;
    for (int i = 0; i < 30; ++i) handles.push_back(*engine->submit(job_of({1, 2, i}, 200)));
    if (trial % 2 == 0) (void)handles[0].next_until(in_seconds(60));
    std::vector<std::thread> readers;
    std::atomic<int> ended{0};
    for (RequestHandle& handle : handles) {
      readers.emplace_back([&] { ended += read_all(handle).terminals.size() == 1; });
    }
    engine.reset();
    for (std::thread& reader : readers) reader.join();
    EXPECT_EQ(ended, 30);
  }
}

TEST_P(Pressure, ThousandsOfCancelsLeaveNothingBehind) {
  auto engine = make_engine({.max_queued_requests = 64, .max_running_sequences = 8});
  std::mt19937 random(5);
  std::vector<RequestHandle> handles;
  for (int accepted = 0; accepted < 5000;) {
    auto handle = engine->submit(job_of({1, 2, 3}, 1000, accepted));
    if (handle) {
      ++accepted;
      handles.push_back(*std::move(handle));
    } else {  // those who left are still counted until the thread has seen them
      std::this_thread::yield();
    }
    if (handles.size() > 40) handles.erase(handles.begin() + random() % handles.size());
  }
  handles.clear();
  EXPECT_TRUE(eventually([&] { return engine->stats().live_requests == 0; }));
  EXPECT_TRUE(eventually(
      [&] { return engine->stats().kv_blocks_used == 0 && engine->stats().queued_requests == 0; }));
}

}  // namespace
}  // namespace mlxd::testing
