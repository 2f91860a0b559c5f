#include "backend/cuda/matrix_plan.h"

#include <algorithm>
#include <string>
#include <utility>

#include "backend/cuda/block_limits.h"
#include "backend/cuda/step_memory.h"
#include "base/error.h"
#include "base/overloaded.h"

namespace mlxd::cuda_backend {
namespace {

constexpr int kHeadDims[] = {16, 32, 64, 80, 96, 128, 256};  // those that attend() has
constexpr int kMostGroup = 16;                               // query heads of a KV head
constexpr int kTurn = 8;                                     // rows of gate, then of up
constexpr int kStateKeyDims[] = {16, 32, 64, 128, 256};      // those that advance_states() has

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw LoadError(name + ": the cuda backend does not run " + what + " yet; use --backend cpu");
}

void check_attention(const AttentionBlock& block) {
  const std::string& name = block.query.weight.name;
  if (block.shares_cache) refuse(name, "layers that share a KV cache");
  if (block.value_norm) refuse(name, "attention with a norm of its values");
  if (block.values_are_keys()) refuse(name, "attention whose values are its keys");
  if (block.gated && spans_heads(block)) refuse(name, "gates beside a norm of all heads");
  if (std::ranges::count(kHeadDims, block.head_dim) == 0) {
    refuse(name, "heads of " + std::to_string(block.head_dim) + " dimensions");
  }
  if (block.heads / block.kv_heads > kMostGroup) {
    refuse(name, "more than 16 query heads of one KV head");
  }
}

void check_experts(const ExpertsBlock& block) {
  const std::string& name = block.router.weight.name;
  const ExpertChoice& choice = block.choice;
  if (block.experts > kMostExperts) {
    refuse(name, "more than " + std::to_string(kMostExperts) + " experts");
  }
  if (choice.chosen > kMostChosen || choice.groups > kMostChosen) {
    refuse(name, "more than " + std::to_string(kMostChosen) + " experts of a row, or groups");
  }
  if (block.shared && block.shared->weight && block.router_norm) {
    refuse(name, "a weight of shared experts beside a norm of the router");
  }
}

void check_state(const std::string& name, int key_dim, int value_dim, int kernel) {
  if (std::ranges::count(kStateKeyDims, key_dim) == 0 || value_dim % 8 != 0 || value_dim > 256) {
    refuse(name, "states of " + std::to_string(key_dim) + " x " + std::to_string(value_dim));
  }
  if (kernel > kMostKernel) refuse(name, "convolutions of " + std::to_string(kernel) + " rows");
}

std::int64_t source_row(const Linear& linear, std::int64_t row) {
  if (!linear.order.empty()) return linear.order[static_cast<std::size_t>(row)];
  const RowPattern& rows = linear.rows;
  if (rows.stride == 0) return row;
  return row / rows.count * rows.stride + rows.first + row % rows.count;
}

// visit(product, its row) for each row of the matrix; row -1: one that fills a turn or a tile.
void for_each_row(const MatrixPlan& plan, auto visit) {
  for (int expert = 0; expert < plan.experts; ++expert) {
    if (plan.alternating) {
      const std::int64_t out = plan.parts[0]->out() / plan.experts;
      for (std::int64_t first = 0; first < out; first += kTurn) {
        for (const Linear* part : plan.parts) {
          for (std::int64_t row = first; row < first + kTurn; ++row) {
            visit(*part, row < out ? expert * out + row : -1);
          }
        }
      }
      continue;
    }
    std::int64_t rows = 0;
    for (const Linear* part : plan.parts) {
      const std::int64_t out = part->out() / plan.experts;
      for (std::int64_t row = 0; row < out; ++row) visit(*part, expert * out + row);
      rows += out;
    }
    if (plan.experts == 1) continue;
    for (; rows % kUnitRows != 0; ++rows) visit(*plan.parts[0], -1);
  }
}

// Rows of the matrix that the plan describes.
int rows_of(const MatrixPlan& plan) {
  int rows = 0;
  for_each_row(plan, [&](const Linear&, std::int64_t) { ++rows; });
  return rows;
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
      [](const FeedForwardBlock&) {},
      [](const ExpertsBlock& block) { check_experts(block); },
      [](const DeltaNetBlock& block) {
        check_state(block.qkv.weight.name, block.key_dim, block.value_dim, block.kernel);
      },
      [](const ShortConvBlock& block) { refuse(block.value.weight.name, "short convolutions"); },
      [](const Mamba2Block& block) { refuse(block.input.weight.name, "Mamba-2"); },
      [](const LayerInputBlock& block) { refuse(block.gate.weight.name, "inputs of layers"); },
  };
  for (const Block& block : plan.blocks) std::visit(check, block);
}

std::vector<SourceRow> MatrixPlan::rows() const {
  std::vector<SourceRow> rows;
  for_each_row(*this, [&](const Linear& linear, std::int64_t row) {
    rows.push_back(row < 0 ? SourceRow{} : SourceRow{&linear.weight, source_row(linear, row)});
  });
  return rows;
}

std::vector<float> MatrixPlan::bias() const {
  if (std::ranges::all_of(parts, [](const Linear* part) { return part->bias.empty(); })) return {};
  std::vector<float> bias;
  for_each_row(*this, [&](const Linear& linear, std::int64_t row) {
    const bool there = row >= 0 && !linear.bias.empty();
    bias.push_back(there ? linear.bias[static_cast<std::size_t>(row)] : 0);
  });
  return bias;
}

MatrixPlan plan_matrix(const Linear& linear, Element element) {
  return plan_experts(linear, element, 1);
}

MatrixPlan plan_experts(const Linear& linear, Element element, int experts) {
  MatrixPlan plan{.parts = {&linear},
                  .alternating = false,
                  .shape = packed_shape(linear.weight, element),
                  .experts = experts};
  plan.shape.rows = rows_of(plan);
  return plan;
}

std::vector<MatrixPlan> plan_joined(std::span<const Linear* const> linears, Element element) {
  std::vector<MatrixPlan> plans;
  for (const Linear* linear : linears) {
    MatrixPlan next = plan_matrix(*linear, element);
    if (!plans.empty()) {
      MatrixPlan& last = plans.back();
      PackedShape as_last = next.shape;
      as_last.rows = last.shape.rows;
      if (as_last == last.shape) {
        last.parts.push_back(linear);
        last.shape.rows += next.shape.rows;
        continue;
      }
    }
    plans.push_back(std::move(next));
  }
  return plans;
}

std::vector<MatrixPlan> plan_heads(const AttentionBlock& block, Element element) {
  const Linear* const linears[] = {&block.query, &block.key, &block.value};
  return plan_joined(linears, element);
}

std::vector<MatrixPlan> plan_input(const DeltaNetBlock& block, Element element) {
  const Linear* const linears[] = {&block.qkv, &block.gate};
  return plan_joined(linears, element);
}

MatrixPlan plan_hidden(const std::optional<Linear>& gate, const Linear& up, Element element,
                       int experts) {
  MatrixPlan plan = plan_experts(up, element, experts);
  if (!gate) return plan;
  const auto shape = common_shape(packed_shape(gate->weight, element), plan.shape);
  if (!shape) {
    refuse(up.weight.name, to_string(up.weight.quantization) + " beside a gate of " +
                               to_string(gate->weight.quantization));
  }
  MatrixPlan both{.parts = {&*gate, &up}, .alternating = true, .shape = *shape, .experts = experts};
  both.shape.rows = rows_of(both);
  return both;
}

std::vector<float> plain_rows(std::span<const Linear* const> linears) {
  std::vector<float> numbers(plain_bytes(linears) / sizeof(float));
  std::size_t first = 0;
  for (const Linear* linear : linears) {
    const auto columns = static_cast<std::size_t>(linear->weight.columns);
    for (std::int64_t row = 0; row < linear->out(); ++row, first += columns) {
      dequantize_rows(linear->weight, source_row(*linear, row), 1,
                      std::span(numbers).subspan(first, columns));
    }
  }
  return numbers;
}

std::size_t plain_bytes(std::span<const Linear* const> linears) {
  std::int64_t count = 0;
  for (const Linear* linear : linears) count += linear->out() * linear->weight.columns;
  return static_cast<std::size_t>(count) * sizeof(float);
}

std::vector<const Linear*> scores_of(const ExpertsBlock& block) {
  std::vector<const Linear*> linears = {&block.router};
  if (block.shared && block.shared->weight) linears.push_back(&*block.shared->weight);
  return linears;
}

std::vector<const Linear*> factors_of(const DeltaNetBlock& block) {
  return {&block.alpha, &block.beta};
}

}  // namespace mlxd::cuda_backend
