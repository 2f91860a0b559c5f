#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <mlx/mlx.h>

#include "engine/model_runner.h"
#include "model/model_plan.h"

namespace mlxd::mlx_backend {

namespace mx = mlx::core;

// Where the tokens of one sequence lie in the cache: position p is in slot
// blocks[p / block_size] * block_size + p % block_size of every layer of a KV group. Those in
// blocks that were let go have none, and are not to be read.
class SlotMap {
 public:
  SlotMap(std::span<const int> blocks, int length, int block_size);

  int slot(int position) const { return slots_[static_cast<std::size_t>(position)]; }
  int length() const { return static_cast<int>(slots_.size()); }
  // Whether positions [first, length) lie in neighbouring slots.
  bool is_run_from(int first) const { return first >= run_start_; }
  const mx::array& indices() const { return indices_; }  // [length] int32

 private:
  std::vector<int> slots_;
  int run_start_ = 0;
  mx::array indices_;
};

// Keys and values of every token, in slots. Arrays are replaced at each write; MLX then reuses the
// old one's memory, because nothing else refers to it by the time it is evaluated. Inference
// thread.
class PagedCache {
 public:
  struct Layer {
    int kv_heads = 0, head_dim = 0;
    int group = 0;                // as of RunnerInfo::kv
    bool values_in_keys = false;  // a token's value is the first numbers of its key
  };
  // `windows` are the groups'.
  PagedCache(std::vector<Layer> layers, std::vector<int> windows, int block_size, mx::Dtype type);

  std::vector<KvGroup> groups() const;
  int group_of(int layer) const { return layers_[static_cast<std::size_t>(layer)].group; }
  void resize(std::span<const int> blocks);  // by group
  void copy_blocks(std::span<const BlockCopy> copies);

  // Puts the keys and values [T, kv_heads, head_dim] of a step into `slots` [T].
  void write(int layer, const mx::array& slots, const mx::array& keys, const mx::array& values);

  // The same of a layer whose values are in its keys.
  void write_keys(int layer, const mx::array& slots, const mx::array& keys);

  struct View {
    mx::array keys, values;  // [1, kv_heads, positions, head_dim]
  };
  // Positions [first, length) of a sequence: a slice where its blocks are neighbours, else
  // gathered.
  View read(int layer, const SlotMap& sequence, int first) const;
  mx::array read_keys(int layer, const SlotMap& sequence, int first) const;

  // What a step has written and must evaluate.
  void append_to(std::vector<mx::array>& arrays) const;

 private:
  void copy_slots(int group, const std::vector<int>& from, const std::vector<int>& to);

  std::vector<Layer> layers_;
  std::vector<int> windows_;  // by group
  int block_size_;
  mx::Dtype type_;
  std::vector<mx::array> keys_;                   // each [slots, kv_heads, head_dim]
  std::vector<std::optional<mx::array>> values_;  // the same; none: they are in the keys
};

}  // namespace mlxd::mlx_backend
