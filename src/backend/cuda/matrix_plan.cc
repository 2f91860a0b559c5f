#include "backend/cuda/matrix_plan.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/overloaded.h"

namespace mlxd::cuda_backend {
namespace {

constexpr int kHeadDims[] = {16, 32, 64, 80, 96, 128, 256};  // those that attend() has
constexpr int kMostGroup = 16;                               // query heads of a KV head
constexpr int kTurn = 8;                                     // rows of gate, then of up

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw LoadError(name + ": the cuda backend does not run " + what + " yet; use --backend cpu");
}

void check_attention(const AttentionBlock& block) {
  const std::string& name = block.query.weight.name;
  if (block.shares_cache) refuse(name, "layers that share a KV cache");
  if (block.value_norm) refuse(name, "attention with a norm of its values");
  if (block.values_are_keys()) refuse(name, "attention whose values are its keys");
  if (!block.sinks.empty()) refuse(name, "attention sinks");
  if (block.gated) refuse(name, "attention with a gate");
  if (std::ranges::count(kHeadDims, block.head_dim) == 0) {
    refuse(name, "heads of " + std::to_string(block.head_dim) + " dimensions");
  }
  if (block.heads / block.kv_heads > kMostGroup) {
    refuse(name, "more than 16 query heads of one KV head");
  }
}

std::int64_t source_row(const Linear& linear, std::int64_t row) {
  if (!linear.order.empty()) return linear.order[static_cast<std::size_t>(row)];
  const RowPattern& rows = linear.rows;
  if (rows.stride == 0) return row;
  return row / rows.count * rows.stride + rows.first + row % rows.count;
}

// visit(product, its row) for each row of the matrix; rows behind a product's last one fill its
// turn.
void for_each_row(const MatrixPlan& plan, auto visit) {
  const std::int64_t out = plan.parts[0]->out();
  if (!plan.alternating) {
    for (const Linear* part : plan.parts) {
      for (std::int64_t row = 0; row < part->out(); ++row) visit(*part, row);
    }
    return;
  }
  for (std::int64_t first = 0; first < out; first += kTurn) {
    for (const Linear* part : plan.parts) {
      for (int i = 0; i < kTurn; ++i) visit(*part, first + i);
    }
  }
}

}  // namespace

Element element_of(const ModelPlan& plan) {
  const Quantization& form = plan.embed.table.quantization;
  const bool affine = form.encoding == Encoding::mlx_affine;
  const Encoding type = affine ? form.scale_encoding : form.encoding;
  return type == Encoding::bf16 ? Element::bf16 : Element::f16;
}

void check_plan(const ModelPlan& plan) {
  const std::string& model = plan.embed.table.name;
  if (plan.encoder) refuse(model, "encoders");
  if (plan.pooled) refuse(model, "models that pool a text into numbers");
  if (plan.layer_inputs) refuse(model, "inputs of layers beside the residual stream");
  const Overloaded check = {
      [](const AttentionBlock& block) { check_attention(block); },
      [](const LatentAttentionBlock& block) {
        refuse(block.latent.weight.name, "latent attention");
      },
      [](const FeedForwardBlock& block) {
        if (block.activation == Activation::clamped_swiglu) {
          refuse(block.up.weight.name, "clamped SwiGLU");
        }
      },
      [](const ExpertsBlock& block) { refuse(block.router.weight.name, "experts"); },
      [](const DeltaNetBlock& block) { refuse(block.qkv.weight.name, "gated delta nets"); },
      [](const ShortConvBlock& block) { refuse(block.value.weight.name, "short convolutions"); },
      [](const Mamba2Block& block) { refuse(block.input.weight.name, "Mamba-2"); },
      [](const LayerInputBlock& block) { refuse(block.gate.weight.name, "inputs of layers"); },
  };
  for (const Block& block : plan.blocks) std::visit(check, block);
}

std::vector<SourceRow> MatrixPlan::rows() const {
  std::vector<SourceRow> rows;
  for_each_row(*this, [&](const Linear& linear, std::int64_t row) {
    const bool there = row < linear.out();
    rows.push_back(there ? SourceRow{&linear.weight, source_row(linear, row)} : SourceRow{});
  });
  return rows;
}

std::vector<float> MatrixPlan::bias() const {
  if (std::ranges::all_of(parts, [](const Linear* part) { return part->bias.empty(); })) return {};
  std::vector<float> bias;
  for_each_row(*this, [&](const Linear& linear, std::int64_t row) {
    const auto index = static_cast<std::size_t>(row);
    bias.push_back(index < linear.bias.size() ? linear.bias[index] : 0);
  });
  return bias;
}

MatrixPlan plan_matrix(const Linear& linear, Element element) {
  MatrixPlan plan{
      .parts = {&linear}, .alternating = false, .shape = packed_shape(linear.weight, element)};
  plan.shape.rows = static_cast<int>(linear.out());
  return plan;
}

std::vector<MatrixPlan> plan_heads(const AttentionBlock& block, Element element) {
  std::vector<MatrixPlan> plans;
  for (const Linear* linear : {&block.query, &block.key, &block.value}) {
    plans.push_back(plan_matrix(*linear, element));
  }
  const auto packed_as_first = [&](const MatrixPlan& plan) {
    PackedShape shape = plan.shape;
    shape.rows = plans[0].shape.rows;
    return shape == plans[0].shape;
  };
  if (!std::ranges::all_of(plans, packed_as_first)) return plans;
  MatrixPlan whole = plans[0];
  for (std::size_t i = 1; i < plans.size(); ++i) {
    whole.parts.push_back(plans[i].parts[0]);
    whole.shape.rows += plans[i].shape.rows;
  }
  return {whole};
}

MatrixPlan plan_hidden(const FeedForwardBlock& block, Element element) {
  MatrixPlan up = plan_matrix(block.up, element);
  if (!block.gate) return up;
  const MatrixPlan gate = plan_matrix(*block.gate, element);
  const auto shape = common_shape(gate.shape, up.shape);
  if (!shape) {
    refuse(block.up.weight.name, to_string(block.up.weight.quantization) + " beside a gate of " +
                                     to_string(block.gate->weight.quantization));
  }
  MatrixPlan both{.parts = {&*block.gate, &block.up}, .alternating = true, .shape = *shape};
  both.shape.rows = (up.shape.rows + kTurn - 1) / kTurn * 2 * kTurn;
  return both;
}

}  // namespace mlxd::cuda_backend
