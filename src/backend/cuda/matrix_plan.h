// Which matrices the backend makes of a plan's products, known from the headers alone.
#pragma once

#include <vector>

#include "backend/cuda/packed_matrix.h"
#include "model/model_plan.h"

namespace mlxd::cuda_backend {

// Type of the activations: as the file's numbers or scales, and half for GGUF's blocks.
Element element_of(const ModelPlan& plan);

// Throws LoadError, a sentence that names the tensor or the kind of layer, for what the backend
// cannot run.
void check_plan(const ModelPlan& plan);

// The rows of these products, one after the other, or of two of them in turns, eight rows each.
struct MatrixPlan {
  std::vector<const Linear*> parts;
  bool alternating = false;
  PackedShape shape;

  std::vector<SourceRow> rows() const;
  std::vector<float> bias() const;  // [rows], empty: none has one
};

MatrixPlan plan_matrix(const Linear& linear, Element element);
// One matrix, or three where they are packed in different ways.
std::vector<MatrixPlan> plan_heads(const AttentionBlock& block, Element element);
// Gate and up in turns; without a gate as it is. Throws LoadError where one is plain alone.
MatrixPlan plan_hidden(const FeedForwardBlock& block, Element element);

}  // namespace mlxd::cuda_backend
