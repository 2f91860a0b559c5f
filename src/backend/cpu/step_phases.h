#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "backend/cpu/kernel_input.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/prompt_kernels.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/vector_ops.h"
#include "backend/cpu/worker_pool.h"
#include "engine/batch.h"

namespace mlxd::cpu {

struct Range {
  int first, end;
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

// How products read a row of their input beside its floats.
enum class Reads : std::uint8_t {
  values,     // not at all
  quantized,  // dot products
  by_role,    // dot products where it was generated, a matrix unit where it is of a prompt
  both,       // some products as `quantized`, some as `by_role`
};

// A phase of a step; what is prepared in one is not used in another.
using Moment = std::uint64_t;

// The phases of a forward step, made once for the model, and what layers of all kinds share: the
// rows of the step, the residual stream, norms and matrix products. Each phase reads what those
// before it wrote. Layers of one kind (attention_layers.h, ...) add the phases of their blocks, and
// own the memory that they alone need.
//
// After the last block that writes keys and values or a state only rows whose logits are wanted go
// on.
//
// With PromptKernels, products of the rows before that block are **by role**: a generated row is
// multiplied by dot products, one of a prompt on the matrix unit, in every step.
class StepPhases {
 public:
  // All references must outlive this. `unit`: what prompt rows are multiplied on; null: nothing is
  // by role.
  StepPhases(int hidden_size, const Kernels& kernels, const VectorOps& ops, int workers,
             const PromptKernels* unit = nullptr);
  StepPhases(const StepPhases&) = delete;  // the phases point into it
  StepPhases& operator=(const StepPhases&) = delete;

  const Kernels& kernels() const { return kernels_; }
  const VectorOps& ops() const { return ops_; }
  int workers() const { return static_cast<int>(workers_.size()); }
  bool has_unit() const { return unit_ != nullptr; }
  // What multiplies and attends for prompt rows of the stream; null: what does for all rows.
  const PromptKernels* unit(const Stream& stream) const {
    return &stream == &all_ ? unit_ : nullptr;
  }
  // How an input of the stream is read by matrices some of which are quantised, or none.
  Reads reads(const Stream& stream, bool any_quantized) const {
    if (!any_quantized) return Reads::values;
    return unit(stream) != nullptr ? Reads::by_role : Reads::quantized;
  }

  // While phases are added.
  void add(Phase phase) { phases_.push_back(std::move(phase)); }
  // `count` things as units of `grain` of them.
  void add_grains(int grain, std::function<int()> count,
                  std::function<void(int worker, Range part)> work);
  void add_rows(const Stream& stream, std::function<void(int worker, int row)> work);
  // x += what the last block left in y (null: there is none); input = norm(x) (null: x), as
  // products want to read it. With `narrow`, the rows that go on after this block are also set
  // aside, side by side, with their quantised form.
  void add_norm(const Stream& stream, const Residual* left, const RmsNorm* norm, Reads reads,
                bool narrow = false);
  // The tiles of all products in one line, parted by their bytes. A product whose stream may be
  // without rows while others have some must come last. They read their inputs as reads() says.
  void add_products(std::vector<Product> products);
  // What the phase that is added next has for its moment.
  std::size_t next_phase() const { return phases_.size(); }

  // Between two steps: room for so many rows; and what the step's phases are to work on.
  void reserve(int rows);
  void plan(const Batch& batch, float* logits);
  std::span<const Phase> phases() const { return phases_; }
  std::size_t bytes() const;

  // Of the step.
  const Batch& batch() const { return *batch_; }
  const Stream& all() const { return all_; }    // the rows before that block
  const Stream& last() const { return last_; }  // and after it
  bool narrows() const { return narrows_; }     // fewer leave that block than enter it
  // The rows that logits are computed of: those of last(), or none where all are to be pooled.
  const Stream& scored() const { return scored_; }
  // [rows]: where a row goes among those that go on, or -1.
  std::span<const int> narrow_index() const { return narrow_index_; }
  std::span<const int> positions(const Stream& stream) const {
    return stream.rows < all_.rows ? last_positions_ : batch_->positions;
  }
  // The sequence that a row of the batch belongs to.
  const BatchSequence& sequence_of(int row) const;
  // The row of the batch that a row of the stream is.
  int batch_row(const Stream& stream, int row) const {
    return stream.rows < all_.rows ? batch_->wanted[row].row : row;
  }
  // Rows of all() by their role: in steps with prompt rows where these have a unit. Otherwise no
  // row counts as a prompt's, and all are one run.
  std::span<const int> prompt_rows() const { return prompt_rows_; }
  std::span<const Range> generated_runs() const { return generated_runs_; }
  const RowBuffer& x() const { return x_; }
  const RowBuffer& y() const { return y_; }  // what a block adds to the stream

  // On a worker, within a phase.
  Moment moment(std::size_t phase) const { return steps_ << 16 | phase; }
  // The product of some of the input's rows and some tiles, its bias added: matrix row r of input
  // row rows.first + i is out[i * stride + r]. `rows` begins and ends as Kernels::multiply has it.
  void multiply(int worker, const PackedLinear& linear, const InputRows& input, Moment moment,
                Range rows, Range tiles, float* out, std::ptrdiff_t stride);
  // The same of prompt rows, on the unit.
  void multiply_prompts(int worker, const PackedLinear& linear, const PromptInput& input,
                        Range tiles, const PromptOutput& out);
  // Columns of a row of an input, whole groups where they are not only values, as they are read.
  void put(const InputBuffer& input, Reads reads, int row, Range columns, const float* from) const;

 private:
  // The input as `matrix` reads it, made once for all matrices of its kind in this phase.
  const PreparedInput& prepared(int worker, const PackedMatrix& matrix, const InputRows& input,
                                Moment moment);

  // Scratch memory of one worker.
  struct Worker {
    RowBuffer post_normed;                            // [1, D]
    std::array<PreparedInput, kInputKinds> prepared;  // by kind of matrix
    std::array<Moment, kInputKinds> prepared_for{};   // that each was made in
    std::unique_ptr<PromptScratch> scratch;           // with a unit
  };

  void normalize(Worker& worker, const Stream& stream, const Residual* left, const RmsNorm* norm,
                 Reads reads, int row);
  void plan_roles();
  void set_aside(int row);
  void multiply_tiles(int worker, const Product& product, Moment moment, Range tiles);

  const int hidden_size_;
  const Kernels& kernels_;
  const VectorOps& ops_;
  const PromptKernels* const unit_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Phase> phases_;

  std::uint64_t steps_ = 0;
  const Batch* batch_ = nullptr;
  float* logits_ = nullptr;
  bool narrows_ = false;
  Stream all_, last_, scored_;
  std::vector<int> narrow_index_, last_positions_;
  std::vector<int> prompt_rows_, prompt_index_;  // the latter by row: where in the former, or -1
  std::vector<Range> generated_runs_;

  // [rows, D].
  RowBuffer x_, narrow_x_, y_;
  InputBuffer input_, narrow_input_;
};

// Units of so many bytes of weights that make the smallest piece of work.
int pieces(std::size_t unit_bytes);

inline bool quantized(const PackedLinear& linear) { return linear.matrix->reads_quantized(); }

inline const RmsNorm* address(const std::optional<RmsNorm>& norm) {
  return norm ? &*norm : nullptr;
}

}  // namespace mlxd::cpu
