#include "backend/cpu/expert_layers.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace mlxd::cpu {
namespace {

// So many pairs of a row and an expert one worker gathers sooner by itself.
constexpr int kFewPairs = 4;

// How two products together read what each reads so.
Reads joined(Reads one, Reads other) {
  if (one == Reads::values || one == other) return other;
  return other == Reads::values ? one : Reads::both;
}

}  // namespace

ExpertLayers::ExpertLayers(StepPhases& step, FeedForwardLayers& feed_forward)
    : step_(step), feed_forward_(feed_forward), scratch_(step.workers()) {}

void ExpertLayers::add(const PackedExperts& block, const Residual* left, const Stream& stream) {
  experts_ = std::max(experts_, block.experts);
  chosen_ = std::max(chosen_, block.choice.chosen);
  hidden_columns_ = std::max(hidden_columns_, block.intermediate_size);
  columns_ = block.hidden_size;
  Sorted& sorted = sorted_.emplace_back();
  sorted.segments.reserve(block.experts);

  // The experts themselves are products of all rows alike.
  Reads reads = block.mlp.reads_quantized() ? Reads::quantized : Reads::values;
  if (!block.router_norm) reads = joined(reads, step_.reads(stream, quantized(block.router)));
  if (const auto& shared = block.shared) {
    if (!shared->input_norm) reads = joined(reads, feed_forward_.reads(shared->mlp, stream));
    const bool weighs = shared->weight && quantized(*shared->weight);
    reads = joined(reads, step_.reads(stream, weighs));
  }
  step_.add_norm(stream, left, address(block.input_norm), reads);
  Product score = {.linear = &block.router, .stream = &stream, .out = &scores_};
  if (block.router_norm) {
    router_norm_ = true;
    score.input = &router_input_;
    add_own_input(stream, *block.router_norm, step_.reads(stream, quantized(block.router)),
                  router_input_);
  }
  std::vector<Product> scores = {score};
  if (const auto& shared = block.shared) {
    shared_ = true;
    if (shared->input_norm) {
      shared_norm_ = true;
      add_own_input(stream, *shared->input_norm, feed_forward_.reads(shared->mlp, stream),
                    shared_input_);
    }
    if (shared->weight) {
      scores.push_back({.linear = &*shared->weight, .stream = &stream, .out = &shared_weight_});
    }
  }
  step_.add_products(std::move(scores));
  add_choice(block, stream, sorted);
  add_hidden(block, stream, sorted);
  add_output(block, sorted);
  if (const auto& shared = block.shared) {
    feed_forward_.add_mlp(shared->mlp, stream, shared_out_,
                          shared->input_norm ? &shared_input_ : nullptr);
  }
  add_sum(block, stream);
}

// input = norm(the residual stream), beside what the experts read.
void ExpertLayers::add_own_input(const Stream& stream, const RmsNorm& norm, Reads reads,
                                 const InputBuffer& input) {
  step_.add_rows(stream, [this, &stream, &norm, reads, &input](int, int row) {
    const int d = static_cast<int>(norm.weight.size());
    float* const values = input.values(row);
    step_.ops().rms_norm(stream.x->row(row), norm.weight.data(), norm.epsilon, d, values);
    if (reads != Reads::values) step_.put(input, reads, row, {0, d}, values);
  });
}

// Rows choose; the pairs are sorted; inputs are gathered where an expert has several.
void ExpertLayers::add_choice(const PackedExperts& block, const Stream& stream, Sorted& sorted) {
  step_.add_rows(stream, [this, &block](int worker, int row) {
    const int chosen = block.choice.chosen;
    choose_experts(block.choice, {scores_.row(row), static_cast<std::size_t>(block.experts)},
                   scratch_[worker],
                   std::span(choices_).subspan(static_cast<std::size_t>(row) * chosen, chosen));
  });
  step_.add({.units = [&stream] { return std::min(stream.rows, 1); },
             .run = [this, &block, &stream, &sorted](int, int,
                                                     int) { sort(block, stream.rows, sorted); }});
  step_.add_grains(
      kFewPairs,
      [&block, &stream] { return stream.rows > 1 ? stream.rows * block.choice.chosen : 0; },
      [this, &stream](int, Range places) {
        for (int place = places.first; place < places.end; ++place) {
          gathered_.copy_row(place, *stream.input, rows_[place]);
        }
      });
}

void ExpertLayers::sort(const PackedExperts& block, int rows, Sorted& sorted) {
  const int pairs = rows * block.choice.chosen;
  next_place_.assign(block.experts, 0);
  for (int i = 0; i < pairs; ++i) ++next_place_[choices_[i].expert];
  sorted.segments.clear();
  int first = 0;
  for (int expert = 0; expert < block.experts; ++expert) {
    const int count = std::exchange(next_place_[expert], first);
    if (count > 0) sorted.segments.push_back({expert, first, count});
    first += count;
  }
  for (int i = 0; i < pairs; ++i) {
    places_[i] = next_place_[choices_[i].expert]++;
    rows_[places_[i]] = i / block.choice.chosen;
  }
}

InputRows ExpertLayers::input_of(const Segment& segment, const Stream& stream) const {
  return stream.rows > 1 ? gathered_.view(segment.first, segment.rows) : stream.input->view(0, 1);
}

void ExpertLayers::add_hidden(const PackedExperts& block, const Stream& stream,
                              const Sorted& sorted) {
  const int groups = block.intermediate_size / kGroupColumns;
  const auto run = [this, &block, &stream, &sorted, groups, index = step_.next_phase()](
                       int worker, int first, int end) {
    for (int unit = first; unit < end;) {
      const Segment& segment = sorted.segments[unit / groups];
      const int from = unit % groups, to = std::min(groups, from + end - unit);
      const HiddenRows rows{.mlp = &block.mlp,
                            .first_matrix_row = segment.expert * block.intermediate_size,
                            .input = input_of(segment, stream),
                            .hidden = &hidden_,
                            .reads = quantized(block.mlp.down) ? Reads::quantized : Reads::values,
                            .first_row = segment.first};
      feed_forward_.gate_groups(worker, rows, step_.moment(index), {from, to});
      unit += to - from;
    }
  };
  step_.add(
      {.units = [&sorted, groups] { return static_cast<int>(sorted.segments.size()) * groups; },
       .run = run,
       .piece =
           pieces(block.mlp.input_bytes() / (static_cast<std::size_t>(block.experts) * groups))});
}

void ExpertLayers::add_output(const PackedExperts& block, const Sorted& sorted) {
  const PackedLinear& down = block.mlp.down;
  const int tiles = block.hidden_size / kTileRows;
  const auto run = [this, &block, &down, &sorted, tiles, index = step_.next_phase()](
                       int worker, int first, int end) {
    for (int unit = first; unit < end;) {
      const Segment& segment = sorted.segments[unit / tiles];
      const int from = unit % tiles, to = std::min(tiles, from + end - unit);
      const int matrix_row = segment.expert * block.hidden_size;
      const InputRows input = hidden_.view(segment.first, segment.rows);
      float* const out = out_.row(segment.first) - matrix_row;
      const int first_tile = segment.expert * tiles;
      step_.multiply(worker, down, input, step_.moment(index), {0, input.rows},
                     {first_tile + from, first_tile + to}, out, out_.stride());
      unit += to - from;
    }
  };
  step_.add({.units = [&sorted, tiles] { return static_cast<int>(sorted.segments.size()) * tiles; },
             .run = run,
             .piece = pieces(down.matrix->bytes() / down.matrix->tiles())});
}

void ExpertLayers::add_sum(const PackedExperts& block, const Stream& stream) {
  step_.add_rows(stream, [this, &block](int, int row) { sum(block, row); });
}

void ExpertLayers::sum(const PackedExperts& block, int row) {
  const VectorOps& ops = step_.ops();
  const int d = block.hidden_size;
  float* y = step_.y().row(row);
  const auto add = [&](float* part, float weight, bool first) {
    ops.scale(part, weight, d);
    if (first) {
      std::copy_n(part, d, y);
    } else {
      ops.add(y, part, d);
    }
  };
  const int pair = row * block.choice.chosen;
  for (int i = 0; i < block.choice.chosen; ++i) {
    add(out_.row(places_[pair + i]), choices_[pair + i].weight, i == 0);
  }
  const auto norm_in_place = [&](const std::optional<RmsNorm>& norm, float* values) {
    if (norm) ops.rms_norm(values, norm->weight.data(), norm->epsilon, d, values);
  };
  norm_in_place(block.experts_norm, y);
  if (!block.shared) return;
  const float weight = block.shared->weight ? 1 / (1 + std::exp(-shared_weight_.row(row)[0])) : 1;
  norm_in_place(block.shared->output_norm, shared_out_.row(row));
  add(shared_out_.row(row), weight, false);
}

void ExpertLayers::reserve(int rows) {
  if (sorted_.empty()) return;
  const int pairs = rows * chosen_;
  choices_.resize(pairs);
  places_.resize(pairs);
  rows_.resize(pairs);
  next_place_.reserve(experts_);
  scores_.reserve(rows, experts_);
  gathered_.reserve(pairs, columns_);
  hidden_.reserve(pairs, hidden_columns_);
  out_.reserve(pairs, columns_);
  if (router_norm_) router_input_.reserve(rows, columns_, step_.has_unit());
  if (shared_norm_) shared_input_.reserve(rows, columns_, step_.has_unit());
  if (!shared_) return;
  shared_out_.reserve(rows, columns_);
  shared_weight_.reserve(rows, 1);
}

std::size_t ExpertLayers::bytes() const {
  return choices_.capacity() * sizeof(ChosenExpert) +
         (places_.capacity() + rows_.capacity() + next_place_.capacity()) * sizeof(int) +
         scores_.bytes() + shared_out_.bytes() + shared_weight_.bytes() + gathered_.bytes() +
         hidden_.bytes() + out_.bytes() + router_input_.bytes() + shared_input_.bytes();
}

std::size_t ExpertLayers::bytes_for(int rows, int experts, int chosen, int hidden_size,
                                    int intermediate_size, bool shared, int own_inputs) {
  const int pairs = rows * chosen;
  return static_cast<std::size_t>(pairs) * (sizeof(ChosenExpert) + 2 * sizeof(int)) +
         experts * sizeof(int) + RowBuffer::bytes_for(rows, experts) +
         InputBuffer::bytes_for(pairs, hidden_size) +
         InputBuffer::bytes_for(pairs, intermediate_size) +
         RowBuffer::bytes_for(pairs, hidden_size) +
         own_inputs * InputBuffer::bytes_for(rows, hidden_size) +
         (shared ? RowBuffer::bytes_for(rows, hidden_size) + RowBuffer::bytes_for(rows, 1) : 0);
}

}  // namespace mlxd::cpu
