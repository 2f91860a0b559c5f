#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "backend/cpu/kv_cache.h"
#include "backend/cpu/prompt_kernels.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/vector_ops.h"
#include "engine/model_runner.h"

namespace mlxd::cpu {

// What layers of one kind ask of attention.
struct AttentionShape {
  int heads = 0, kv_heads = 0, head_dim = 0;
  float softcap = 0;  // 0: none
  int window = 0;     // tokens seen, 0: all
  int latent = 0;     // numbers of a key that are its value too, 0: values lie apart

  int value_dim() const { return latent > 0 ? latent : head_dim; }
  int group() const { return heads / kv_heads; }  // query heads that share a KV head
  // Whether a matrix unit can attend with it.
  bool suits_unit() const {
    return latent == 0 && head_dim <= PromptAttentionScratch::kMostGroups * kGroupColumns;
  }
  bool operator==(const AttentionShape&) const = default;
};

// Rows of one sequence: consecutive rows of the query buffer, in ascending order of positions.
struct QueryRows {
  int sequence = 0;  // index into Batch::sequences
  int first_row = 0;
  int rows = 0;
  bool prompt = false;  // they are of a prompt: a matrix unit's, where there is one
};

// The attention of one step over layers of one shape, as tasks that any worker may take. A row
// folds the partitions (64 tokens) of its context from the first that it sees to its own, each
// computed from nothing, so that its result is the same bits however rows and partitions were
// dealt out. Where a sequence is long and rows are few, its partitions become tasks of their own
// whose results are folded afterwards (Dao et al. 2023, "Flash-Decoding").
class AttentionWork {
 public:
  // `positions` are those of the query buffer's rows. Reuses its memory from step to step.
  void plan(const AttentionShape& shape, std::span<const QueryRows> queries,
            std::span<const int> positions, int workers);

  int tasks() const { return static_cast<int>(tasks_.size()); }
  // Results of tasks that wait to be folded: fold(i) for i < folds(), after all tasks.
  int folds() const { return static_cast<int>(folds_.size()); }

  // One worker's scratch memory for any task.
  struct Scratch {
    AlignedArray<float> scores, out, maxima, sums;
    std::vector<const float*> query;
    std::vector<int> first, end;
    AlignedArray<float> prompt_memory;
    PromptAttentionScratch prompt;  // in it

    std::size_t bytes() const {
      return scores.bytes() + out.bytes() + maxima.bytes() + sums.bytes() + prompt_memory.bytes();
    }
  };

  // Held for results that wait to be folded.
  std::size_t bytes() const { return partials_.bytes(); }
  // Of that, what a step may need at most: for queries of so many heads of a KV head.
  static std::size_t most_bytes(const AttentionShape& shape, int rows, int context, int workers);
  // Of one worker's scratch memory, at most.
  static std::size_t most_scratch_bytes(const AttentionShape& shape, bool unit);

  // What the tasks of a step read and write.
  struct Data {
    const KvCache* cache = nullptr;
    const Batch* batch = nullptr;
    int layer = 0;
    const RowBuffer* query = nullptr;  // [rows, heads * head_dim], rotated and scaled
    float* out = nullptr;              // [value_dim] of each row and head, at these distances
    std::ptrdiff_t row_stride = 0, head_stride = 0;
    std::span<const float> sinks = {};    // [heads], or empty (AttentionBlock::sinks)
    const PromptKernels* unit = nullptr;  // for QueryRows::prompt; null: they are as others
  };

  // A finished part of the output: rows [first_row, first_row + rows), the heads of one KV head.
  struct Finished {
    int first_row = 0, rows = 0, kv_head = 0;
  };

  // Runs a task; says what of the output it finished (no rows: it awaits its fold).
  Finished run(int task, const VectorOps& ops, const Data& data, Scratch& scratch);
  Finished fold(int index, const VectorOps& ops, const Data& data, Scratch& scratch);

 private:
  struct Task {
    int sequence, first_row, rows, kv_head;
    int first_partition, end_partition;
    std::ptrdiff_t slot;  // in partials_ of its first partition, -1: it does all and folds itself
    bool prompt;
  };
  struct Fold {
    int first_row, rows, kv_head;
    int row;  // of the task, 0 .. rows - 1: folds run row by row
    int partitions;
    std::ptrdiff_t slot;
  };

  void split_long_tasks(std::ptrdiff_t share, int workers);
  int queries_of(int rows) const { return rows * shape_.group(); }
  static std::ptrdiff_t slot_size(int queries, int value_dim);
  static int task_rows(const AttentionShape& shape);
  static std::size_t prompt_floats(const AttentionShape& shape, int queries);
  bool on_unit(const Task& task, const Data& data) const {
    return task.prompt && data.unit != nullptr && shape_.suits_unit();
  }
  void prepare_unit(int queries, Scratch& scratch) const;
  void attend(const Task& task, int partition, const VectorOps& ops, const Data& data,
              Scratch& scratch, float* maxima, float* sums, float* out) const;
  void prepare(const Task& task, const Data& data, Scratch& scratch) const;
  // The output of a row's head, from what its whole context came to.
  void finish(const VectorOps& ops, const Data& data, int row, int head, float maximum, float sum,
              const float* out) const;

  AttentionShape shape_;
  std::span<const int> positions_;
  std::vector<Task> tasks_;
  std::vector<Fold> folds_;
  AlignedArray<float> partials_;
};

}  // namespace mlxd::cpu
