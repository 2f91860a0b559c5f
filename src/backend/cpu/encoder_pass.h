#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/cpu/attention.h"
#include "backend/cpu/feed_forward_layers.h"
#include "backend/cpu/packed_encoder.h"
#include "backend/cpu/rope_table.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/step_phases.h"
#include "backend/cpu/vector_ops.h"
#include "backend/cpu/worker_pool.h"
#include "engine/model_runner.h"

namespace mlxd::cpu {

// One step of an encoder on all workers: whole texts, from their tokens to what they are pooled
// into. Keys and values are of this step and this layer alone, in tiles as KvCache has them, so
// that attention is computed by the same kernels as a decoder's; every row sees all of its text.
class EncoderPass {
 public:
  // All references must outlive this.
  EncoderPass(const PackedEncoder& model, const Kernels& kernels, const VectorOps& ops,
              WorkerPool& pool);
  EncoderPass(const EncoderPass&) = delete;  // the phases point into it
  EncoderPass& operator=(const EncoderPass&) = delete;

  // The batch was checked. Inference thread.
  void run(const Batch& batch, StepOutput& output);

  // Memory held for intermediate values. Between two steps.
  std::size_t buffer_bytes() const;
  // Of that, what a step of so many rows and texts takes at most.
  static std::size_t most_bytes(const ModelPlan& plan, int rows, int texts, int workers);

 private:
  // Some rows of a text and one head: what a worker computes the attention of at a time.
  struct Task {
    int text, head;
    int first, rows;  // of the text's rows
  };
  // Where a text's rows and tiles begin in the step's.
  struct Text {
    int first_row, rows, second_begin;
    int first_tile;
    int tiles() const { return (rows + kKeyTile - 1) / kKeyTile; }
  };

  void assemble();
  void add_layer(const PackedEncoderLayer& layer);
  void add_residual_norm(const LayerNorm& norm, bool quantize);
  void add_pooling();
  void reserve(int rows, int tiles, int texts);
  void plan(const Batch& batch, StepOutput& output);
  void make_angles(int positions);

  void embed(int row, bool quantize);
  void turn(const PackedEncoderLayer& layer, int row);
  void store(int row);
  void attend(const Task& task, int window, AttentionWork::Scratch& scratch);
  void pool(int wanted);
  void score(int wanted);
  std::uint8_t* keys(const Text& text, int head, int tile) const;
  std::uint8_t* values(const Text& text, int head, int tile) const {
    return keys(text, head, tile) + tile_bytes();
  }
  std::size_t tile_bytes() const {
    return static_cast<std::size_t>(kKeyTile) * model_.head_dim * sizeof(std::uint16_t);
  }

  const PackedEncoder& model_;
  const VectorOps& ops_;
  WorkerPool& pool_;
  StepPhases step_;
  FeedForwardLayers feed_forward_;
  std::vector<RopeTable> ropes_;                 // by PackedEncoder::ropes
  std::vector<AttentionWork::Scratch> scratch_;  // of each worker

  // Of the step.
  std::vector<Text> texts_;
  std::vector<int> text_of_;  // [rows]
  std::vector<Task> tasks_;
  std::vector<int> wanted_;  // texts that are pooled, in their order
  Stream pooled_;            // a row for each
  std::vector<float>* out_ = nullptr;

  int reserved_rows_ = 0;
  RowBuffer query_, key_, value_, dense_;  // [rows, D]; dense_ [texts, D]
  InputBuffer attended_, pooled_rows_;
  AlignedArray<std::uint8_t> tiles_;
};

}  // namespace mlxd::cpu
