// engine: requests become sequences, sequences become batches, logits become tokens. The one
// inference thread lives here; a backend is reached through ModelRunner alone, so nothing in this
// folder knows a device. serve/ submits jobs and reads their channels.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace mlxd {

struct RunnerInfo {
  std::string backend;          // "cpu", "mlx", "fake"
  std::string instruction_set;  // "avx512_vnni", "" where it does not apply
  int vocab_size = 0;
  int context_length = 0;
  int block_size = 16;           // tokens in one KV block
  std::size_t block_bytes = 0;   // memory of one KV block over all layers
  std::size_t weight_bytes = 0;  // resident memory of the weights
  // A row's logits are the same bits whatever else is in the batch and however the prompt was cut
  // into steps. Without it answers are as good, but not the same, and drafts are not made.
  bool rows_are_independent = true;
  // What an exported KV block is: its layout, and how its numbers are computed. To be changed with
  // either, so that no block is imported that this runner would not have computed. "": blocks
  // cannot be exported.
  std::string kv_format;
};

// What a runner will hold, told by its backend before anything is read or taken; RunnerInfo's
// figures of the same names.
struct RunnerMemory {
  std::size_t weight_bytes = 0;
  std::size_t block_bytes = 0;
  int block_size = 0;
};

// One sequence's part of a batch. Its rows are consecutive and in the order of positions.
struct BatchSequence {
  int first_row = 0;
  int query_length = 0;    // rows in this step
  int context_length = 0;  // tokens in the KV cache after this step: position of the last row + 1
  std::span<const int> blocks;  // block table: position p is in blocks[p / block_size]
};

// One forward step. Built by the Scheduler, alive during the step only.
struct Batch {
  std::vector<int> tokens;     // [rows]
  std::vector<int> positions;  // [rows]
  std::vector<BatchSequence> sequences;
  std::vector<int> logit_rows;                    // rows whose logits are wanted, ascending
  std::vector<std::pair<int, int>> block_copies;  // (from, to), done before the step: copy-on-write

  int rows() const { return static_cast<int>(tokens.size()); }
};

// Reused from step to step so that nothing is allocated.
struct StepOutput {
  std::vector<float> logits;  // [logit_rows, vocab_size]
};

// A model on a device. All functions are called on the inference thread, which also constructs and
// destroys the runner.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  virtual const RunnerInfo& info() const = 0;
  // Gives the KV cache `blocks` blocks; what it held is lost.
  virtual void resize_kv(int blocks) = 0;
  // Throws std::exception on failure; writing KV for the same position twice is harmless, so a
  // failed step may be repeated in parts.
  virtual void step(const Batch& batch, StepOutput& output) = 0;
  // Copies the contents of a KV block out and in, block_bytes of them; only where info().kv_format
  // is not empty. May throw std::exception.
  virtual void export_block(int block, std::span<std::byte> contents) const;
  virtual void import_block(int block, std::span<const std::byte> contents);
  // Memory that the runner holds now for the values between a step's operations, in bytes.
  virtual std::size_t buffer_bytes() const { return 0; }
};

}  // namespace mlxd
