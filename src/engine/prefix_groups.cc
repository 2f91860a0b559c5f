#include "engine/prefix_groups.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace mlxd {

PrefixGroups::PrefixGroups(BlockPools& pools, int block_size, StatePool* states)
    : pools_(pools),
      block_size_(block_size),
      full_(pools.full_group()),
      cache_(pools.pool(full_), block_size),
      windowed_(pools.groups()),
      states_(states),
      held_until_(pools.pool(full_).total()) {
  for (int group = 0; group < pools_.groups(); ++group) {
    if (!is_windowed(group)) continue;
    windowed_[group].beside.assign(pools_.pool(full_).total(), -1);
    windowed_[group].whose.assign(pools_.pool(group).total(), -1);
    pools_.pool(group).on_evict([this, group](int block) {
      Windowed& windowed = windowed_[group];
      windowed.beside[std::exchange(windowed.whose[block], -1)] = -1;
    });
  }
  if (states_ != nullptr) {
    snapshots_.after.assign(pools_.pool(full_).total(), -1);
    snapshots_.whose.assign(states_->total(), -1);
    states_->on_evict([this](int slot) { lose_state(slot); });
  }
  cache_.set_listener(this);
}

PrefixGroups::~PrefixGroups() {
  if (states_ != nullptr) states_->on_evict({});
  for (int group = 0; group < pools_.groups(); ++group) {
    if (is_windowed(group)) pools_.pool(group).on_evict({});
  }
}

BlockTables PrefixGroups::find(std::uint64_t salt, const PrefixTokens& tokens,
                               bool with_state) const {
  BlockTables found;
  BlockTable& blocks = found.tables_[full_];
  blocks = cache_.find(salt, tokens);
  // The first block that the row behind `end` blocks reads.
  const auto first_read = [&](int group, int end) {
    return std::max(end * block_size_ - pools_.window(group) + 1, 0) / block_size_;
  };
  std::array<int, kMaxKvGroups> kept{};  // so many in a row, up to `end`
  for (int end = 1; end <= static_cast<int>(blocks.size()); ++end) {
    bool whole = !with_state || snapshots_.after[blocks[end - 1]] >= 0;
    for (int group = 0; group < pools_.groups(); ++group) {
      if (!is_windowed(group)) continue;
      kept[group] = block_in(group, blocks[end - 1]) < 0 ? 0 : kept[group] + 1;
      whole = whole && kept[group] >= end - first_read(group, end);
    }
    if (whole) found.size_ = end;
  }
  blocks.resize(found.size_);
  for (int group = 0; group < pools_.groups(); ++group) {
    if (!is_windowed(group)) continue;
    const int first = std::min(first_read(group, found.size_), found.size_);
    BlockTable& table = found.tables_[group];
    table.assign(first, -1);
    for (int i = first; i < found.size_; ++i) table.push_back(block_in(group, blocks[i]));
    found.let_go_[group] = first;
  }
  return found;
}

int PrefixGroups::enter(std::uint64_t salt, const PrefixTokens& tokens, BlockTables& tables,
                        int entered) {
  entering_ = &tables;
  index_ = entered;
  const int now = cache_.enter(salt, tokens, tables.tables_[full_], entered);
  entering_ = nullptr;
  for (int i = entered; i < now; ++i) attach(tables.of(full_)[i], tables, i);
  return now;
}

// What the sequence has at `index` in windowed groups hangs on the block from now on, or is given
// up for what does already.
void PrefixGroups::attach(int block, BlockTables& tables, int index) {
  for (int group = 0; group < pools_.groups(); ++group) {
    if (!is_windowed(group)) continue;
    BlockTable& table = tables.tables_[group];
    if (index >= static_cast<int>(table.size()) || table[index] < 0) continue;
    const int own = table[index];
    int& beside = windowed_[group].beside[block];
    int& whose = windowed_[group].whose[own];
    if (beside == own || whose >= 0) continue;
    if (beside >= 0) {
      pools_.pool(group).replace(table, index, beside);
    } else {
      beside = own;
      whose = block;
      pools_.pool(group).keep(own);
    }
  }
}

int PrefixGroups::state_after(const BlockTables& found) const {
  return states_ == nullptr || found.empty() ? -1 : snapshots_.after[found.of(full_).back()];
}

bool PrefixGroups::keep_state(const BlockTables& tables, int blocks, int slot) noexcept {
  const int block = tables.of(full_)[blocks - 1];
  if (!cache_.contains(block) || snapshots_.after[block] >= 0) return false;
  check(snapshots_.whose[slot] < 0, "a slot is one snapshot");
  snapshots_.after[block] = slot;
  snapshots_.whose[slot] = block;
  states_->keep(slot);
  if (listener_ != nullptr) listener_->on_keep_state(block);
  return true;
}

void PrefixGroups::note_lasting(const BlockTables& tables, int blocks) noexcept {
  const int block = tables.of(full_)[blocks - 1];
  if (listener_ != nullptr && snapshots_.after[block] >= 0) listener_->on_lasting_state(block);
}

void PrefixGroups::let_state_go_first(const BlockTables& tables, int blocks) noexcept {
  const int slot = snapshots_.after[tables.of(full_)[blocks - 1]];
  if (slot >= 0) states_->go_first(slot);
}

// A block is held at least as long as what continues it, which goes before it anyway. So ends of
// prefixes are let go first here as well.
void PrefixGroups::hold(const BlockTables& tables, int blocks, std::chrono::seconds time) noexcept {
  BlockManager& pool = pools_.pool(full_);
  const auto most = static_cast<int>(pool.total() * kHeldShare);
  int held = 0;
  for (; held < blocks; ++held) {
    const int block = tables.of(full_)[held];
    if (!cache_.contains(block)) break;
    if (!pool.is_held(block)) {
      if (pool.held() >= most && pool.idle_held().empty()) break;
      if (pool.held() >= most) end_hold(pool.idle_held().front());
      pool.hold(block);
      held_until_[block] = {};
    }
    held_until_[block] = std::max(held_until_[block], now_ + time);
  }
  if (held > 0) hold_beside(tables, held);
}

// The last window of each windowed group, and the last states.
void PrefixGroups::hold_beside(const BlockTables& tables, int blocks) noexcept {
  constexpr int kHeldStates = 3;  // of an answer's end, its prompt's, and its messages'
  const BlockTable& table = tables.of(full_);
  const auto may_hold = [](const auto& pool) { return pool.held() < pool.total() * kHeldShare; };
  for (int group = 0; group < pools_.groups(); ++group) {
    if (!is_windowed(group)) continue;
    const int first = std::max(blocks * block_size_ - pools_.window(group) + 1, 0) / block_size_;
    for (int i = blocks - 1; i >= first && may_hold(pools_.pool(group)); --i) {
      if (const int beside = block_in(group, table[i]); beside >= 0)
        pools_.pool(group).hold(beside);
    }
  }
  if (states_ == nullptr) return;
  for (int i = blocks - 1, held = 0; i >= 0 && held < kHeldStates && may_hold(*states_); --i) {
    if (snapshots_.after[table[i]] < 0) continue;
    states_->hold(snapshots_.after[table[i]]);
    ++held;
  }
}

void PrefixGroups::end_hold(int block) noexcept {
  pools_.pool(full_).end_hold(block);
  for (int group = 0; group < pools_.groups(); ++group) {
    if (!is_windowed(group)) continue;
    if (const int beside = block_in(group, block); beside >= 0) pools_.pool(group).end_hold(beside);
  }
  if (states_ != nullptr && snapshots_.after[block] >= 0)
    states_->end_hold(snapshots_.after[block]);
}

// A block that is in use is held until it is not, and looked at again then.
void PrefixGroups::set_now(TimePoint now) noexcept {
  now_ = now;
  const std::list<int>& held = pools_.pool(full_).idle_held();
  for (auto block = held.begin(); block != held.end();) {
    const int each = *block++;  // the end of its hold takes it out of the list
    if (held_until_[each] <= now) end_hold(each);
  }
}

void PrefixGroups::forget_state(int slot) noexcept {
  lose_state(slot);
  states_->forget(slot);
}

void PrefixGroups::lose_state(int slot) noexcept {
  const int block = std::exchange(snapshots_.whose[slot], -1);
  snapshots_.after[block] = -1;
  if (listener_ != nullptr) listener_->on_lose_state(block);
}

void PrefixGroups::detach(int block) noexcept {
  if (states_ != nullptr && snapshots_.after[block] >= 0) forget_state(snapshots_.after[block]);
  for (int group = 0; group < pools_.groups(); ++group) {
    if (!is_windowed(group)) continue;
    const int beside = std::exchange(windowed_[group].beside[block], -1);
    if (beside < 0) continue;
    windowed_[group].whose[beside] = -1;
    pools_.pool(group).forget(beside);
  }
}

// Whoever listens may want to copy the blocks of all groups.
void PrefixGroups::on_enter(int block, int parent, std::uint64_t salt, std::span<const int> words) {
  while (entering_->of(full_)[index_] != block) ++index_;
  attach(block, *entering_, index_);
  if (listener_ != nullptr) listener_->on_enter(block, parent, salt, words);
}

void PrefixGroups::on_evict(int block) {
  detach(block);
  if (listener_ != nullptr) listener_->on_evict(block);
}

void PrefixGroups::on_forget(int block) {
  detach(block);
  if (listener_ != nullptr) listener_->on_forget(block);
}

void PrefixGroups::check_integrity() const {
  cache_.check_integrity();
  for (std::size_t slot = 0; slot < snapshots_.whose.size(); ++slot) {
    const int block = snapshots_.whose[slot];
    check(states_->is_kept(static_cast<int>(slot)) == (block >= 0),
          "snapshots are the slots that are kept");
    check(block < 0 || snapshots_.after[block] == static_cast<int>(slot),
          "a snapshot hangs on one");
    check(block < 0 || cache_.contains(block), "snapshots hang on blocks of the cache");
  }
  for (int group = 0; group < pools_.groups(); ++group) {
    if (!is_windowed(group)) continue;
    const auto& [beside, whose] = windowed_[group];
    for (std::size_t block = 0; block < beside.size(); ++block) {
      if (beside[block] < 0) continue;
      check(cache_.contains(static_cast<int>(block)), "blocks hang on those of the cache");
      check(whose[beside[block]] == static_cast<int>(block), "a block hangs on one");
    }
    for (std::size_t block = 0; block < whose.size(); ++block) {
      check(pools_.pool(group).is_kept(static_cast<int>(block)) == (whose[block] >= 0),
            "what hangs on a block of the cache is kept, and nothing else");
      check(whose[block] < 0 || beside[whose[block]] == static_cast<int>(block),
            "a block knows on which it hangs");
    }
  }
}

}  // namespace mlxd
