#include "backend/cpu/step_phases.h"

#include <algorithm>
#include <iterator>

namespace mlxd::cpu {
namespace {

// So many rows of the hidden size one worker does sooner by itself than two that share them: a row
// takes it about 0.2 us, a phase for all as much again.
constexpr int kFewRows = 4;

// Bytes of weights that a worker takes at a time, at least: some 1.5 us of reading. Each start of a
// stream costs about 0.4 us, so that pieces of 24 KiB alone took a fifth longer.
constexpr std::size_t kPieceBytes = std::size_t{32} << 10;

}  // namespace

int pieces(std::size_t unit_bytes) {
  return static_cast<int>(std::max<std::size_t>(1, kPieceBytes / unit_bytes));
}

StepPhases::StepPhases(int hidden_size, const Kernels& kernels, const VectorOps& ops, int workers,
                       const PromptKernels* unit)
    : hidden_size_(hidden_size), kernels_(kernels), ops_(ops), unit_(unit) {
  for (int i = 0; i < workers; ++i) {
    auto& worker = *workers_.emplace_back(std::make_unique<Worker>());
    worker.post_normed.reserve(1, hidden_size);
    if (unit_) worker.scratch = std::make_unique_for_overwrite<PromptScratch>();
  }
}

void StepPhases::add_grains(int grain, std::function<int()> count,
                            std::function<void(int worker, Range part)> work) {
  const auto units = [count, grain] { return (count() + grain - 1) / grain; };
  const auto run = [count, grain, work = std::move(work)](int worker, int first, int end) {
    work(worker, {first * grain, std::min(end * grain, count())});
  };
  add({.units = units, .run = run});
}

void StepPhases::add_rows(const Stream& stream, std::function<void(int worker, int row)> work) {
  add_grains(
      kFewRows, [&stream] { return stream.rows; },
      [work = std::move(work)](int worker, Range rows) {
        for (int row = rows.first; row < rows.end; ++row) work(worker, row);
      });
}

void StepPhases::add_norm(const Stream& stream, const Residual* left, const RmsNorm* norm,
                          Reads reads, bool narrow) {
  if (narrow && reads == Reads::by_role) reads = Reads::both;
  add_rows(stream, [this, &stream, left, norm, reads, narrow](int worker, int row) {
    normalize(*workers_[worker], stream, left, norm, reads, row);
    if (narrow && narrows_) set_aside(row);
  });
}

void StepPhases::add_products(std::vector<Product> products) {
  std::size_t bytes = 0;
  int tiles = 0;
  for (const Product& product : products) {
    bytes += product.linear->matrix->bytes();
    tiles += product.linear->matrix->tiles();
  }
  std::vector<int> part_begins;
  for (int worker = 0; worker < workers(); ++worker) {
    const double point = static_cast<double>(bytes) * worker / workers();
    double passed = 0;
    int begin = 0;
    for (const Product& product : products) {
      const PackedMatrix& matrix = *product.linear->matrix;
      const auto size = static_cast<double>(matrix.bytes());
      const double part = std::clamp((point - passed) / size, 0.0, 1.0);
      begin += static_cast<int>(part * matrix.tiles() + 0.5);
      passed += size;
    }
    part_begins.push_back(begin);
  }
  const auto units = [products] {
    int count = 0;
    for (const Product& product : products) {
      if (product.stream->rows > 0) count += product.linear->matrix->tiles();
    }
    return count;
  };
  const auto run = [this, products, index = next_phase()](int worker, int first, int end) {
    for (const Product& product : products) {
      const int count = product.linear->matrix->tiles();
      const Range part = {std::max(first, 0), std::min(end, count)};
      if (part.first < part.end) multiply_tiles(worker, product, moment(index), part);
      first -= count;
      end -= count;
    }
  };
  const auto reads = [products](int tile) {
    auto product = products.begin();
    for (; tile >= product->linear->matrix->tiles(); ++product) {
      tile -= product->linear->matrix->tiles();
    }
    return product->linear->matrix->tile_bytes(tile);
  };
  add({.units = units,
       .run = run,
       .piece = pieces(bytes / tiles),
       .part_begins = part_begins,
       .reads = reads});
}

void StepPhases::reserve(int rows) {
  const int d = hidden_size_;
  for (RowBuffer* buffer : {&x_, &narrow_x_, &y_}) buffer->reserve(rows, d);
  input_.reserve(rows, d, has_unit());
  narrow_input_.reserve(rows, d);
}

const BatchSequence& StepPhases::sequence_of(int row) const {
  const auto after =
      std::ranges::upper_bound(batch_->sequences, row, {}, &BatchSequence::first_row);
  return *std::prev(after);
}

void StepPhases::plan(const Batch& batch, float* logits) {
  ++steps_;
  batch_ = &batch;
  logits_ = logits;
  const auto logit_rows = static_cast<int>(batch.wanted.size());
  narrows_ = logit_rows < batch.rows();
  all_ = {batch.rows(), &x_, &input_};
  last_ = narrows_ ? Stream{logit_rows, &narrow_x_, &narrow_input_} : all_;
  scored_ = last_;
  const auto pools = [](const WantedRow& wanted) { return wanted.output == RowOutput::pooled; };
  if (std::ranges::all_of(batch.wanted, pools)) scored_.rows = 0;
  last_positions_.clear();
  narrow_index_.assign(batch.rows(), -1);
  for (const auto& [row, output] : batch.wanted) {
    narrow_index_[row] = static_cast<int>(last_positions_.size());
    last_positions_.push_back(batch.positions[row]);
  }
  plan_roles();
}

void StepPhases::plan_roles() {
  prompt_rows_.clear();
  generated_runs_.clear();
  prompt_index_.assign(batch_->rows(), -1);
  int generated = 0;  // the first row behind the last prompt row
  for (const BatchSequence& sequence : batch_->sequences) {
    if (!has_unit() || sequence.prompt_rows == 0) continue;
    const int first = sequence.first_row, end = first + sequence.prompt_rows;
    if (generated < first) generated_runs_.push_back({generated, first});
    for (int row = first; row < end; ++row) {
      prompt_index_[row] = static_cast<int>(prompt_rows_.size());
      prompt_rows_.push_back(row);
    }
    generated = end;
  }
  if (generated < batch_->rows()) generated_runs_.push_back({generated, batch_->rows()});
}

std::size_t StepPhases::bytes() const {
  std::size_t bytes = 0;
  for (const RowBuffer* buffer : {&x_, &narrow_x_, &y_}) bytes += buffer->bytes();
  for (const InputBuffer* buffer : {&input_, &narrow_input_}) bytes += buffer->bytes();
  for (const auto& worker : workers_) {
    bytes += worker->post_normed.bytes();
    for (const PreparedInput& prepared : worker->prepared) bytes += prepared.bytes();
    if (worker->scratch) bytes += sizeof(PromptScratch);
  }
  return bytes;
}

void StepPhases::normalize(Worker& worker, const Stream& stream, const Residual* left,
                           const RmsNorm* norm, Reads reads, int row) {
  const int d = hidden_size_;
  float* x = stream.x->row(row);
  if (left) {
    float* y = y_.row(row);
    if (left->norm) {
      float* normed = worker.post_normed.row(0);
      ops_.rms_norm(y, left->norm->weight.data(), left->norm->epsilon, d, normed);
      y = normed;
    }
    if (left->scale != 1) ops_.scale(y, left->scale, d);
    ops_.add(x, y, d);
    if (left->stream_scale != 1) ops_.scale(x, left->stream_scale, d);
  }
  const InputBuffer& input = *stream.input;
  if (norm) {
    ops_.rms_norm(x, norm->weight.data(), norm->epsilon, d, input.values(row));
  } else {
    std::copy_n(x, d, input.values(row));
  }
  if (reads != Reads::values) put(input, reads, row, {0, d}, input.values(row));
}

void StepPhases::put(const InputBuffer& input, Reads reads, int row, Range columns,
                     const float* from) const {
  const int first = columns.first, count = columns.end - columns.first;
  if (reads == Reads::values) {
    std::copy_n(from, count, input.values(row) + first);
    return;
  }
  const int prompt = reads == Reads::quantized ? -1 : prompt_index_[row];
  if (prompt >= 0) input.round(*unit_, prompt, first, count, from);
  if (prompt < 0 || reads == Reads::both) input.quantize(kernels_, row, first, count, from);
}

// For the rows that go on after the last attention block.
void StepPhases::set_aside(int row) {
  const int index = narrow_index_[row];
  if (index < 0) return;
  std::copy_n(x_.row(row), hidden_size_, narrow_x_.row(index));
  narrow_input_.copy_row(index, input_, row);
}

void StepPhases::multiply(int worker, const PackedLinear& linear, const InputRows& input,
                          Moment moment, Range rows, Range tiles, float* out,
                          std::ptrdiff_t stride) {
  const PackedMatrix& matrix = *linear.matrix;
  const int count = rows.end - rows.first;
  kernels_.multiply(matrix, prepared(worker, matrix, input, moment), rows.first, count, tiles.first,
                    tiles.end, out, stride);
  if (linear.bias.empty()) return;
  const int first = tiles.first * kTileRows, end = std::min(tiles.end * kTileRows, matrix.rows());
  for (int i = 0; i < count; ++i)
    ops_.add(out + i * stride + first, &linear.bias[first], end - first);
}

void StepPhases::multiply_prompts(int worker, const PackedLinear& linear, const PromptInput& input,
                                  Range tiles, const PromptOutput& out) {
  const PackedMatrix& matrix = *linear.matrix;
  unit_->multiply(matrix, input, tiles.first, tiles.end, out, *workers_[worker]->scratch);
  if (linear.bias.empty()) return;
  const int first = tiles.first * kTileRows, end = std::min(tiles.end * kTileRows, matrix.rows());
  for (int i = 0; i < input.rows; ++i) {
    float* const row = out.values + (out.places ? out.places[i] : i) * out.stride;
    ops_.add(row + first, &linear.bias[first], end - first);
  }
}

void StepPhases::multiply_tiles(int worker, const Product& product, Moment moment, Range tiles) {
  const PackedMatrix& matrix = *product.linear->matrix;
  float* const out = product.out ? product.out->row(0) : logits_;
  const std::ptrdiff_t stride = product.out ? product.out->stride() : matrix.rows();
  const InputBuffer& buffer = product.input ? *product.input : *product.stream->input;
  if (reads(*product.stream, quantized(*product.linear)) == Reads::by_role &&
      !prompt_rows_.empty()) {
    for (const Range run : generated_runs_) {
      const int count = run.end - run.first;
      multiply(worker, *product.linear, buffer.view(run.first, count), moment, {0, count}, tiles,
               out + run.first * stride, stride);
    }
    const auto prompts = static_cast<int>(prompt_rows_.size());
    multiply_prompts(worker, *product.linear, buffer.prompts(prompts), tiles,
                     {out, stride, prompt_rows_.data()});
    return;
  }
  const InputRows input = buffer.view(0, product.stream->rows);
  multiply(worker, *product.linear, input, moment, {0, input.rows}, tiles, out, stride);
  if (product.softcap == 0) return;
  const int first = tiles.first * kTileRows, end = std::min(tiles.end * kTileRows, matrix.rows());
  for (int row = 0; row < input.rows; ++row) {
    ops_.softcap(out + row * stride + first, product.softcap, end - first);
  }
}

const PreparedInput& StepPhases::prepared(int worker, const PackedMatrix& matrix,
                                          const InputRows& input, Moment moment) {
  Worker& of = *workers_[worker];
  const int kind = matrix.input_kind();
  PreparedInput& prepared = of.prepared[kind];
  const InputRows& known = prepared.rows();
  if (of.prepared_for[kind] != moment || known.values != input.values || known.rows != input.rows) {
    // The buffer is as wide as the widest block needs it.
    InputRows read = input;
    read.columns = matrix.columns();
    kernels_.prepare(matrix, read, prepared);
    of.prepared_for[kind] = moment;
  }
  return prepared;
}

}  // namespace mlxd::cpu
