// Four models that do not fit together, and clients that load, hold and give them back at random
// while loads fail: what the pool promises holds at every moment.
#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <random>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "models/pool_fixture.h"

namespace mlxd {
namespace {

using testing::Answer;
using testing::answers;
using testing::ask;
using testing::Ledger;
using testing::pooled;

constexpr std::size_t kBound = 100;
constexpr std::size_t kSizes[] = {40, 50, 60, 30};  // pairs fit, three do not

std::string name_of(std::size_t model) { return std::string(1, static_cast<char>('a' + model)); }

// One client's life. What it asks for is answered exactly once (a promise that is kept twice
// throws, one that is not times out), and what it holds goes on answering.
class Client {
 public:
  Client(ModelPool& pool, std::uint32_t seed) : pool_(pool), random_(seed) {}

  // At least so many turns, and on until all has happened that the test is about: how often models
  // are loaded within some turns is a matter of how threads are scheduled.
  void live(int turns, const std::function<bool()>& all_happened) {
    for (int turn = 0; turn < turns || (!all_happened() && turn < kMostTurns); ++turn) {
      switch (pick(8)) {
        case 0:
        case 1:
          load();
          break;
        case 2:
          if (auto lease = pool_.lease(name_of(pick(4)))) hold(*std::move(lease));
          break;
        case 3:
          if (held_ && pick(2) == 0) {
            EXPECT_TRUE(answers(held_));
          }
          break;
        case 4:
          pool_.unload(name_of(pick(4)), [](const Result<void>& gone) {
            EXPECT_TRUE(gone || gone.error().status == 409);
          });
          break;
        case 5: {
          const auto unanswered = [](const Result<ModelLease>&) {};
          pool_.withdraw(pool_.acquire(name_of(pick(4)), TimePoint::max(), unanswered));
          break;
        }
        case 6:
          for (const ModelLease& model : pool_.ready()) EXPECT_NE(model->engine, nullptr);
          break;
        default:
          held_.reset();
      }
    }
    held_.reset();
  }
  int served() const { return served_; }
  int refused() const { return refused_; }

 private:
  static constexpr int kMostTurns = 100'000;

  std::size_t pick(std::size_t below) { return random_() % below; }

  void hold(ModelLease lease) {
    EXPECT_NE(lease->engine, nullptr);
    held_ = std::move(lease);
  }

  void load() {
    // Who holds one model while it waits for another may wait for itself, up to its deadline.
    const std::size_t patience = held_ ? 5 : 1 + pick(400);
    Answer answer =
        ask(pool_, name_of(pick(4)), Clock::now() + std::chrono::milliseconds(patience));
    ASSERT_EQ(answer.wait_for(std::chrono::seconds(60)), std::future_status::ready);
    Result<ModelLease> lease = answer.get();
    if (lease) {
      ++served_;
      hold(*std::move(lease));
    } else {
      ++refused_;
      EXPECT_EQ(lease.error().status, 503);
    }
  }

  ModelPool& pool_;
  std::mt19937 random_;
  ModelLease held_;
  std::atomic<int> served_ = 0, refused_ = 0;
};

class ModelPoolRandom : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(ModelPoolRandom, KeepsItsPromises) {
  const auto ledger = std::make_shared<Ledger>();
  std::atomic<std::uint32_t> coin{GetParam()};
  std::atomic<std::size_t> most{0};
  auto pool = std::make_unique<ModelPool>(
      PoolTimes{.retry_seconds = 0.001, .idle_seconds = GetParam() % 2 == 0 ? 0.002 : 0});
  std::vector<PooledModel> models;
  for (std::size_t i = 0; i < 4; ++i) {
    models.push_back(pooled(ledger, name_of(i), kSizes[i], [&coin] {
      if (++coin % 5 == 0) throw std::runtime_error("a load fails");
    }));
    models.back().load = [load = models.back().load, &most, ledger](const LoadProgress& progress) {
      auto engine = load(progress);
      most = std::max<std::size_t>(most, ledger->bytes);
      return engine;
    };
  }
  pool->start(std::move(models), kBound);

  std::deque<Client> clients;
  for (std::uint32_t i = 0; i < 4; ++i) clients.emplace_back(*pool, GetParam() * 31 + i);
  std::vector<std::thread> threads;
  const auto all_happened = [&] {
    int served = 0, refused = 0;
    for (const Client& client : clients) {
      served += client.served();
      refused += client.refused();
    }
    return served > 50 && refused > 0 && ledger->loads > 20;
  };
  for (Client& client : clients) {
    threads.emplace_back([&] { client.live(150, all_happened); });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_TRUE(all_happened()) << ledger->loads << " loads";
  EXPECT_LE(most, kBound);
  EXPECT_LE(pool->memory_reserved(), kBound);
  for (const ModelStatus& model : pool->status()) EXPECT_EQ(model.uses, 0);

  // A stop in the middle of everything: leases are out, and asks wait for them.
  std::vector<ModelLease> held;
  for (std::size_t i = 0; i < 4; ++i) {
    auto lease = ask(*pool, name_of(i), Clock::now() + std::chrono::milliseconds(50)).get();
    if (lease) held.push_back(*std::move(lease));
  }
  std::vector<Answer> waiting;
  for (std::size_t i = 0; i < 4; ++i) waiting.push_back(ask(*pool, name_of(i), TimePoint::max()));
  pool.reset();
  for (Answer& answer : waiting) EXPECT_TRUE(testing::is_answered(answer));
  for (const ModelLease& lease : held) EXPECT_TRUE(answers(lease));
  waiting.clear();
  held.clear();
  EXPECT_EQ(ledger->bytes, 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelPoolRandom, ::testing::Range(1u, 5u));

}  // namespace
}  // namespace mlxd
