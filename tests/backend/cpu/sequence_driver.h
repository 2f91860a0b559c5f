// Drives a runner as the engine would: sequences with block tables of their own, any of whose next
// tokens make up a batch.
#pragma once

#include <algorithm>
#include <map>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "engine/model_runner.h"

namespace mlxd::cpu {

class SequenceDriver {
 public:
  // Every KV group has `blocks` blocks; of a model with states there are as many slots.
  SequenceDriver(ModelRunner& runner, int blocks, unsigned seed = 1)
      : SequenceDriver(
            runner,
            CacheSize::of(runner.info(), blocks, runner.info().state_bytes > 0 ? blocks : 0),
            seed) {}
  SequenceDriver(ModelRunner& runner, const CacheSize& size, unsigned seed = 1)
      : runner_(runner), random_(seed) {
    runner.resize_cache(size);
    for (const int blocks : size.blocks) {
      std::vector<int>& free = free_.emplace_back();
      for (int block = 0; block < blocks; ++block) free.push_back(block);
      std::shuffle(free.begin(), free.end(), random_);
    }
    for (int slot = 0; slot < size.states; ++slot) free_states_.push_back(slot);
    std::shuffle(free_states_.begin(), free_states_.end(), random_);
  }

  // From now on blocks are given up when no later row sees what is in them.
  void let_windows_go() { lets_go_ = true; }

  // A new sequence of these tokens, none computed yet, of which the first `prompt_length` are a
  // prompt's and the others were generated.
  int add(std::vector<int> tokens, int prompt_length = 0) {
    sequences_.push_back({std::move(tokens), prompt_length, 0, std::vector<Table>(groups()), -1});
    return static_cast<int>(sequences_.size()) - 1;
  }
  // A sequence that shares what `parent` has computed and goes on with other tokens. The block that
  // both would write to is copied with the next step.
  int fork(int parent, const std::vector<int>& rest) {
    const Sequence from = sequences_[parent];
    Sequence child = from;
    child.tokens.resize(from.computed);
    child.tokens.insert(child.tokens.end(), rest.begin(), rest.end());
    if (from.computed % block_size() != 0) {
      const int last = from.computed / block_size();
      for (int group = 0; group < groups(); ++group) {
        const int copy = take(group);
        copies_.push_back({group, from.tables[group][last], copy});
        child.tables[group].resize(last);
        child.tables[group].push_back(copy);
      }
    }
    if (from.state >= 0) {  // a copy, by the way that takes states to and from a disk
      std::vector<std::byte> state(runner_.info().state_bytes);
      runner_.export_state(from.state, 0, state);
      child.state = take_state();
      runner_.import_state(child.state, 0, state);
    }
    sequences_.push_back(std::move(child));
    return static_cast<int>(sequences_.size()) - 1;
  }
  void release(int sequence) {
    Sequence& it = sequences_[sequence];
    for (int group = 0; group < groups(); ++group) {
      for (const int block : it.tables[group]) give_back(group, block);
    }
    if (it.state >= 0) free_states_.push_back(it.state);
    it = {};
  }

  int left(int sequence) const {
    return static_cast<int>(sequences_[sequence].tokens.size()) - sequences_[sequence].computed;
  }

  struct Part {
    int sequence;
    int count;  // of its next tokens
  };
  using Logits = std::map<std::pair<int, int>, std::vector<float>>;  // by (sequence, position)

  // One step; the logits of the rows for which wanted(row) holds.
  template <class Wanted>
  Logits step(const std::vector<Part>& parts, Wanted&& wanted) {
    Batch batch;
    std::vector<std::pair<int, int>> rows;
    std::vector<std::vector<StateSave>> saves(parts.size());
    std::vector<int> before;  // slots that are free after the step
    for (const Part& part : parts) {
      Sequence& it = sequences_[part.sequence];
      const int end = it.computed + part.count;
      BatchSequence entry{
          .first_row = batch.rows(), .query_length = part.count, .context_length = end};
      entry.prompt_rows = std::clamp(it.prompt_length - it.computed, 0, part.count);
      for (int group = 0; group < groups(); ++group) {
        Table& table = it.tables[group];
        while (static_cast<int>(table.size()) * block_size() < end) table.push_back(take(group));
        entry.blocks[group] = table;
      }
      if (runner_.info().state_bytes > 0) {
        std::vector<StateSave>& saved = saves[&part - parts.data()];
        plan_states(it, part.count, entry, saved, before);
        entry.saves = saved;
      }
      batch.sequences.push_back(entry);
      for (; it.computed < end; ++it.computed) {
        batch.tokens.push_back(it.tokens[it.computed]);
        batch.positions.push_back(it.computed);
        rows.push_back({part.sequence, it.computed});
        if (wanted(batch.rows() - 1)) batch.want_logits(batch.rows() - 1);
      }
    }
    batch.block_copies = std::exchange(copies_, {});
    runner_.step(batch, output_);
    free_states_.insert(free_states_.begin(), before.begin(), before.end());
    if (lets_go_) let_go();
    Logits logits;
    const int vocabulary = runner_.info().vocab_size;
    for (std::size_t i = 0; i < batch.wanted.size(); ++i) {
      const float* row = &output_.logits[i * vocabulary];
      logits[rows[batch.wanted[i].row]].assign(row, row + vocabulary);
    }
    return logits;
  }
  Logits step(const std::vector<Part>& parts) {
    return step(parts, [](int) { return true; });
  }

 private:
  using Table = std::vector<int>;
  struct Sequence {
    std::vector<int> tokens;
    int prompt_length = 0;
    int computed = 0;
    std::vector<Table> tables;  // by KV group
    int state = -1;
  };

  int block_size() const { return runner_.info().block_size; }
  int groups() const { return static_cast<int>(runner_.info().kv.size()); }
  int take_state() {
    const int slot = free_states_.back();
    free_states_.pop_back();
    return slot;
  }
  // The state after the last row goes to another slot, or at times to the same; now and then one is
  // saved on the way, which nobody reads.
  void plan_states(Sequence& it, int count, BatchSequence& entry, std::vector<StateSave>& saves,
                   std::vector<int>& before) {
    entry.state = it.state;
    const int last = entry.first_row + count - 1;
    if (count > 1 && random_() % 3 == 0) {
      const int slot = take_state();
      saves.push_back({entry.first_row + static_cast<int>(random_() % (count - 1)), slot});
      before.push_back(slot);
    }
    if (it.state < 0 || random_() % 3 > 0) {
      if (it.state >= 0) before.push_back(it.state);
      it.state = take_state();
    }
    saves.push_back({last, it.state});
  }
  int take(int group) {
    const int block = free_[group].back();
    free_[group].pop_back();
    return block;
  }
  void give_back(int group, int block) {
    if (block >= 0) free_[group].insert(free_[group].begin(), block);
  }
  void let_go() {
    for (Sequence& it : sequences_) {
      for (int group = 0; group < groups(); ++group) {
        const int window = runner_.info().kv[group].window;
        if (window == 0 || it.tables.empty()) continue;
        const int unseen = std::max(it.computed - window + 1, 0) / block_size();
        for (int i = 0; i < unseen; ++i) give_back(group, std::exchange(it.tables[group][i], -1));
      }
    }
  }

  ModelRunner& runner_;
  std::mt19937 random_;
  std::vector<std::vector<int>> free_;  // by KV group
  std::vector<int> free_states_;
  std::vector<Sequence> sequences_;
  std::vector<BlockCopy> copies_;
  StepOutput output_;
  bool lets_go_ = false;
};

}  // namespace mlxd::cpu
