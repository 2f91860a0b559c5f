#include "models/model_pool.h"

#include <latch>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/scarce_memory.h"
#include "models/pool_fixture.h"

namespace mlxd {
namespace {

using std::chrono::milliseconds;
using testing::Answer;
using testing::answers;
using testing::ask;
using ::testing::HasSubstr;
using testing::is_answered;
using testing::Ledger;
using testing::list;
using testing::pinned;
using testing::pooled;

class ModelPoolTest : public ::testing::Test {
 protected:
  ModelState state_of(const std::string& id) const {
    for (const ModelStatus& model : pool_->status()) {
      if (model.model->id == id) return model.state;
    }
    ADD_FAILURE() << "no model " << id;
    return ModelState::absent;
  }
  template <class Condition>
  static bool becomes(Condition condition) {
    for (int i = 0; i < 6000 && !condition(); ++i) std::this_thread::sleep_for(milliseconds(5));
    return condition();
  }

  const std::shared_ptr<Ledger> ledger_ = std::make_shared<Ledger>();
  std::unique_ptr<ModelPool> pool_ = std::make_unique<ModelPool>();
};

TEST_F(ModelPoolTest, LeasesWhatWasLoadedAtTheStart) {
  PooledModel model = pinned(pooled(ledger_, "one", 10));
  model.model.aliases = {"default"};
  EXPECT_EQ(pool_->lease("one").error().code, "model_loading");
  pool_->start(list(std::move(model), pooled(ledger_, "two", 10)), 20);
  EXPECT_EQ((*pool_->lease("default"))->id, "one");
  EXPECT_TRUE(answers(*pool_->lease("one")));
  EXPECT_EQ(pool_->ready().size(), 1u);
  EXPECT_EQ(pool_->memory_reserved(), 10u);
}

TEST_F(ModelPoolTest, RefusesANameThatItDoesNotKnowWithThoseThatItDoes) {
  pool_->start(list(pooled(ledger_, "one", 1), pooled(ledger_, "two", 1)), 2);
  const Error error = pool_->lease("three").error();
  EXPECT_EQ(error.status, 404);
  EXPECT_EQ(error.code, "model_not_found");
  EXPECT_THAT(error.message, HasSubstr("one, two"));
  EXPECT_EQ(ask(*pool_, "three").get().error().code, "model_not_found");
}

TEST_F(ModelPoolTest, AModelThatIsNotReadyIsRefusedWithATimeToComeBack) {
  pool_->start(list(pooled(ledger_, "one", 1)), 1);
  const Error error = pool_->lease("one").error();
  EXPECT_EQ(error.status, 503);
  EXPECT_GT(error.retry_after_seconds, 0);
  EXPECT_EQ(ledger_->loads, 0);  // to ask for a lease loads nothing
}

TEST_F(ModelPoolTest, AStartEndsWithTheWordsOfTheFirstLoadThatFails) {
  const auto fail = [] { throw LoadError("x.gguf: the tensor y is missing"); };
  try {
    pool_->start(list(pinned(pooled(ledger_, "one", 10)), pinned(pooled(ledger_, "two", 10, fail)),
                      pinned(pooled(ledger_, "three", 10))),
                 30);
    FAIL() << "it started";
  } catch (const StartupError& error) {
    EXPECT_STREQ(error.what(), "x.gguf: the tensor y is missing");
  }
  EXPECT_FALSE(pool_->started());
  EXPECT_EQ(ledger_->loads, 2);
  pool_.reset();
  EXPECT_EQ(ledger_->bytes, 0u);
}

TEST_F(ModelPoolTest, AsksForAModelThatLoadsShareOneLoad) {
  std::latch asked(1);
  pool_->start(list(pooled(ledger_, "one", 10, [&] { asked.wait(); })), 10);
  std::vector<Answer> answers_to_come;
  for (int i = 0; i < 20; ++i) answers_to_come.push_back(ask(*pool_, "one"));
  asked.count_down();
  for (Answer& answer : answers_to_come) EXPECT_TRUE(answer.get());
  EXPECT_EQ(ledger_->loads, 1);
}

TEST_F(ModelPoolTest, TheLeastRecentlyUsedMakesRoom) {
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 10), pooled(ledger_, "c", 10)),
               20);
  ASSERT_TRUE(ask(*pool_, "a").get());
  ASSERT_TRUE(ask(*pool_, "b").get());
  ASSERT_TRUE(pool_->lease("a"));  // and so b is the one
  ASSERT_TRUE(ask(*pool_, "c").get());
  EXPECT_EQ(state_of("a"), ModelState::ready);
  EXPECT_EQ(state_of("b"), ModelState::absent);
  EXPECT_EQ(pool_->memory_reserved(), 20u);
  EXPECT_EQ(ledger_->bytes, 20u);
}

TEST_F(ModelPoolTest, ALookAtAModelIsNoUseOfIt) {
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 10), pooled(ledger_, "c", 10)),
               20);
  ASSERT_TRUE(ask(*pool_, "a").get());
  ASSERT_TRUE(ask(*pool_, "b").get());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pool_->ready().size(), 2u);
  ASSERT_TRUE(ask(*pool_, "c").get());
  EXPECT_EQ(state_of("a"), ModelState::absent);
}

TEST_F(ModelPoolTest, AModelThatIsHeldIsNotLetGo) {
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 10)), 10);
  ModelLease held = *ask(*pool_, "a").get();
  Answer other = ask(*pool_, "b");
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_FALSE(is_answered(other));
  EXPECT_TRUE(answers(held));
  held.reset();
  EXPECT_TRUE(answers(*other.get()));
  EXPECT_EQ(state_of("a"), ModelState::absent);
}

TEST_F(ModelPoolTest, AModelThatIsToMakeRoomGivesNoNewLeases) {
  // Or one that is always in use would keep the other out for ever.
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 10)), 10);
  ModelLease held = *ask(*pool_, "a").get();
  Answer other = ask(*pool_, "b");
  EXPECT_TRUE(becomes([&] {
    const auto lease = pool_->lease("a");
    return !lease && lease.error().code == "model_busy";
  }));
  Answer again = ask(*pool_, "a");  // behind b
  held.reset();
  EXPECT_TRUE(answers(*other.get()));  // and is given back at once, so that a comes again
  EXPECT_TRUE(answers(*again.get()));
}

TEST_F(ModelPoolTest, OneThatNobodyUsesMakesRoomBeforeOneThatIsInUse) {
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 10), pooled(ledger_, "c", 10)),
               20);
  const ModelLease held = *ask(*pool_, "a").get();  // used before b, and still
  ASSERT_TRUE(ask(*pool_, "b").get());
  EXPECT_TRUE(ask(*pool_, "c").get());
  EXPECT_EQ(state_of("a"), ModelState::ready);
  EXPECT_EQ(state_of("b"), ModelState::absent);
}

TEST_F(ModelPoolTest, TheFirstThatIsGivenBackMakesRoomWhereAllAreInUse) {
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 10), pooled(ledger_, "c", 10)),
               20);
  const ModelLease held = *ask(*pool_, "a").get();
  ModelLease given_back = *ask(*pool_, "b").get();
  Answer answer = ask(*pool_, "c");  // waits for a, which was used the longest ago
  std::this_thread::sleep_for(milliseconds(20));
  given_back.reset();
  EXPECT_TRUE(answer.get());
  EXPECT_TRUE(answers(held));
}

TEST_F(ModelPoolTest, AnAskThatIsWithdrawnLoadsNothingAndNobodyMakesRoomForIt) {
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 10)), 10);
  ModelLease held = *ask(*pool_, "a").get();
  const auto called = std::make_shared<int>(0);
  const auto withdrawn =
      pool_->acquire("b", TimePoint::max(), [called](const Result<ModelLease>&) { ++*called; });
  EXPECT_TRUE(becomes([&] { return !pool_->lease("a"); }));
  Answer again = ask(*pool_, "a");  // behind b
  EXPECT_FALSE(is_answered(again));
  pool_->withdraw(withdrawn);
  EXPECT_TRUE(again.get());  // at once, while a is held
  pool_->withdraw(withdrawn);
  EXPECT_EQ(called.use_count(), 1);
  EXPECT_EQ(*called, 0);
  EXPECT_EQ(ledger_->loads, 1);
}

TEST_F(ModelPoolTest, APoolThatIsClosedAnswersWhoWaitsEvenWhileAnotherModelLoads) {
  std::latch begun(1), closed(1);
  pool_->start(list(pooled(ledger_, "a", 10,
                           [&] {
                             begun.count_down();
                             closed.wait();
                           }),
                    pooled(ledger_, "b", 10), pinned(pooled(ledger_, "c", 10))),
               30);
  const ModelLease held = *pool_->lease("c");
  Answer loading = ask(*pool_, "a", TimePoint::max()), behind = ask(*pool_, "b", TimePoint::max());
  begun.wait();
  pool_->close();
  ASSERT_TRUE(is_answered(loading));
  ASSERT_TRUE(is_answered(behind));
  EXPECT_EQ(loading.get().error().code, "server_stopping");
  EXPECT_EQ(behind.get().error().code, "server_stopping");
  EXPECT_EQ(pool_->lease("c").error().code, "server_stopping");
  EXPECT_EQ(ask(*pool_, "b").get().error().code, "server_stopping");
  EXPECT_TRUE(answers(held));
  closed.count_down();
  EXPECT_TRUE(becomes([&] { return state_of("a") == ModelState::ready; }));
}

TEST_F(ModelPoolTest, PinnedModelsStay) {
  pool_->start(list(pinned(pooled(ledger_, "a", 10)), pooled(ledger_, "b", 10)), 15);
  EXPECT_EQ(ask(*pool_, "b").get().error().code, "model_too_large");
  EXPECT_EQ(state_of("a"), ModelState::ready);
}

TEST_F(ModelPoolTest, AModelThatIsLargerThanTheBookIsRefusedAndNoneLeavesForIt) {
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 30)), 20);
  ASSERT_TRUE(ask(*pool_, "a").get());
  const Error error = ask(*pool_, "b").get().error();
  EXPECT_EQ(error.code, "model_too_large");
  EXPECT_EQ(error.retry_after_seconds, 0);  // it will be so then too
  EXPECT_EQ(state_of("a"), ModelState::ready);
}

TEST_F(ModelPoolTest, AnAskThatIsNotServedInTimeIsRefusedAndMakesRoomForOthers) {
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 10)), 10);
  const ModelLease held = *ask(*pool_, "a").get();
  const Result<ModelLease> late = ask(*pool_, "b", Clock::now() + milliseconds(20)).get();
  EXPECT_EQ(late.error().code, "model_busy");
  EXPECT_TRUE(becomes([&] { return static_cast<bool>(pool_->lease("a")); }));  // it stays
}

TEST_F(ModelPoolTest, AFailedLoadGivesItsMemoryBackAndIsTriedAgainLater) {
  pool_ = std::make_unique<ModelPool>(PoolTimes{.retry_seconds = 0.2});
  bool broken = true;
  pool_->start(list(pooled(ledger_, "a", 10,
                           [&] {
                             if (broken) throw std::runtime_error("no such file");
                           })),
               10);
  const Error error = ask(*pool_, "a").get().error();
  EXPECT_EQ(error.code, "model_failed");
  EXPECT_THAT(error.message, HasSubstr("no such file"));
  EXPECT_EQ(pool_->memory_reserved(), 0u);
  EXPECT_EQ(pool_->lease("a").error().code, "model_failed");
  EXPECT_EQ(ask(*pool_, "a").get().error().code, "model_failed");
  EXPECT_EQ(ledger_->loads, 1);  // not at every ask
  broken = false;
  EXPECT_TRUE(becomes([&] { return static_cast<bool>(ask(*pool_, "a").get()); }));
  EXPECT_EQ(ledger_->loads, 2);
  EXPECT_EQ(pool_->status()[0].failure, "");
}

TEST_F(ModelPoolTest, ALeaseOutlivesThePool) {
  pool_->start(list(pinned(pooled(ledger_, "a", 10)), pinned(pooled(ledger_, "b", 10))), 20);
  ModelLease held = *pool_->lease("a");
  pool_.reset();
  EXPECT_EQ(ledger_->bytes, 10u);
  EXPECT_TRUE(answers(held));
  held.reset();
  EXPECT_EQ(ledger_->bytes, 0u);
}

TEST_F(ModelPoolTest, AStopAnswersWhoWaits) {
  pool_->start(list(pooled(ledger_, "a", 10), pooled(ledger_, "b", 10)), 10);
  const ModelLease held = *ask(*pool_, "a").get();
  Answer other = ask(*pool_, "b", TimePoint::max());
  pool_.reset();
  ASSERT_TRUE(is_answered(other));
  EXPECT_EQ(other.get().error().code, "server_stopping");
}

TEST_F(ModelPoolTest, AStopWaitsForALoadUnderWayAndLetsItGo) {
  std::latch begun(1);
  pool_->start(list(pooled(ledger_, "a", 10,
                           [&] {
                             begun.count_down();
                             std::this_thread::sleep_for(milliseconds(100));
                           })),
               10);
  Answer answer = ask(*pool_, "a", TimePoint::max());
  begun.wait();
  pool_.reset();
  ASSERT_TRUE(is_answered(answer));
  EXPECT_TRUE(answer.get());  // it was ready, and goes with its lease
  EXPECT_EQ(ledger_->bytes, 0u);
}

// Each allocation that the pool's thread makes between a load and its answers fails in turn:
// whoever asked is answered all the same, and the pool goes on.
TEST_F(ModelPoolTest, EveryAskIsAnsweredWhenThePoolsThreadHasNoMemory) {
  long works = 0;
  const auto ask_in_need = [&](const std::string& name) {
    const auto promise = std::make_shared<std::promise<Result<ModelLease>>>();
    pool_->acquire(name, TimePoint::max(), [promise](Result<ModelLease> lease) {
      testing::make_memory_plentiful();
      promise->set_value(std::move(lease));
    });
    return promise->get_future().get();
  };
  bool failed = true;
  for (; failed; ++works) {
    pool_ = std::make_unique<ModelPool>(PoolTimes{.retry_seconds = 0});
    PooledModel broken = pooled(ledger_, "broken", 10, [&works] {
      testing::make_memory_scarce(works, 3);
      throw std::runtime_error("a sentence that is too long to be kept in place");
    });
    PooledModel whole = pooled(ledger_, "whole", 10);
    whole.load = [load = std::move(whole.load), &works](const LoadProgress& progress) {
      auto engine = load(progress);
      testing::make_memory_scarce(works, 3);
      return engine;
    };
    pool_->start(list(std::move(broken), std::move(whole), pooled(ledger_, "last", 10)), 10);
    testing::allocations_that_failed();
    EXPECT_FALSE(ask_in_need("broken"));
    EXPECT_TRUE(ask_in_need("whole"));
    EXPECT_TRUE(ask(*pool_, "last").get());
    failed = testing::allocations_that_failed() > 0;
    ASSERT_LT(works, 100);
  }
  EXPECT_GT(works, 1);
}

TEST_F(ModelPoolTest, WhoAskedMayGoBeforeTheAnswerAndTakeItsLeaseAlong) {
  pool_->start(list(pooled(ledger_, "one", 10), pooled(ledger_, "two", 10)), 10);
  for (const char* id : {"one", "two", "one"}) {
    auto kept = std::make_shared<ModelLease>();
    std::weak_ptr<ModelLease> last = kept;
    pool_->acquire(id, TimePoint::max(), [kept](Result<ModelLease> lease) { *kept = *lease; });
    kept.reset();  // the lease's last owner is what was called
    EXPECT_TRUE(becomes([&] { return last.expired(); }));
  }
}

class ModelPoolUnloading : public ModelPoolTest {
 protected:
  Result<void> unload(const std::string& id) {
    std::promise<Result<void>> promise;
    pool_->unload(id, [&](Result<void> result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
  }
};

TEST_F(ModelPoolUnloading, TellsHowFarALoadHasCome) {
  std::vector<double> seen;
  const auto look = [&] {
    EXPECT_EQ(pool_->status()[0].state, ModelState::loading);
    seen.push_back(pool_->status()[0].loaded);
  };
  PooledModel one = pooled(ledger_, "one", 10);
  one.load = [&, load = std::move(one.load)](const LoadProgress& progress) {
    look();
    progress(0.25);
    look();
    return load(progress);
  };
  pool_->start(list(std::move(one)), 10);
  for (int time = 0; time < 2; ++time) {  // again from the beginning
    ASSERT_TRUE(ask(*pool_, "one").get());
    EXPECT_EQ(pool_->status()[0].loaded, 0) << "it is not loading";
    EXPECT_TRUE(unload("one"));
  }
  EXPECT_EQ(seen, (std::vector<double>{0, 0.25, 0, 0.25}));
}

TEST_F(ModelPoolUnloading, LetsAModelGoAndLoadsItAgainForWhoAsks) {
  pool_->start(list(pinned(pooled(ledger_, "one", 10)), pooled(ledger_, "two", 10)), 20);
  EXPECT_TRUE(unload("one"));
  EXPECT_EQ(state_of("one"), ModelState::absent);
  EXPECT_EQ(ledger_->bytes, 0u);
  EXPECT_EQ(pool_->memory_reserved(), 0u);
  EXPECT_TRUE(unload("two"));  // it was not there
  EXPECT_TRUE(answers(*ask(*pool_, "one").get()));
  EXPECT_EQ(unload("three").error().code, "model_not_found");
}

TEST_F(ModelPoolUnloading, OneThatIsInUseStaysAndGoesOnAnswering) {
  pool_->start(list(pinned(pooled(ledger_, "one", 10))), 10);
  {
    const ModelLease lease = *pool_->lease("one");
    const Error error = unload("one").error();
    EXPECT_EQ(error.status, 409);
    EXPECT_EQ(error.code, "model_in_use");
    EXPECT_TRUE(answers(lease));
  }
  EXPECT_TRUE(unload("one"));
}

TEST_F(ModelPoolUnloading, WhoOnlyLooksDelaysIt) {
  pool_->start(list(pinned(pooled(ledger_, "one", 10))), 10);
  std::vector<ModelLease> looked = pool_->ready();
  std::promise<Result<void>> promise;
  auto gone = promise.get_future();
  pool_->unload("one", [&](Result<void> result) { promise.set_value(std::move(result)); });
  EXPECT_NE(looked.front()->engine, nullptr);
  EXPECT_EQ(gone.wait_for(milliseconds(20)), std::future_status::timeout);
  looked.clear();
  EXPECT_TRUE(gone.get());
  EXPECT_EQ(state_of("one"), ModelState::absent);
}

TEST_F(ModelPoolUnloading, AnIdleModelGoesByItselfAndPinnedOnesNever) {
  pool_ = std::make_unique<ModelPool>(PoolTimes{.idle_seconds = 0.05});
  pool_->start(list(pinned(pooled(ledger_, "one", 10)), pooled(ledger_, "two", 10)), 20);
  {
    const ModelLease held = *ask(*pool_, "two").get();
    std::this_thread::sleep_for(milliseconds(150));
    EXPECT_EQ(state_of("two"), ModelState::ready);  // in use for longer than that
  }
  EXPECT_TRUE(becomes([&] { return state_of("two") == ModelState::absent; }));
  EXPECT_EQ(state_of("one"), ModelState::ready);
  EXPECT_TRUE(answers(*ask(*pool_, "two").get()));
}

TEST_F(ModelPoolUnloading, WhoUsesAModelSaysHowLongItStays) {
  pool_->start(list(pinned(pooled(ledger_, "one", 10)), pooled(ledger_, "two", 10)), 20);
  {
    const ModelLease held = *ask(*pool_, "two").get();
    pool_->keep_alive("two", 0);
    pool_->keep_alive("one", 0);
    EXPECT_EQ(state_of("two"), ModelState::ready) << "it is in use";
  }
  EXPECT_TRUE(becomes([&] { return state_of("two") == ModelState::absent; }));
  EXPECT_EQ(state_of("one"), ModelState::ready) << "it is to stay";

  ASSERT_TRUE(ask(*pool_, "two").get());
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(state_of("two"), ModelState::ready) << "that held for those who said so";
  pool_->keep_alive("two", 0.02);
  EXPECT_TRUE(becomes([&] { return state_of("two") == ModelState::absent; }));

  pool_ = std::make_unique<ModelPool>(PoolTimes{.idle_seconds = 0.02});
  pool_->start(list(pooled(ledger_, "two", 10)), 20);
  {
    const ModelLease held = *ask(*pool_, "two").get();
    pool_->keep_alive("two", -1);
  }
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(state_of("two"), ModelState::ready) << "until another needs its room";
}

// The end of its engine would wait for the step, and the pool with it.
TEST_F(ModelPoolUnloading, AModelThatHangsIsNotLetGoForAnyReason) {
  std::atomic<bool> stuck{true};
  FakeOptions hanging;
  hanging.before_step = [&](const Batch&, std::uint64_t) {
    while (stuck) std::this_thread::sleep_for(milliseconds(1));
  };
  pool_ = std::make_unique<ModelPool>(PoolTimes{.idle_seconds = 0.01});
  pool_->start(list(pooled(ledger_, "a", 10, {}, hanging), pooled(ledger_, "b", 20),
                    pooled(ledger_, "c", 5)),
               20);
  EXPECT_FALSE(answers(*ask(*pool_, "a").get()));
  EXPECT_TRUE(becomes([&] { return unload("a").error().code == "model_hung"; }));
  EXPECT_EQ(ask(*pool_, "b").get().error().code, "model_busy");
  EXPECT_TRUE(answers(*ask(*pool_, "c").get()));  // others come and go
  EXPECT_TRUE(becomes([&] { return state_of("c") == ModelState::absent; }));
  EXPECT_EQ(state_of("a"), ModelState::ready);
  stuck = false;
  EXPECT_TRUE(becomes([&] { return state_of("a") == ModelState::absent; }));
}

TEST_F(ModelPoolUnloading, IsAnsweredAtAStopToo) {
  pool_->start(list(pinned(pooled(ledger_, "one", 10))), 10);
  std::vector<ModelLease> looked = pool_->ready();
  std::promise<Result<void>> promise;
  pool_->unload("one", [&](Result<void> result) { promise.set_value(std::move(result)); });
  pool_.reset();
  EXPECT_EQ(promise.get_future().get().error().code, "server_stopping");
}

TEST_F(ModelPoolTest, AnAliasMayStandForAllNamesThatBeginSo) {
  PooledModel one = pinned(pooled(ledger_, "one", 10)), two = pinned(pooled(ledger_, "two", 10));
  one.model.aliases = {"gpt-*"};
  two.model.aliases = {"gpt-4o", "*"};
  pool_->start(list(std::move(one), std::move(two)), 20);
  EXPECT_EQ((*pool_->lease("gpt-5"))->id, "one");
  EXPECT_EQ((*pool_->lease("gpt-4o"))->id, "two");  // what is named goes before what is covered
  EXPECT_EQ((*pool_->lease("one"))->id, "one");
  EXPECT_EQ((*pool_->lease("anything"))->id, "two");
}

}  // namespace
}  // namespace mlxd
