#include "engine/block_pools.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace mlxd {

BlockPools::BlockPools(int blocks) : kv_groups_(1) { add_full(blocks); }

BlockPools::BlockPools(std::span<const KvGroup> groups, int block_size, const CachePlan& plan)
    : block_size_(block_size), kv_groups_(static_cast<int>(groups.size())) {
  check(groups.size() <= kMaxKvGroups && groups.size() == plan.size.blocks.size(),
        "every KV group has its pool");
  pools_.reserve(groups.size() + 1);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const int blocks = plan.size.blocks[i];
    if (groups[i].window == 0) {
      check(full_ < 0, "layers without a window are one KV group");
      add_full(blocks);
      continue;
    }
    windowed_ = true;
    pools_.emplace_back(blocks);
    windows_.push_back(groups[i].window);
    reserve_.push_back(plan.reserve[i]);
    surplus_.push_back(blocks - plan.reserved(i));
    excess_.push_back(0);
    check(surplus_[i] >= 0, "a windowed group has the reserve of every running sequence");
  }
  if (full_ < 0) add_full(plan.token_blocks);
}

void BlockPools::add_full(int blocks) {
  full_ = groups();
  pools_.emplace_back(blocks);
  for (auto* figures : {&windows_, &reserve_, &surplus_, &excess_}) figures->push_back(0);
}

int BlockPools::sum(int (BlockManager::*figure)() const) const {
  int all = 0;
  for (int group = 0; group < kv_groups_; ++group) all += (pools_[group].*figure)();
  return all;
}

std::size_t BlockPools::bytes_kept(std::span<const KvGroup> groups) const {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    bytes += groups[i].block_bytes * static_cast<std::size_t>(pools_[i].used() + pools_[i].idle());
  }
  return bytes;
}

int BlockPools::idle_of(const BlockTables& found) const {
  return static_cast<int>(std::ranges::count_if(
      found.of(full_), [&](int block) { return !pools_[full_].in_use(block); }));
}

int BlockPools::room(const BlockTables& tables) const {
  int room = available();
  for (int group = 0; group < groups(); ++group) {
    if (group == full_) continue;
    const int reach = static_cast<int>(tables.of(group).size());
    room = std::min(room, pools_[group].available() - (tables.size() - reach));
  }
  return room;
}

bool BlockPools::allocate(BlockTables& tables, int count) {
  if (!pools_[full_].allocate(tables.tables_[full_], count)) return false;
  tables.size_ += count;
  return true;
}

int BlockPools::rows_in_windows(const BlockTables& tables, int position, int rows) const {
  for (int group = 0; group < groups(); ++group) {
    if (group == full_) continue;
    const int left = std::max(surplus_[group] - excess_[group], 0);
    const int blocks = tables.let_go_[group] + std::max(tables.held(group), reserve_[group]) + left;
    rows = std::min<std::int64_t>(rows, std::int64_t{blocks} * block_size_ - position);
  }
  return rows;
}

void BlockPools::cover_windows(BlockTables& tables, int end) {
  for (int group = 0; group < groups(); ++group) {
    if (group == full_) continue;
    BlockTable& table = tables.tables_[group];
    const int missing = (end + block_size_ - 1) / block_size_ - static_cast<int>(table.size());
    if (missing <= 0) continue;
    const int before = excess(tables, group);
    // A table that begins with -1 has no neighbour to continue: BlockManager looks at its last.
    check(pools_[group].allocate(table, missing), "a windowed group has what it reserves");
    excess_[group] += excess(tables, group) - before;
  }
}

void BlockPools::share(const BlockTables& tables, BlockTables& copy) {
  check(copy.empty(), "only empty block tables become a copy");
  BlockTables made = tables;  // all or, for want of memory, none
  copy = std::move(made);
  for (int group = 0; group < groups(); ++group) {
    pools_[group].own(std::span(tables.of(group)).subspan(tables.let_go_[group]));
    excess_[group] += excess(copy, group);
  }
}

void BlockPools::shorten(BlockTables& tables, int blocks) noexcept {
  tables.size_ = std::min(tables.size_, blocks);
  for (int group = 0; group < groups(); ++group) {
    excess_[group] -= excess(tables, group);
    pools_[group].shorten(tables.tables_[group], std::max(blocks, tables.let_go_[group]));
    excess_[group] += excess(tables, group);
  }
}

void BlockPools::release(BlockTables& tables) noexcept {
  for (int group = 0; group < groups(); ++group) {
    excess_[group] -= excess(tables, group);
    pools_[group].shorten(tables.tables_[group], tables.let_go_[group]);
    tables.tables_[group].clear();
    tables.let_go_[group] = 0;
  }
  tables.size_ = 0;
}

void BlockPools::reset() noexcept {
  for (BlockManager& pool : pools_) pool.reset();
  std::ranges::fill(excess_, 0);
}

void BlockPools::let_go_windows(BlockTables& tables, int position) noexcept {
  for (int group = 0; group < groups(); ++group) {
    if (group == full_) continue;
    const int first = std::max(position - windows_[group] + 1, 0) / block_size_;
    BlockTable& table = tables.tables_[group];
    excess_[group] -= excess(tables, group);
    const int end = std::min(first, static_cast<int>(table.size()));
    for (int& gone = tables.let_go_[group]; gone < end; ++gone) {
      pools_[group].give_up(table, gone);
    }
    excess_[group] += excess(tables, group);
  }
}

bool BlockPools::shared_at(const BlockTables& tables, int group, int index) const {
  const BlockTable& table = tables.of(group);
  return index < static_cast<int>(table.size()) && table[index] >= 0 &&
         pools_[group].is_shared(table[index]);
}

bool BlockPools::is_shared_in_any(const BlockTables& tables, int index) const {
  for (int group = 0; group < groups(); ++group) {
    if (shared_at(tables, group, index)) return true;
  }
  return false;
}

bool BlockPools::unshare(BlockTables& tables, int index, std::vector<BlockCopy>& copies) {
  for (int group = 0; group < groups(); ++group) {
    if (shared_at(tables, group, index) && pools_[group].available() == 0) return false;
  }
  copies.reserve(copies.size() + groups());
  for (int group = 0; group < groups(); ++group) {
    if (!shared_at(tables, group, index)) continue;
    const auto copy = pools_[group].unshare(tables.tables_[group], index);
    check(copy.has_value(), "blocks that were counted are there");
    if (group >= kv_groups_) continue;  // nothing lies in it
    pools_[group].pin(copy->first);
    copies.push_back({group, copy->first, copy->second});
  }
  return true;
}

void BlockPools::adopt(BlockTables& tables, const BlockTables& found) {
  check(tables.empty(), "a prefix is where a sequence begins");
  share(found, tables);
}

void BlockPools::check_integrity(std::span<const BlockTables* const> tables,
                                 std::span<const BlockCopy> copies) const {
  for (int group = 0; group < groups(); ++group) {
    BlockTable pinned;
    for (const BlockCopy& copy : copies) {
      if (copy.group == group) pinned.push_back(copy.from);
    }
    std::vector<BlockTable> held;  // without what was let go
    int excess_held = 0;
    for (const BlockTables* one : tables) {
      const BlockTable& table = one->of(group);
      const int gone = one->let_go_[group];
      check(std::all_of(table.begin(), table.begin() + gone, [](int block) { return block == -1; }),
            "what was let go is no block");
      check(group == full_ ? gone == 0 && static_cast<int>(table.size()) == one->size()
                           : static_cast<int>(table.size()) <= one->size(),
            "tables are as long as they say");
      held.emplace_back(table.begin() + gone, table.end());
      excess_held += excess(*one, group);
    }
    std::vector<const BlockTable*> pointers{&pinned};
    for (const BlockTable& table : held) pointers.push_back(&table);
    pools_[group].check_integrity(pointers);
    if (group == full_) continue;
    check(excess_held == excess_[group], "what is held beyond the reserves is counted");
  }
}

}  // namespace mlxd
