#include "backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace mlxd::cpu {
namespace {

// Numbers of queries times head dimension that a task holds at once: their outputs, twice, and the
// keys and values of a partition stay within a level-2 cache.
constexpr int kTaskNumbers = 8192;

// Tasks for each worker, so that unequal ones even out.
constexpr int kTasksPerWorker = 4;

// Floats of results that wait to be folded: 64 MiB. A row of a context of 131,072 needs a quarter
// of that; tasks of many rows that would need more are left whole.
constexpr std::ptrdiff_t kMostPartials = std::ptrdiff_t{16} << 20;

int first_partition(const AttentionShape& shape, int position) {
  if (shape.window == 0) return 0;
  return std::max(0, position - shape.window + 1) / kPartition;
}

}  // namespace

// Floats of one partition's maxima, sums and outputs.
std::ptrdiff_t AttentionWork::slot_size(int queries, int value_dim) {
  return (2 * queries + 15) / 16 * 16 + static_cast<std::ptrdiff_t>(queries) * value_dim;
}

int AttentionWork::task_rows(const AttentionShape& shape) {
  return std::max(1, kTaskNumbers / (shape.group() * shape.head_dim));
}

std::size_t AttentionWork::most_bytes(const AttentionShape& shape, int rows, int context,
                                      int workers) {
  if (workers == 1) return 0;
  // Only tasks of more than a share of the work are split, so fewer than there are shares.
  const int in_task = std::min(task_rows(shape), rows);
  const int seen = shape.window > 0 ? std::min(context, shape.window + in_task) : context;
  const std::size_t partitions = static_cast<std::size_t>(seen) / kPartition + 2;
  const std::size_t split = static_cast<std::size_t>(workers) * kTasksPerWorker - 1;
  const std::size_t slot = slot_size(in_task * shape.group(), shape.value_dim()) * sizeof(float);
  return std::min(split * partitions * slot, kMostPartials * sizeof(float));
}

std::size_t AttentionWork::most_scratch_bytes(const AttentionShape& shape, bool unit) {
  const int queries = task_rows(shape) * shape.group();
  const std::size_t floats =
      static_cast<std::size_t>(queries) * (kPartition + 2 * shape.value_dim() + 4);
  return (floats + (unit && shape.suits_unit() ? prompt_floats(shape, queries) : 0)) *
         sizeof(float);
}

// What PromptAttentionScratch takes.
std::size_t AttentionWork::prompt_floats(const AttentionShape& shape, int queries) {
  const std::size_t dim = (shape.head_dim + kGroupColumns - 1) / kGroupColumns * kGroupColumns;
  const std::size_t rows = (queries + kPromptRows - 1) / kPromptRows * kPromptRows;
  const std::size_t tiled = 2 * rows * dim + 3 * dim * kPartition + 2 * kPromptRows * kPartition;
  return tiled / 2 + rows * kPartition + kPromptRows * dim;
}

void AttentionWork::prepare_unit(int queries, Scratch& scratch) const {
  const int dim = (shape_.head_dim + kGroupColumns - 1) / kGroupColumns * kGroupColumns;
  const int rows = (queries + kPromptRows - 1) / kPromptRows * kPromptRows;
  scratch.prompt_memory.reserve(prompt_floats(shape_, queries));
  float* next = scratch.prompt_memory.data();
  const auto take = [&next](std::ptrdiff_t floats) { return std::exchange(next, next + floats); };
  const auto tiles = [&take](std::ptrdiff_t numbers) {
    return reinterpret_cast<std::uint16_t*>(take(numbers / 2));
  };
  scratch.prompt.queries = tiles(std::ptrdiff_t{2} * rows * dim);
  scratch.prompt.keys = tiles(std::ptrdiff_t{2} * dim * kPartition);
  scratch.prompt.values = tiles(std::ptrdiff_t{dim} * kPartition);
  scratch.prompt.weights = tiles(std::ptrdiff_t{2} * kPromptRows * kPartition);
  scratch.prompt.scores = take(std::ptrdiff_t{rows} * kPartition);
  scratch.prompt.rest = take(std::ptrdiff_t{kPromptRows} * dim);
}

void AttentionWork::plan(const AttentionShape& shape, std::span<const QueryRows> queries,
                         std::span<const int> positions, int workers) {
  shape_ = shape;
  positions_ = positions;
  tasks_.clear();
  folds_.clear();
  const int most_rows = task_rows(shape);
  std::vector<Task>& whole = tasks_;
  std::ptrdiff_t total = 0;
  for (const QueryRows& part : queries) {
    for (int done = 0; done < part.rows; done += most_rows) {
      Task task{.sequence = part.sequence,
                .first_row = part.first_row + done,
                .rows = std::min(most_rows, part.rows - done),
                .kv_head = 0,
                .first_partition = first_partition(shape, positions[part.first_row + done]),
                .end_partition = 0,
                .slot = -1,
                .prompt = part.prompt};
      task.end_partition = positions[task.first_row + task.rows - 1] / kPartition + 1;
      for (task.kv_head = 0; task.kv_head < shape.kv_heads; ++task.kv_head) {
        whole.push_back(task);
        total += static_cast<std::ptrdiff_t>(task.end_partition - task.first_partition) * task.rows;
      }
    }
  }
  split_long_tasks(std::max<std::ptrdiff_t>(1, total / (workers * kTasksPerWorker)), workers);
  // The largest first, so that none begins when the others are about to end.
  std::stable_sort(tasks_.begin(), tasks_.end(), [](const Task& a, const Task& b) {
    return (a.end_partition - a.first_partition) * a.rows >
           (b.end_partition - b.first_partition) * b.rows;
  });
}

// Tasks of more work (rows times partitions) than `share` into several.
void AttentionWork::split_long_tasks(std::ptrdiff_t share, int workers) {
  if (workers == 1) return;
  std::ptrdiff_t slots = 0;
  const std::size_t whole = tasks_.size();
  for (std::size_t i = 0; i < whole; ++i) {
    const Task task = tasks_[i];
    const int partitions = task.end_partition - task.first_partition;
    const int step = static_cast<int>(std::max<std::ptrdiff_t>(1, share / task.rows));
    const std::ptrdiff_t slot = slot_size(queries_of(task.rows), shape_.value_dim());
    if (partitions <= step || slots + partitions * slot > kMostPartials) continue;
    for (int row = 0; row < task.rows; ++row) {
      folds_.push_back({task.first_row, task.rows, task.kv_head, row, partitions, slots});
    }
    for (int first = task.first_partition; first < task.end_partition; first += step) {
      Task part = task;
      part.first_partition = first;
      part.end_partition = std::min(first + step, task.end_partition);
      part.slot = slots + (first - task.first_partition) * slot;
      if (first == task.first_partition) {
        tasks_[i] = part;
      } else {
        tasks_.push_back(part);
      }
    }
    slots += partitions * slot;
  }
  partials_.reserve(slots);
}

void AttentionWork::prepare(const Task& task, const Data& data, Scratch& scratch) const {
  const int queries = queries_of(task.rows);
  if (on_unit(task, data)) prepare_unit(queries, scratch);
  scratch.scores.reserve(static_cast<std::size_t>(queries) * kPartition);
  scratch.out.reserve(std::size_t{2} * queries * shape_.value_dim());
  scratch.maxima.reserve(std::size_t{2} * queries);
  scratch.sums.reserve(std::size_t{2} * queries);
  scratch.query.resize(queries);
  scratch.first.resize(queries);
  scratch.end.resize(queries);
  for (int i = 0; i < queries; ++i) {
    const int head = task.kv_head * shape_.group() + i % shape_.group();
    scratch.query[i] =
        data.query->row(task.first_row + i / shape_.group()) + head * shape_.head_dim;
  }
}

void AttentionWork::attend(const Task& task, int partition, const VectorOps& ops, const Data& data,
                           Scratch& scratch, float* maxima, float* sums, float* out) const {
  const int begin = partition * kPartition;
  const int last = positions_[task.first_row + task.rows - 1];
  const int tiles_per_block = data.cache->block_size() / kKeyTile;
  const std::span<const int> blocks =
      data.batch->sequences[task.sequence].blocks[data.cache->group_of(data.layer)];
  PartitionQuery query{.head_dim = shape_.head_dim,
                       .value_dim = shape_.value_dim(),
                       .softcap = shape_.softcap,
                       .queries = queries_of(task.rows),
                       .query = scratch.query.data(),
                       .first = scratch.first.data(),
                       .end = scratch.end.data(),
                       .scores = scratch.scores.data(),
                       .maxima = maxima,
                       .sums = sums,
                       .out = out};
  const auto locate = [&](int of, const std::uint8_t** keys, const std::uint8_t** values) {
    const int first = of * kPartitionTiles;
    const int count = std::min(kPartitionTiles, last / kKeyTile + 1 - first);
    // What lies before every row's window has been let go of. It is masked, so that any tile of
    // the partition stands for it: a masked token adds exactly 0.
    const auto held = std::find_if(blocks.begin() + first / tiles_per_block, blocks.end(),
                                   [](int block) { return block >= 0; });
    for (int t = 0; t < count; ++t) {
      const int own = blocks[(first + t) / tiles_per_block];
      const int block = own >= 0 ? own : *held;
      const int tile = (first + t) % tiles_per_block;
      keys[t] = data.cache->keys(data.layer, block, task.kv_head, tile);
      values[t] = data.cache->values(data.layer, block, task.kv_head, tile);
    }
  };
  locate(partition, query.keys, query.values);
  if (partition + 1 < task.end_partition) {
    locate(partition + 1, query.next_keys, query.next_values);
  }
  for (int i = 0; i < query.queries; ++i) {
    const int position = positions_[task.first_row + i / shape_.group()];
    const int seen = shape_.window == 0 ? 0 : std::max(0, position - shape_.window + 1);
    scratch.first[i] = std::clamp(seen - begin, 0, kPartition);
    scratch.end[i] = std::clamp(position + 1 - begin, 0, kPartition);
  }
  if (on_unit(task, data)) {
    const bool begins = partition == task.first_partition;
    return data.unit->attend(query, data.cache->format(), begins, scratch.prompt);
  }
  ops.kv(data.cache->format()).attend(query);
}

void AttentionWork::finish(const VectorOps& ops, const Data& data, int row, int head, float maximum,
                           float sum, const float* out) const {
  // A sink enters here alone, once for the whole context. Where it is so far above all scores that
  // this is infinite, nothing is left of the values.
  if (!data.sinks.empty()) sum += std::exp(data.sinks[head] - maximum);
  float* const to = data.out + row * data.row_stride + head * data.head_stride;
  std::copy_n(out, shape_.value_dim(), to);
  ops.scale(to, 1 / sum, shape_.value_dim());
}

AttentionWork::Finished AttentionWork::run(int index, const VectorOps& ops, const Data& data,
                                           Scratch& scratch) {
  const Task& task = tasks_[index];
  const int queries = queries_of(task.rows), value_dim = shape_.value_dim();
  prepare(task, data, scratch);
  if (task.slot >= 0) {
    for (int p = task.first_partition; p < task.end_partition; ++p) {
      float* slot =
          partials_.data() + task.slot +
          (p - task.first_partition) * slot_size(queries_of(task.rows), shape_.value_dim());
      float* out = slot + (2 * queries + 15) / 16 * 16;
      attend(task, p, ops, data, scratch, slot, slot + queries, out);
    }
    return {};
  }
  float* maxima = scratch.maxima.data();
  float* sums = scratch.sums.data();
  float* out = scratch.out.data();
  float* next_out = out + static_cast<std::ptrdiff_t>(queries) * value_dim;
  attend(task, task.first_partition, ops, data, scratch, maxima, sums, out);
  for (int p = task.first_partition + 1; p < task.end_partition; ++p) {
    attend(task, p, ops, data, scratch, maxima + queries, sums + queries, next_out);
    for (int i = 0; i < queries; ++i) {
      ops.fold(maxima + i, sums + i, out + i * value_dim, maxima[queries + i], sums[queries + i],
               next_out + i * value_dim, value_dim);
    }
  }
  for (int i = 0; i < queries; ++i) {
    finish(ops, data, task.first_row + i / shape_.group(),
           task.kv_head * shape_.group() + i % shape_.group(), maxima[i], sums[i],
           out + i * value_dim);
  }
  return {task.first_row, task.rows, task.kv_head};
}

AttentionWork::Finished AttentionWork::fold(int index, const VectorOps& ops, const Data& data,
                                            Scratch& scratch) {
  const Fold& fold = folds_[index];
  const int queries = queries_of(fold.rows), value_dim = shape_.value_dim();
  scratch.out.reserve(value_dim);
  float* out = scratch.out.data();
  for (int head = 0; head < shape_.group(); ++head) {
    const int i = fold.row * shape_.group() + head;
    float maximum = 0, sum = 0;
    for (int p = 0; p < fold.partitions; ++p) {
      const float* slot =
          partials_.data() + fold.slot + p * slot_size(queries_of(fold.rows), shape_.value_dim());
      const float* next = slot + (2 * queries + 15) / 16 * 16 + i * value_dim;
      ops.fold(&maximum, &sum, out, slot[i], slot[queries + i], next, value_dim);
    }
    finish(ops, data, fold.first_row + fold.row, fold.kv_head * shape_.group() + head, maximum, sum,
           out);
  }
  return {fold.first_row + fold.row, 1, fold.kv_head};
}

}  // namespace mlxd::cpu
