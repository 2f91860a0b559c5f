#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/worker_pool.h"
#include "base/load_progress.h"
#include "model/tensor.h"

namespace mlxd::cpu {

// Which rows of a matrix, in their order, make up the packed one.
using RowList = std::vector<int>;

// Packs the matrices of a model, every worker taking the next tiles that are left.
class MatrixPacker {
 public:
  // `kernels` must outlive this.
  explicit MatrixPacker(const Kernels& kernels) : kernels_(kernels) {}

  // `target` gets the tensor packed, of its rows those of `source` (empty: all). It must not move
  // before run has ended; the tensor's bytes must be there until then. One that is wanted twice,
  // whole, is packed once. Throws LoadError when it is too large.
  void want(const Tensor& tensor, std::shared_ptr<const PackedMatrix>& target,
            const RowList& source = {});

  // Packs all that is wanted and returns its bytes. `progress` may be null; it is called on this
  // thread. Throws as Kernels::allocate does.
  std::size_t run(WorkerPool& pool, const LoadProgress& progress);

 private:
  struct Job {
    Tensor tensor;
    Tensor shape;    // of what is packed of it, its data not to be read
    RowList source;  // its rows, empty when they are the tensor's
    std::vector<std::shared_ptr<const PackedMatrix>*> targets;
    std::shared_ptr<PackedMatrix> packed;
  };
  struct Task {
    Job* job;
    int first_tile, end_tile;
  };

  void pack(const Task& task) const;

  const Kernels& kernels_;
  std::vector<std::unique_ptr<Job>> jobs_;
};

}  // namespace mlxd::cpu
