#include "backend/cpu/work_shares.h"

#include <vector>

#include <gtest/gtest.h>

namespace mlxd::cpu {
namespace {

// What worker `of` takes of a phase of `units` in equal parts, until nothing is left.
std::vector<int> take_all(WorkShares& shares, int of, int workers, int phase, int units) {
  std::vector<int> taken;
  shares.run(
      of, phase, [&](int worker) { return units * worker / workers; }, 1,
      [&](int first, int end) {
        for (int unit = first; unit < end; ++unit) taken.push_back(unit);
      });
  return taken;
}

TEST(WorkShares, BeginWithAWorkersOwnPartFromItsFrontInEverSmallerPieces) {
  WorkShares shares(1);
  std::vector<int> ends;
  shares.run(
      0, 0, [](int worker) { return 40 * worker; }, 3, [&](int, int end) { ends.push_back(end); });
  EXPECT_EQ(ends, (std::vector<int>{20, 30, 35, 38, 40}));
}

TEST(WorkShares, GiveTheOthersWhatAWorkerIsLateForFromItsBack) {
  WorkShares shares(2);
  std::vector<int> firsts;
  shares.run(
      1, 0, [](int worker) { return 40 * worker; }, 3,
      [&](int first, int) { firsts.push_back(first); });
  EXPECT_EQ(firsts, (std::vector<int>{40, 60, 70, 75, 78, 20, 10, 5, 2, 0}));
}

TEST(WorkShares, HaveNothingLeftForWhoComesToAPhaseThatIsOver) {
  WorkShares shares(2);
  EXPECT_EQ(take_all(shares, 0, 2, 0, 10).size(), 10);
  EXPECT_TRUE(take_all(shares, 1, 2, 0, 10).empty());
  EXPECT_EQ(take_all(shares, 0, 2, 1, 12).size(), 12);
  EXPECT_TRUE(take_all(shares, 1, 2, 0, 10).empty());
  EXPECT_TRUE(take_all(shares, 1, 2, 1, 12).empty());
}

TEST(WorkShares, LeaveALaterPhaseWholeThatALateWorkerMeetsInAnEarlierOne) {
  WorkShares shares(2);
  EXPECT_EQ(take_all(shares, 0, 2, 0, 10).size(), 10);
  int pieces = 0;
  shares.run(
      0, 1, [](int worker) { return 50 * worker; }, 1,
      [&](int, int) {
        if (pieces++ == 0) {
          EXPECT_TRUE(take_all(shares, 1, 2, 0, 10).empty());
        }
      });
  EXPECT_GT(pieces, 1);
}

TEST(WorkShares, DealOutInOrderOneByOne) {
  WorkShares shares(3);
  std::vector<int> taken;
  for (int phase = 0; phase < 2; ++phase) {
    shares.run_in_order(phase, 3, [&](int first, int end) {
      EXPECT_EQ(end, first + 1);
      taken.push_back(first);
    });
  }
  EXPECT_EQ(taken, (std::vector<int>{0, 1, 2, 0, 1, 2}));
  shares.run_in_order(0, 3, [&](int, int) { FAIL() << "of a phase that is over"; });
}

TEST(WorkShares, BeginAnew) {
  WorkShares shares(2);
  for (int job = 0; job < 3; ++job) {
    shares.begin();
    EXPECT_EQ(take_all(shares, 1, 2, 0, 7).size(), 7);
    EXPECT_EQ(take_all(shares, 1, 2, 1, 9).size(), 9);
  }
}

}  // namespace
}  // namespace mlxd::cpu
