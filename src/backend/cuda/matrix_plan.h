// Which matrices the backend makes of a plan's products, known from the headers alone.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "backend/cuda/packed_matrix.h"
#include "model/model_plan.h"

namespace mlxd::cuda_backend {

// Type of the activations: as the file's numbers or scales, and half for GGUF's blocks.
Element element_of(const ModelPlan& plan);

// Throws LoadError, a sentence that names the tensor or the kind of layer, for what the backend
// cannot run.
void check_plan(const ModelPlan& plan);

// The rows of these products, one after the other, or of two of them in turns, eight rows each. Of
// `experts` the rows of one, filled up to whole tiles where there are several, lie before the
// next's.
struct MatrixPlan {
  std::vector<const Linear*> parts;
  bool alternating = false;
  PackedShape shape;
  int experts = 1;

  std::vector<SourceRow> rows() const;
  std::vector<float> bias() const;  // [rows], empty: none has one
  // Whether it is a tensor as it lies in the file.
  bool whole() const {
    return parts.size() == 1 && experts == 1 && parts[0]->rows.stride == 0 &&
           parts[0]->order.empty();
  }
};

MatrixPlan plan_matrix(const Linear& linear, Element element);
// Products of the same input, one after the other: neighbours that are packed alike as one matrix.
std::vector<MatrixPlan> plan_joined(std::span<const Linear* const> linears, Element element);
std::vector<MatrixPlan> plan_heads(const AttentionBlock& block, Element element);
// qkv and gate.
std::vector<MatrixPlan> plan_input(const DeltaNetBlock& block, Element element);
// Gate and up in turns; without a gate `up` as it is. Throws LoadError where one is plain alone.
MatrixPlan plan_hidden(const std::optional<Linear>& gate, const Linear& up, Element element,
                       int experts = 1);
// [experts rows, columns]
MatrixPlan plan_experts(const Linear& linear, Element element, int experts);

// Every number of some products' rows, one after another, [rows, columns]: for products of 32 bits.
std::vector<float> plain_rows(std::span<const Linear* const> linears);
std::size_t plain_bytes(std::span<const Linear* const> linears);
// The products of blocks that are computed so.
std::vector<const Linear*> scores_of(const ExpertsBlock& block);
std::vector<const Linear*> factors_of(const DeltaNetBlock& block);

}  // namespace mlxd::cuda_backend
