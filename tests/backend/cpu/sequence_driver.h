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
  SequenceDriver(ModelRunner& runner, int blocks, unsigned seed = 1)
      : runner_(runner), random_(seed) {
    runner.resize_cache(CacheSize::of(runner.info(), blocks));
    for (int block = 0; block < blocks; ++block) free_.push_back(block);
    std::shuffle(free_.begin(), free_.end(), random_);
  }

  // A new sequence of these tokens, none computed yet.
  int add(std::vector<int> tokens) {
    sequences_.push_back({std::move(tokens), 0, {}});
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
      const int copy = take();
      copies_.push_back({from.blocks[from.computed / block_size()], copy});
      child.blocks.resize(from.computed / block_size());
      child.blocks.push_back(copy);
    }
    sequences_.push_back(std::move(child));
    return static_cast<int>(sequences_.size()) - 1;
  }
  void release(int sequence) {
    Sequence& it = sequences_[sequence];
    free_.insert(free_.begin(), it.blocks.begin(), it.blocks.end());
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
    for (const Part& part : parts) {
      Sequence& it = sequences_[part.sequence];
      const int end = it.computed + part.count;
      while (static_cast<int>(it.blocks.size()) * block_size() < end) it.blocks.push_back(take());
      batch.sequences.push_back(
          {batch.rows(), part.count, end, tables_of(runner_.info(), it.blocks)});
      for (; it.computed < end; ++it.computed) {
        batch.tokens.push_back(it.tokens[it.computed]);
        batch.positions.push_back(it.computed);
        rows.push_back({part.sequence, it.computed});
        if (wanted(batch.rows() - 1)) batch.want_logits(batch.rows() - 1);
      }
    }
    for (const auto& [from, to] : std::exchange(copies_, {})) {
      for (int group = 0; group < static_cast<int>(runner_.info().kv.size()); ++group) {
        batch.block_copies.push_back({group, from, to});
      }
    }
    runner_.step(batch, output_);
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
  struct Sequence {
    std::vector<int> tokens;
    int computed = 0;
    std::vector<int> blocks;
  };

  int block_size() const { return runner_.info().block_size; }
  int take() {
    const int block = free_.back();
    free_.pop_back();
    return block;
  }

  ModelRunner& runner_;
  std::mt19937 random_;
  std::vector<int> free_;
  std::vector<Sequence> sequences_;
  std::vector<std::pair<int, int>> copies_;
  StepOutput output_;
};

}  // namespace mlxd::cpu
