#include "engine/state_pool.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

using Slots = std::vector<int>;

TEST(StatePool, HandsOutEverySlotOnceUntilAllHaveOwners) {
  StatePool pool(3);
  Slots taken;
  for (int i = 0; i < 3; ++i) taken.push_back(pool.take());
  EXPECT_EQ(pool.take(), -1);
  EXPECT_EQ(pool.available(), 0);
  pool.check_integrity(taken);
  pool.drop(taken[1]);
  EXPECT_EQ(pool.take(), taken[1]);
}

TEST(StatePool, ASlotIsFreeWhenItsLastOwnerLetsGo) {
  StatePool pool(1);
  const int slot = pool.take();
  pool.share(slot);
  pool.drop(slot);
  EXPECT_EQ(pool.available(), 0);
  pool.drop(slot);
  EXPECT_EQ(pool.available(), 1);
  pool.check_integrity({});
}

TEST(StatePool, KeptSlotsAreIdleWithoutOwnersAndTheOneLetGoLongestAgoGoesFirst) {
  StatePool pool(3);
  Slots evicted;
  pool.on_evict([&](int slot) { evicted.push_back(slot); });
  const int a = pool.take(), b = pool.take(), c = pool.take();
  pool.keep(a);
  pool.keep(b);
  pool.drop(b);
  pool.drop(a);
  EXPECT_EQ(pool.idle(), 2);
  EXPECT_EQ(pool.used(), 1);
  pool.drop(c);
  EXPECT_EQ(pool.take(), c) << "a free slot before any that is kept";
  EXPECT_EQ(pool.take(), b);
  EXPECT_FALSE(pool.is_kept(b));
  pool.share(a);  // found again
  EXPECT_EQ(pool.take(), -1);
  EXPECT_EQ(evicted, Slots{b});
  pool.check_integrity(Slots{a, b, c});
}

TEST(StatePool, WhatIsToGoFirstGoesBeforeWhatIsOlder) {
  StatePool pool(2);
  const int a = pool.take(), b = pool.take();
  for (const int slot : {a, b}) {
    pool.keep(slot);
    pool.drop(slot);
  }
  pool.go_first(b);
  EXPECT_EQ(pool.take(), b);
  EXPECT_TRUE(pool.is_kept(a));
}

TEST(StatePool, AForgottenSlotIsFreeOnceNobodyHasIt) {
  StatePool pool(2);
  const int used = pool.take(), idle = pool.take();
  for (const int slot : {used, idle}) pool.keep(slot);
  pool.drop(idle);
  pool.forget(used);
  pool.forget(idle);
  EXPECT_EQ(pool.idle(), 0);
  EXPECT_EQ(pool.available(), 1);
  pool.drop(used);
  EXPECT_EQ(pool.available(), 2);
  pool.check_integrity({});
}

TEST(StatePool, AfterAResetEverySlotIsFreeWhoeverHadIt) {
  StatePool pool(3);
  pool.keep(pool.take());
  const int idle = pool.take();
  pool.keep(idle);
  pool.drop(idle);
  pool.reset();
  pool.check_integrity({});
  EXPECT_EQ(pool.available(), 3);
  EXPECT_EQ(pool.idle(), 0);
}

TEST(StatePool, StaysWholeOverRandomOperations) {
  StatePool pool(12);
  std::mt19937 random(4);
  Slots owned, kept;
  pool.on_evict([&](int slot) { std::erase(kept, slot); });
  const auto pick = [&](Slots& slots) -> int& { return slots[random() % slots.size()]; };
  for (int i = 0; i < 20'000; ++i) {
    switch (random() % 6) {
      case 0:
        if (const int slot = pool.take(); slot >= 0) {
          owned.push_back(slot);
        } else {
          ASSERT_EQ(pool.available(), 0);
        }
        break;
      case 1:
        if (!kept.empty()) {
          owned.push_back(pick(kept));
          pool.share(owned.back());
        }
        break;
      case 2:
        if (owned.empty()) break;
        if (const int slot = pick(owned); !pool.is_kept(slot)) {
          pool.keep(slot);
          kept.push_back(slot);
        }
        break;
      case 3:
        if (!kept.empty()) {
          const int slot = pick(kept);
          pool.forget(slot);
          std::erase(kept, slot);
        }
        break;
      default:
        if (!owned.empty()) {
          std::swap(pick(owned), owned.back());
          pool.drop(owned.back());
          owned.pop_back();
        }
    }
    if (i % 50 == 0) pool.check_integrity(owned);
    ASSERT_EQ(pool.used() + pool.available(), 12);
  }
}

}  // namespace
}  // namespace mlxd
