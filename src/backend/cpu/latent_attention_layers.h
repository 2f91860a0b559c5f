#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>

#include "backend/cpu/attention_step.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The blocks of latent attention of a model, and what they share. All heads read one key of a
// token, its latent and its rotated part, which lie in the cache as a KV head whose values are in
// its keys. Matrices of heads are multiplied head by head, each by its own rows of input.
//
// Prompts go the same way as single rows. Keys and values of each head, made of the latents of a
// whole context, would be less arithmetic for a long prompt; but a row's bits must not depend on
// how many came with it.
class LatentAttentionLayers {
 public:
  // Both must outlive this.
  LatentAttentionLayers(StepPhases& step, AttentionStep& attention)
      : step_(step), attention_(attention) {}
  LatentAttentionLayers(const LatentAttentionLayers&) = delete;  // the phases point into it
  LatentAttentionLayers& operator=(const LatentAttentionLayers&) = delete;

  // `from` has the rows that it reads, `to` those that go on after its keys.
  void add(const PackedLatentAttention& block, const Residual* left, const Stream& from,
           const Stream& to);

  // The widest of blocks.
  struct Widths {
    int heads = 0, low = 0, key = 0, plain = 0, rank = 0;  // low: query rank
    int head_rows = 0, query = 0, values = 0;              // of all heads

    void include(const auto& block, int query_rank) {
      const auto widen = [](int& width, int by) { width = std::max(width, by); };
      const int key_dim = block.rank + block.rotary_dim;
      widen(heads, block.heads);
      widen(low, query_rank);
      widen(key, key_dim);
      widen(plain, block.plain_dim);
      widen(rank, block.rank);
      widen(head_rows, block.heads * (block.plain_dim + block.rotary_dim));
      widen(query, block.heads * key_dim);
      widen(values, block.heads * block.value_dim);
    }
  };

  // Between two steps.
  void reserve(int rows);
  std::size_t bytes() const;
  // What `reserve` takes for blocks of these widths.
  static std::size_t bytes_for(int rows, const Widths& widths);

 private:
  void add_query(const PackedLatentAttention& block, const Stream& to);
  void add_split(const PackedLatentAttention& block, const Stream& from, const Stream& to);
  void add_head_products(const PackedLinear& linear, int heads, const Stream& to,
                         const InputBuffer& input, std::function<float*(int head)> out,
                         const std::function<std::ptrdiff_t()>& stride);
  void add_tasks(const PackedLatentAttention& block, const Stream& to);

  void store_key(const PackedLatentAttention& block, const BatchSequence& sequence, int row);
  void split_query(const PackedLatentAttention& block, const Stream& to, int row, int head);

  StepPhases& step_;
  AttentionStep& attention_;
  Widths widths_;

  RowBuffer key_;          // [rows, rank + rotary_dim]
  RowBuffer low_;          // [rows, query rank]
  InputBuffer low_input_;  // the same, normed
  RowBuffer heads_;        // [rows, heads * (plain_dim + rotary_dim)]
  RowBuffer query_;        // [rows, heads * (rank + rotary_dim)]
  // Inputs of the heads' products, each head's rows after another's.
  InputBuffer plain_;    // [heads * rows, plain_dim]
  InputBuffer latents_;  // [heads * rows, rank]
  InputBuffer values_;   // [rows, heads * value_dim]
};

}  // namespace mlxd::cpu
