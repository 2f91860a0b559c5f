// Random operations on a Scheduler with its BlockPools, StatePool, PromptQueue and PrefixGroups,
// against what these promise: with windows and without, with recurrent states, with slots for these
// that are scarce, and with a step planned while another is in flight.
#include "engine/scheduler_world.h"

namespace mlxd::testing {
namespace {

constexpr int kOperations = 1'000'000;
constexpr int kSeeds = 24;

class SchedulerModel : public ::testing::TestWithParam<int> {};

TEST_P(SchedulerModel, KeepsItsPromisesOverRandomOperations) {
  World world(GetParam());
  world.run(kOperations / kSeeds);
  // The operations are such that there was something to promise.
  EXPECT_GT(world.finished(), kOperations / kSeeds / 50);
  EXPECT_GT(world.accepted(), kOperations / kSeeds / 100);
  EXPECT_GT(world.preemptions(), 10u);
  if (world.finds()) {
    EXPECT_GT(world.found(), 100);
  }
  if (world.saves_in_place()) {
    EXPECT_GT(world.recomputed(), 10);
  }
  if (world.plans_ahead()) {
    EXPECT_GT(world.planned_ahead(), 100);
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, SchedulerModel, ::testing::Range(0, kSeeds));

}  // namespace
}  // namespace mlxd::testing
