#include "backend/cpu/forward.h"

#include <algorithm>
#include <variant>

#include "base/overloaded.h"

namespace mlxd::cpu {

ForwardPass::ForwardPass(const PackedModel& model, const Kernels& kernels, const VectorOps& ops,
                         WorkerPool& pool, KvCache& cache, StateCache& states)
    : model_(model),
      pool_(pool),
      cache_(cache),
      step_(model.hidden_size, kernels, ops, pool.size(), kernels.prompts),
      attention_step_(model, step_, cache),
      attention_(step_, attention_step_),
      latent_attention_(step_, attention_step_),
      feed_forward_(step_),
      experts_(step_, feed_forward_),
      delta_net_(step_, states),
      short_conv_(step_, states),
      mamba2_(step_, states),
      layer_inputs_(model, step_) {
  assemble();
}

void ForwardPass::assemble() {
  attention_step_.add_angles();
  step_.add_rows(step_.all(), [this](int, int row) { embed(row); });
  layer_inputs_.add_inputs();
  const Residual* left = nullptr;
  const std::size_t last = last_mixer(model_);
  for (std::size_t i = 0; i < model_.blocks.size(); ++i) {
    const Stream& stream = i > last ? step_.last() : step_.all();
    const Overloaded add_block = {
        [&](const PackedAttention& block) {
          attention_.add(block, left, stream, i == last ? step_.last() : stream);
        },
        [&](const PackedLatentAttention& block) {
          latent_attention_.add(block, left, stream, i == last ? step_.last() : stream);
        },
        [&](const PackedFeedForward& block) { feed_forward_.add(block, left, stream); },
        [&](const PackedDeltaNet& block) { delta_net_.add(block, left, i == last); },
        [&](const PackedShortConv& block) { short_conv_.add(block, left, i == last); },
        [&](const PackedMamba2& block) { mamba2_.add(block, left, i == last); },
        [&](const PackedExperts& block) { experts_.add(block, left, stream); },
        [&](const PackedLayerInput& block) { layer_inputs_.add(block, left, stream); },
    };
    std::visit(add_block, model_.blocks[i]);
    left = std::visit([](const auto& block) { return &block.residual; }, model_.blocks[i]);
  }
  step_.add_norm(step_.last(), left, &model_.head_norm,
                 step_.reads(step_.last(), quantized(model_.head)));
  step_.add_products(
      {{.linear = &model_.head, .stream = &step_.scored(), .softcap = model_.logit_softcap}});
}

void ForwardPass::reserve(int rows) {
  if (rows <= reserved_rows_) return;
  reserved_rows_ = 0;
  step_.reserve(rows);
  attention_.reserve(rows);
  latent_attention_.reserve(rows);
  feed_forward_.reserve(rows);
  experts_.reserve(rows);
  delta_net_.reserve(rows);
  short_conv_.reserve(rows);
  mamba2_.reserve(rows);
  layer_inputs_.reserve(rows);
  reserved_rows_ = rows;
}

void ForwardPass::run(const Batch& batch, StepOutput& output) {
  output.pooled.clear();
  const bool scores = std::ranges::count(batch.wanted, RowOutput::logits, &WantedRow::output) > 0;
  output.logits.resize(scores ? batch.wanted.size() * model_.head.matrix->rows() : 0);
  for (const BlockCopy& copy : batch.block_copies) {
    cache_.copy_block(copy.group, copy.from, copy.to);
  }
  if (batch.rows() == 0) return;
  reserve(batch.rows());
  step_.plan(batch, output.logits.data());
  attention_step_.plan();
  pool_.run(step_.phases());
  attention_step_.complete();
  hand_out(batch, output);
}

// What of the last rows was wanted: the logits of some, of others what the head would have read.
void ForwardPass::hand_out(const Batch& batch, StepOutput& output) const {
  const std::size_t vocabulary = model_.head.matrix->rows();
  auto to = output.logits.begin();
  for (std::size_t i = 0; i < batch.wanted.size(); ++i) {
    if (batch.wanted[i].output == RowOutput::pooled) {
      const float* values = step_.last().input->values(static_cast<int>(i));
      output.pooled.insert(output.pooled.end(), values, values + model_.hidden_size);
    } else {
      const auto from = output.logits.begin() + i * vocabulary;
      to = to == from ? from + vocabulary : std::copy_n(from, vocabulary, to);
    }
  }
  output.logits.erase(to, output.logits.end());
}

std::size_t ForwardPass::buffer_bytes() const {
  return step_.bytes() + attention_step_.bytes() + attention_.bytes() + latent_attention_.bytes() +
         feed_forward_.bytes() + experts_.bytes() + delta_net_.bytes() + short_conv_.bytes() +
         mamba2_.bytes() + layer_inputs_.bytes();
}

void ForwardPass::embed(int row) {
  float* x = step_.x().row(row);
  step_.kernels().decode_row(*model_.embedding, step_.batch().tokens[row], x);
  if (model_.embedding_scale != 1) {
    step_.ops().scale(x, model_.embedding_scale, model_.hidden_size);
  }
}

}  // namespace mlxd::cpu
