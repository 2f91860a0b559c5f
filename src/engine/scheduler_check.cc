#include <algorithm>
#include <set>
#include <vector>

#include "base/check.h"
#include "engine/scheduler.h"

namespace mlxd {

void Scheduler::check_integrity(int moved) const {
  std::vector<const BlockTables*> tables;
  const std::vector<const PlannedStep*> steps{&older_, &step_};
  std::vector<BlockCopy> copies;
  std::set<const Sequence*> ended;  // with rows in flight
  for (const PlannedStep* step : steps) {
    copies.insert(copies.end(), step->copies.begin(), step->copies.end());
    for (const StepPart& part : step->parts) {
      if (part.sequence->steps_ahead > 0 && part.sequence->state == Sequence::State::finished) {
        ended.insert(part.sequence);
      }
    }
  }
  for (const Sequence* sequence : ended) tables.push_back(&sequence->blocks);
  for (const Sequence* sequence : running_) {
    check(sequence->state == Sequence::State::running, "running sequences know that they run");
    check(sequence->blocks.size() >= blocks_for(sequence->computed),
          "a running sequence has a block for each token in the KV cache");
    check(sequence->cached_blocks <= sequence->computed / limits_.block_size,
          "only what is computed is in the prefix cache");
    check(sequence->computed < sequence->length(), "a running sequence has something to compute");
    check(std::max(sequence->planned(), sequence->computed_kv) >= sequence->expected_length() - 1 ||
              queue_.is_starting(*sequence),
          "who is neither decoding nor in flight with all it has is in the queue");
    tables.push_back(&sequence->blocks);
  }
  check(std::ranges::is_sorted(running_, FirstFirst()), "running: as they are served");
  queue_.check_integrity();
  blocks_.check_integrity(tables, copies);
  states_.check_integrity(running_, steps, moved);
  if (cache_ != nullptr) cache_->check_integrity();
}

}  // namespace mlxd
