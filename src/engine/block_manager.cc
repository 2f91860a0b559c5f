#include "engine/block_manager.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace mlxd {

BlockManager::BlockManager(int blocks)
    : references_(blocks, 0),
      pins_(blocks, 0),
      kept_(blocks, false),
      held_(blocks, false),
      available_(blocks) {
  check(blocks > 0, "a KV pool has blocks");
  place_.reserve(blocks);
  for (int block = 0; block < blocks; ++block) {
    place_.push_back(not_idle_.insert(not_idle_.end(), block));
  }
  const int most_gaps = (blocks + 1) / 2;
  spare_gaps_.reserve(most_gaps);
  for (int i = 0; i < most_gaps; ++i) spare_gaps_.push_back(Gaps{{0, 0}}.extract(0));
  insert_gap(0, blocks);
}

bool BlockManager::allocate(BlockTable& table, int count) {
  if (count > available_) return false;
  while (available_ - idle() < count) evict_oldest();
  table.reserve(table.size() + count);
  while (count > 0) {
    auto gap = table.empty() ? gaps_.end() : gaps_.find(table.back() + 1);
    int first = 0;
    int taken = 0;
    if (gap != gaps_.end()) {
      first = gap->first;
      taken = std::min(count, gap->second);
    } else {
      gap = std::max_element(gaps_.begin(), gaps_.end(),
                             [](const auto& a, const auto& b) { return a.second < b.second; });
      taken = std::min(count, gap->second);
      // A gap behind someone's block is where that table will grow: leave it half of the rest.
      first = gap->first + (gap->first == 0 ? 0 : (gap->second - taken) / 2);
    }
    take(first, taken);
    for (int i = 0; i < taken; ++i) table.push_back(first + i);
    count -= taken;
  }
  return true;
}

void BlockManager::share(const BlockTable& table, BlockTable& copy) {
  check(copy.empty(), "only an empty block table becomes a copy");
  copy = table;
  for (const int block : table) ++references_[block];
}

void BlockManager::own(std::span<const int> blocks) {
  for (const int block : blocks) {
    if (in_use(block)) {
      ++references_[block];
    } else {
      own_kept(block);
    }
  }
}

void BlockManager::give_up(BlockTable& table, int index) noexcept {
  drop(table[index]);
  table[index] = -1;
}

void BlockManager::shorten(BlockTable& table, int blocks) noexcept {
  while (static_cast<int>(table.size()) > blocks) {
    drop(table.back());
    table.pop_back();
  }
}

void BlockManager::release(BlockTable& table) noexcept {
  for (auto block = table.rbegin(); block != table.rend(); ++block) drop(*block);
  table.clear();
}

void BlockManager::reset() noexcept {
  std::ranges::fill(references_, 0);
  std::ranges::fill(pins_, 0);
  std::fill(kept_.begin(), kept_.end(), false);
  std::fill(held_.begin(), held_.end(), false);
  held_count_ = 0;
  not_idle_.splice(not_idle_.end(), idle_);
  not_idle_.splice(not_idle_.end(), idle_held_);
  while (!gaps_.empty()) erase_gap(gaps_.begin());
  insert_gap(0, total());
  available_ = total();
}

std::optional<std::pair<int, int>> BlockManager::unshare(BlockTable& table, int index) {
  BlockTable fresh;
  if (!allocate(fresh, 1)) return std::nullopt;
  const int old = table[index];
  drop(old);
  table[index] = fresh[0];
  return std::pair(old, fresh[0]);
}

void BlockManager::pin(int block) {
  check(references_[block] > 0, "only a block in use is pinned");
  ++references_[block];
  ++pins_[block];
}

void BlockManager::unpin(int block) {
  check(pins_[block] > 0, "only a pinned block is unpinned");
  --pins_[block];
  drop(block);
}

void BlockManager::keep(int block) {
  check(in_use(block), "only a block in use becomes a kept one");
  kept_[block] = true;
}

void BlockManager::forget(int block) {
  check(kept_[block], "only a kept block is forgotten");
  end_hold(block);
  kept_[block] = false;
  if (in_use(block)) return;
  end_idling(block);
  add_to_gaps(block);
}

void BlockManager::adopt(BlockTable& table, std::span<const int> kept) {
  table.insert(table.end(), kept.begin(), kept.end());
  for (const int block : kept) own_kept(block);
}

void BlockManager::replace(BlockTable& table, int index, int kept) {
  own_kept(kept);
  drop(table[index]);
  table[index] = kept;
}

std::vector<int> BlockManager::idle_blocks() const {
  std::vector<int> blocks(idle_.begin(), idle_.end());
  blocks.insert(blocks.end(), idle_held_.begin(), idle_held_.end());
  return blocks;
}

void BlockManager::hold(int block) noexcept {
  check(kept_[block], "only a kept block is held");
  if (held_[block]) return;
  if (!in_use(block)) idle_held_.splice(idle_held_.end(), idle_, place_[block]);
  held_[block] = true;
  ++held_count_;
}

void BlockManager::end_hold(int block) noexcept {
  if (!held_[block]) return;
  if (!in_use(block)) idle_.splice(idle_.end(), idle_held_, place_[block]);
  held_[block] = false;
  --held_count_;
}

void BlockManager::own_kept(int block) {
  check(kept_[block], "only a kept block is found again");
  if (references_[block]++ > 0) return;
  end_idling(block);
  --available_;
}

void BlockManager::evict_oldest() {
  const int block = idle_.empty() ? idle_held_.front() : idle_.front();
  forget(block);
  if (evicted_) evicted_(block);
}

void BlockManager::take(int first, int count) {
  auto gap = std::prev(gaps_.upper_bound(first));
  const auto [start, length] = *gap;
  const int behind = start + length - (first + count);
  check(behind >= 0, "blocks are taken out of one gap");
  if (first == start) {
    erase_gap(gap);
  } else {
    gap->second = first - start;
  }
  if (behind > 0) insert_gap(first + count, behind);
  for (int block = first; block < first + count; ++block) references_[block] = 1;
  available_ -= count;
}

void BlockManager::drop(int block) {
  check(references_[block] > 0, "a block is given up once by each owner");
  if (--references_[block] > 0) return;
  ++available_;
  if (kept_[block]) {
    make_idle(block);
  } else {
    add_to_gaps(block);
  }
}

void BlockManager::add_to_gaps(int block) {
  auto next = gaps_.upper_bound(block);
  int length = 1;
  if (next != gaps_.end() && next->first == block + 1) {
    length += next->second;
    next = erase_gap(next);
  }
  if (next != gaps_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == block) {
      before->second += length;
      return;
    }
  }
  insert_gap(block, length);
}

void BlockManager::insert_gap(int first, int length) {
  Gaps::node_type gap = std::move(spare_gaps_.back());
  spare_gaps_.pop_back();
  gap.key() = first;
  gap.mapped() = length;
  gaps_.insert(std::move(gap));
}

BlockManager::Gaps::iterator BlockManager::erase_gap(Gaps::iterator gap) {
  const auto next = std::next(gap);
  spare_gaps_.push_back(gaps_.extract(gap));
  return next;
}

void BlockManager::make_idle(int block) {
  std::list<int>& idle = idle_list(block);
  idle.splice(idle.end(), not_idle_, place_[block]);
}

void BlockManager::end_idling(int block) {
  not_idle_.splice(not_idle_.end(), idle_list(block), place_[block]);
}

void BlockManager::check_integrity(std::span<const BlockTable* const> tables) const {
  std::vector<int> expected(references_.size(), 0);
  for (const BlockTable* table : tables) {
    for (const int block : *table) {
      check(block >= 0 && block < total(), "a block table names blocks of the pool");
      ++expected[block];
    }
  }
  check(expected == references_, "block references are those of the block tables");
  int free = 0;
  int end_of_last = -1;
  for (const auto& [first, length] : gaps_) {
    check(length > 0 && first > end_of_last, "gaps are apart and in order");
    end_of_last = first + length;
    for (int block = first; block < first + length; ++block) {
      check(references_[block] == 0 && !kept_[block], "a free block has no owner and is not kept");
    }
    free += length;
  }
  for (const int block : idle_blocks()) {
    check(references_[block] == 0 && kept_[block], "an idle block is kept and has no owner");
    check(*place_[block] == block, "an idle block knows its place");
  }
  for (const int block : idle_held_) check(held_[block], "held blocks idle by themselves");
  for (const int block : idle_) check(!held_[block], "others among themselves");
  check(held_count_ == std::ranges::count(held_, true), "what is held is counted");
  check(free + idle() == available_, "the free blocks are all in the gaps");
  check(available_ == std::count(references_.begin(), references_.end(), 0), "no block is lost");
}

}  // namespace mlxd
