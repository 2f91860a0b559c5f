// Attention over partitions of a KV cache that does not fit into the processor's: a row that
// decodes reads it from memory, the rows of a prompt find a partition in the nearest cache and
// compute.
#include "attention.h"

#include <algorithm>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "backend/cpu/kv_cache.h"
#include "backend/cpu/vector_ops.h"

namespace mlxd::cpu {
namespace {

struct Case {
  const char* name;
  int head_dim;
  int queries;  // heads that share a KV head, times rows
  KvFormat format;
  int latent = 0;  // numbers of a key that are its value too, 0: values lie apart

  int value_dim() const { return latent > 0 ? latent : head_dim; }
};

// One worker's memory for a partition's queries.
struct Work {
  std::vector<float> query, scores, maxima, sums, out;
  std::vector<const float*> rows;
  std::vector<int> first, end;

  Work(int queries, int head_dim)
      : query(static_cast<std::size_t>(queries) * head_dim, 0.1f),
        scores(static_cast<std::size_t>(queries) * kPartition),
        maxima(queries),
        sums(queries),
        out(query.size()),
        first(queries, 0),
        end(queries, kPartition) {
    for (int i = 0; i < queries; ++i) rows.push_back(query.data() + i * head_dim);
  }
  Work(const Work&) = delete;  // rows point into query
};

// A block lies in one piece over all layers and heads, so that those of one head lie far apart.
constexpr int kHeads = 64;
constexpr int kBlockSize = 16;
constexpr int kPartitionBlocks = kPartition / kBlockSize;

int blocks_of(const KvCache& cache) {
  return static_cast<int>(kStreamBytes / cache.block_bytes(0));
}

void fill(const KvCache& cache, const KvOps& ops, int head_dim) {
  std::mt19937 random(1);
  std::vector<float> numbers(head_dim);
  for (float& number : numbers) number = static_cast<float>(random() % 256) / 128 - 1;
  for (int block = 0; block < blocks_of(cache); ++block) {
    for (int head = 0; head < kHeads; ++head) {
      for (int slot = 0; slot < kBlockSize; ++slot) {
        if (cache.keys(0, block, head, 0) != cache.values(0, block, head, 0)) {
          ops.store_key(numbers.data(), head_dim, cache.keys(0, block, head, 0), slot);
        }
        ops.store_value(numbers.data(), head_dim, cache.values(0, block, head, 0), slot);
      }
    }
  }
}

int partitions(const KvCache& cache) { return blocks_of(cache) / kPartitionBlocks; }  // of a head

// The partitions of all heads, one head after the other.
void locate(const KvCache& cache, int partition, const std::uint8_t** keys,
            const std::uint8_t** values) {
  const int head = partition / partitions(cache) % kHeads;
  const int first = partition % partitions(cache) * kPartitionBlocks;
  for (int tile = 0; tile < kPartitionTiles; ++tile) {
    keys[tile] = cache.keys(0, first + tile, head, 0);
    values[tile] = cache.values(0, first + tile, head, 0);
  }
}

void attend(const KvCache& cache, const KvOps& ops, const Case& of, int partition, Work& work) {
  PartitionQuery query{.head_dim = of.head_dim,
                       .value_dim = of.value_dim(),
                       .queries = of.queries,
                       .query = work.rows.data(),
                       .first = work.first.data(),
                       .end = work.end.data(),
                       .scores = work.scores.data(),
                       .maxima = work.maxima.data(),
                       .sums = work.sums.data(),
                       .out = work.out.data()};
  locate(cache, partition, query.keys, query.values);
  locate(cache, partition + 1, query.next_keys, query.next_values);
  ops.attend(query);
}

void run(benchmark::State& state, const Machine& machine, const Case& of) {
  const KvOps& ops = find_vector_ops(machine.kernels->name).kv(of.format);
  KvCache cache({{.kv_heads = kHeads, .head_dim = of.head_dim, .values_in_keys = of.latent > 0}},
                kBlockSize, of.format);
  cache.resize(std::vector{blocks_of(cache)});
  fill(cache, ops, of.head_dim);
  std::deque<Work> work;
  for (int i = 0; i < machine.threads; ++i) work.emplace_back(of.queries, of.head_dim);

  // A pass is long enough to time, and short enough to find a quiet moment for.
  const double operations = 2.0 * of.queries * kPartition * (of.head_dim + of.value_dim());
  const int all = kHeads * partitions(cache);
  const int count = std::clamp(static_cast<int>(2e8 / operations), 1, all);
  int first = 0;
  double best = 1e9;
  for (auto _ : state) {
    if (first + count > all) first = 0;
    const double seconds = seconds_of(machine.threads, [&](int index) {
      const int begin = first + count * index / machine.threads;
      const int end = first + count * (index + 1) / machine.threads;
      for (int i = begin; i < end; ++i) attend(cache, ops, of, i, work[index]);
    });
    first += count;
    best = std::min(best, seconds / count);
    state.SetIterationTime(seconds);
  }
  const double bytes = static_cast<double>(cache.block_bytes(0)) * kPartitionBlocks / kHeads;
  state.counters["us"] = best * 1e6;
  state.counters["GB/s"] = bytes / best / 1e9;
  state.counters["of_read%"] = 100 * bytes / best / machine.read_bytes_per_second;
  state.counters["GFLOPS"] = operations / best / 1e9;
  if (machine.float_operations_per_second > 0) {
    state.counters["of_fma%"] = 100 * operations / best / machine.float_operations_per_second;
  }
}

}  // namespace

void register_attention(const Machine& machine) {
  static constexpr Case kCases[] = {
      {"smollm2/decode", 64, 3, KvFormat::f16},
      {"smollm2/decode_int8", 64, 3, KvFormat::int8},
      {"smollm2/prompt", 64, 126, KvFormat::f16},
      {"smollm2/prompt_int8", 64, 126, KvFormat::int8},
      {"glm/decode", 576, 20, KvFormat::f16, 512},
      {"glm/decode_int8", 576, 20, KvFormat::int8, 512},
      {"qwen/decode", 128, 6, KvFormat::f16},
      {"qwen/prompt", 128, 60, KvFormat::f16},
      {"gemma/decode", 256, 4, KvFormat::f16},
      {"gemma/prompt", 256, 32, KvFormat::f16},
  };
  for (const Case& of : kCases) {
    benchmark::RegisterBenchmark(
        fmt::format("attention/{}", of.name).c_str(),
        [&machine, &of](benchmark::State& state) { run(state, machine, of); })
        ->UseManualTime()
        ->MinTime(0.1);
  }
}

}  // namespace mlxd::cpu
