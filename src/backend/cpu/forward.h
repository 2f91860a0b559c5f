#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "backend/cpu/attention.h"
#include "backend/cpu/kernel_input.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/kv_cache.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/rope_table.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/vector_ops.h"
#include "backend/cpu/worker_pool.h"
#include "engine/model_runner.h"

namespace mlxd::cpu {

// One forward step on all workers: a list of phases, made once for the model, of which each reads
// what those before it wrote. What a phase works on is planned for each step before it begins.
//
// After the keys and values of the last attention block only rows whose logits are wanted go on.
class ForwardPass {
 public:
  // All references must outlive this.
  ForwardPass(const PackedModel& model, const Kernels& kernels, const VectorOps& ops,
              WorkerPool& pool, KvCache& cache);
  ForwardPass(const ForwardPass&) = delete;  // the phases point into it
  ForwardPass& operator=(const ForwardPass&) = delete;

  // The batch was checked. Inference thread.
  void run(const Batch& batch, StepOutput& output);

  // Memory held for intermediate values. Between two steps.
  std::size_t buffer_bytes() const;

 private:
  // A phase of a step; what is prepared in one is not used in another.
  using Moment = std::uint64_t;

  // Scratch memory of one worker.
  struct Worker {
    RowBuffer post_normed;  // [1, D]
    AlignedArray<float> gate, up;
    AttentionWork::Scratch attention;
    std::array<PreparedInput, kInputKinds> prepared;  // by kind of matrix
    std::array<Moment, kInputKinds> prepared_for{};   // that each was made in
  };

  // The residual stream of the rows that are on their way, and its normed form.
  struct Stream {
    int rows = 0;
    const RowBuffer* x = nullptr;
    const InputBuffer* input = nullptr;
  };

  // A product of a stream's rows, whose tiles the workers share.
  struct Product {
    const PackedLinear* linear = nullptr;
    const Stream* stream = nullptr;
    const InputBuffer* input = nullptr;  // null: the stream's
    const RowBuffer* out = nullptr;      // null: the step's logits
    float softcap = 0;
  };

  struct Range {
    int first, end;
  };

  // The list of phases. `left` is how what the block before left in y_ goes into the stream: null
  // where there is no block before.
  void assemble();
  void add(Phase phase) { phases_.push_back(std::move(phase)); }
  void add_grains(int grain, std::function<int()> count,
                  std::function<void(int worker, Range part)> work);
  void add_rows(const Stream& stream, std::function<void(int worker, int row)> work);
  void add_norm(const Stream& stream, const Residual* left, const RmsNorm* norm, bool quantize,
                bool narrow = false);
  void add_attention(const PackedAttention& block, const Residual* left, bool last);
  void add_row_norm(const Stream& stream, const std::optional<RmsNorm>& norm,
                    const RowBuffer& rows);
  void add_rotation(const PackedAttention& block, const Stream& to);
  void add_tasks(const PackedAttention& block, const Stream& to, bool last);
  std::size_t index_of(const AttentionShape& shape);
  void add_feed_forward(const PackedFeedForward& block, const Residual* left, const Stream& stream);
  void add_products(std::vector<Product> products);

  void reserve(int rows);
  void plan(const Batch& batch);
  void plan_attention(const Batch& batch);

  // What phases do.
  void embed(int row);
  void normalize(Worker& worker, const Stream& stream, const Residual* left, const RmsNorm* norm,
                 bool quantize, int row);
  void set_aside(int row);
  void store_keys(const PackedAttention& block, Range heads);
  void rotate_queries(const PackedAttention& block, const Stream& to, Range heads);
  void turn(const PackedAttention& block, const std::optional<RmsNorm>& norm, int position,
            float* head);
  void finish_attention(const PackedAttention& block, const AttentionWork::Finished& part);
  void gate_columns(Worker& worker, const PackedFeedForward& block, const Stream& stream,
                    Moment moment, Range rows, Range columns);
  void multiply_tiles(Worker& worker, const Product& product, Moment moment, Range tiles);
  const PreparedInput& prepared(Worker& worker, const PackedMatrix& matrix, const InputRows& input,
                                Moment moment);
  Moment moment(std::size_t phase) const { return steps_ << 16 | phase; }

  const PackedModel& model_;
  const Kernels& kernels_;
  const VectorOps& ops_;
  WorkerPool& pool_;
  KvCache& cache_;
  std::vector<RopeTable> ropes_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Phase> phases_;

  // The step's inputs and their plan.
  std::uint64_t steps_ = 0;
  const Batch* batch_ = nullptr;
  float* logits_ = nullptr;
  std::vector<Range> rope_fill_;   // by rope: positions that this step is the first to need
  bool narrows_ = false;           // fewer rows leave the last attention block than enter it
  Stream all_, last_;              // before and after that
  std::vector<int> narrow_index_;  // [rows]: index among the logit rows, -1
  std::vector<int> last_positions_;
  std::vector<QueryRows> queries_, narrow_queries_;
  std::vector<AttentionShape> shapes_;
  std::size_t last_shape_ = 0;            // index of that of the last attention block
  std::vector<AttentionWork> attention_;  // by shape
  AttentionWork narrow_attention_;        // of that block, when narrowing

  // What the workers share, [rows, ...].
  int reserved_rows_ = 0;
  RowBuffer x_, narrow_x_, query_, key_, value_, y_;
  InputBuffer input_, narrow_input_, attended_, hidden_;
};

}  // namespace mlxd::cpu
