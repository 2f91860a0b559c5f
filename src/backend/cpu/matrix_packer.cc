#include "backend/cpu/matrix_packer.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>

#include "base/error.h"

namespace mlxd::cpu {
namespace {

constexpr std::int64_t kMostRows = 1 << 24;  // a vocabulary has some 2^18
constexpr int kTaskTiles = 64;

std::vector<std::byte> reordered(std::span<const std::byte> rows, std::int64_t count,
                                 const RowList& source) {
  const std::size_t bytes = rows.size() / count;
  std::vector<std::byte> result(source.size() * bytes);
  for (std::size_t row = 0; row < source.size() && bytes > 0; ++row) {
    std::memcpy(&result[row * bytes], &rows[source[row] * bytes], bytes);
  }
  return result;
}

}  // namespace

void MatrixPacker::want(const Tensor& tensor, std::shared_ptr<const PackedMatrix>& target,
                        const RowList& source) {
  if (tensor.rows > kMostRows || tensor.columns > kMostRows) {
    throw LoadError(tensor.name + " is too large");
  }
  const auto same = std::ranges::find_if(jobs_, [&](const auto& job) {
    return source.empty() && job->source.empty() && job->tensor.rows == tensor.rows &&
           job->tensor.data.data() == tensor.data.data();
  });
  if (same != jobs_.end()) {
    (*same)->targets.push_back(&target);
    return;
  }
  auto& job = *jobs_.emplace_back(std::make_unique<Job>(Job{tensor, tensor, source, {}, nullptr}));
  if (!source.empty()) job.shape.rows = static_cast<std::int64_t>(source.size());
  job.targets.push_back(&target);
}

std::size_t MatrixPacker::run(WorkerPool& pool, const LoadProgress& progress) {
  std::vector<Task> tasks;
  for (const auto& job : jobs_) {
    job->packed = kernels_.allocate(job->shape);
    const int tiles = job->packed->tiles();
    const int step = job->source.empty() ? kTaskTiles : tiles;
    for (int first = 0; first < tiles; first += step) {
      tasks.push_back({job.get(), first, std::min(first + step, tiles)});
    }
  }
  std::atomic<std::size_t> done = 0;
  const auto work = [&](int worker, int first, int end) {
    for (int i = first; i < end; ++i) {
      pack(tasks[i]);
      ++done;
      if (worker == 0 && progress) progress(static_cast<double>(done) / tasks.size());
    }
  };
  const Phase phase = {
      .units = [&] { return static_cast<int>(tasks.size()); }, .run = work, .in_order = true};
  pool.run({&phase, 1});
  if (progress) progress(1);
  std::size_t bytes = 0;
  for (const auto& job : jobs_) {
    bytes += job->packed->bytes();
    for (auto* target : job->targets) *target = job->packed;
  }
  return bytes;
}

void MatrixPacker::pack(const Task& task) const {
  const Tensor& stored = task.job->tensor;
  Tensor tensor = task.job->shape;
  std::vector<std::byte> data, scales, biases;
  if (const auto& source = task.job->source; !source.empty()) {
    tensor.data = data = reordered(stored.data, stored.rows, source);
    tensor.scales = scales = reordered(stored.scales, stored.rows, source);
    tensor.biases = biases = reordered(stored.biases, stored.rows, source);
  }
  kernels_.pack_tiles(*task.job->packed, tensor, task.first_tile, task.end_tile);
}

}  // namespace mlxd::cpu
