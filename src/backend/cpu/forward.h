#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "backend/cpu/attention.h"
#include "backend/cpu/kernel_input.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/kv_cache.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/rope_table.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/vector_ops.h"
#include "backend/cpu/work_shares.h"
#include "backend/cpu/worker_pool.h"
#include "engine/model_runner.h"

namespace mlxd::cpu {

// One forward step on all workers. Every worker runs the whole step; what it computes of each phase
// is its share, and a barrier stands between phases of which one reads what another wrote.
//
// A step of few rows (decoding) keeps the residual stream in private copies, one a worker: to
// normalise a row anew on each costs less than to wait for one that did. Many rows are shared out.
//
// After the keys and values of the last attention block only rows whose logits are wanted go on.
class ForwardPass {
 public:
  // All references must outlive this.
  ForwardPass(const PackedModel& model, const Kernels& kernels, const VectorOps& ops,
              WorkerPool& pool, KvCache& cache);

  // The batch was checked. Inference thread.
  void run(const Batch& batch, StepOutput& output);

  // Memory held for intermediate values. Between two steps.
  std::size_t buffer_bytes() const;

 private:
  // What one worker holds. The stream's state is the same on all, each keeps its own.
  struct Worker {
    int index = 0;
    RowBuffer private_x;        // [few rows, D]
    InputBuffer private_input;  // [few rows, D]
    RowBuffer post_normed;      // [1, D]
    AlignedArray<float> gate, up;
    AttentionWork::Scratch attention;
    std::array<PreparedInput, kInputKinds> prepared;       // by kind of matrix
    std::array<std::uint64_t, kInputKinds> prepared_in{};  // the phase that each was made in

    bool shared = false;  // x and input are those of all workers
    int rows = 0;
    const RowBuffer* x = nullptr;
    const InputBuffer* input = nullptr;
    bool pending = false;                // y_ is yet to be added to x,
    const RmsNorm* post_norm = nullptr;  // after this norm where there is one
    int attention_blocks = 0;            // that it has passed
    std::uint64_t product_phases = 0;    // likewise, since it began to work
  };

  // A product of some or all input rows, whose tiles the workers share.
  struct Product {
    const PackedLinear* linear;
    InputRows input;
    float* out;
    std::ptrdiff_t out_stride;
    float softcap = 0;
  };

  struct Range {
    int first, end;
  };

  void reserve(int rows);
  void plan(const Batch& batch);
  void plan_attention(const Batch& batch);

  void work(Worker& worker);
  void embed(Worker& worker);
  void normalize(Worker& worker, const RmsNorm& norm, bool quantize, bool narrow);
  void add_pending(Worker& worker, int row);
  bool attend(Worker& worker, const PackedAttention& block);
  void rotate_and_store(const Worker& worker, const PackedAttention& block, int query_rows);
  void run_attention(Worker& worker, const PackedAttention& block, AttentionWork& work);
  void finish_attention(const PackedAttention& block, const AttentionWork::Finished& part);
  void feed_forward(Worker& worker, const PackedFeedForward& block);
  void gate_columns(Worker& worker, const PackedFeedForward& block, const InputRows& input,
                    Range rows, Range columns);
  void predict(Worker& worker);

  void multiply_share(Worker& worker, std::span<const Product> products);
  void multiply_tiles(Worker& worker, const Product& product, Range tiles);
  const PreparedInput& prepared(Worker& worker, const PackedMatrix& matrix, const InputRows& input);
  void finish_columns(const Product& product, int first, int end) const;
  void leave_block(Worker& worker, const std::optional<RmsNorm>& post_norm);
  Range share(const Worker& worker, int count) const;
  int share_begin(int worker, int count) const;

  const PackedModel& model_;
  const Kernels& kernels_;
  const VectorOps& ops_;
  WorkerPool& pool_;
  KvCache& cache_;
  std::vector<RopeTable> ropes_;
  std::vector<Range> rope_fill_;  // positions that this step is the first to need
  std::vector<std::unique_ptr<Worker>> workers_;
  WorkShares shares_;

  // The step's inputs and their plan.
  const Batch* batch_ = nullptr;
  float* logits_ = nullptr;
  bool narrows_ = false;           // fewer rows leave the last attention block than enter it
  std::vector<int> narrow_index_;  // [rows]: index among the logit rows, -1
  std::vector<int> narrow_positions_;
  std::vector<QueryRows> queries_, narrow_queries_;
  std::vector<AttentionShape> shapes_;
  std::vector<int> shape_of_block_;       // by attention block, in order
  std::vector<AttentionWork> attention_;  // by shape
  AttentionWork narrow_attention_;        // of the last attention block, when narrowing
  // Next task and next fold of each attention block.
  struct Counters {
    std::atomic<int> task = 0, fold = 0;
  };
  std::vector<Counters> counters_;

  // What the workers share, [rows, ...].
  int reserved_rows_ = 0;
  RowBuffer x_, narrow_x_, query_, key_, value_, y_;
  InputBuffer input_, narrow_input_, attended_, hidden_;
};

}  // namespace mlxd::cpu
