#include "backend/cpu/forward.h"

#include <algorithm>
#include <array>
#include <variant>

#include "base/overloaded.h"

namespace mlxd::cpu {
namespace {

// So much one worker does sooner by itself than two that share it: a row takes it about 0.2 us, a
// phase for all as much again. Rows of the hidden size, numbers that are rotated, and positions
// whose angles are computed.
constexpr int kFewRows = 4;
constexpr int kFewNumbers = 2048;
constexpr int kFewPositions = 4;

// Rows and columns of the hidden layer computed at a time: gate, up and their weights stay in a
// level-2 cache, and are long enough to be read as streams.
constexpr int kGateRows = kPreparedRows;
constexpr int kGateColumns = 256;

// Bytes of weights that a worker takes at a time, at least: some 1.5 us of reading. Each start of a
// stream costs about 0.4 us, so that pieces of 24 KiB alone took a fifth longer.
constexpr std::size_t kPieceBytes = std::size_t{32} << 10;

AttentionShape shape_of(const PackedAttention& block) {
  return {block.heads, block.kv_heads, block.head_dim, block.softcap, block.window};
}

// Units of so many bytes that make the smallest piece of work.
int pieces(std::size_t unit_bytes) {
  return static_cast<int>(std::max<std::size_t>(1, kPieceBytes / unit_bytes));
}

// Whether an attention task fills whole groups of columns, so that it can quantise them.
bool finishes_groups(const PackedAttention& block) {
  return block.heads / block.kv_heads * block.head_dim % kGroupColumns == 0;
}

bool quantized(const PackedLinear& linear) { return linear.matrix->reads_quantized(); }

const RmsNorm* address(const std::optional<RmsNorm>& norm) { return norm ? &*norm : nullptr; }

}  // namespace

ForwardPass::ForwardPass(const PackedModel& model, const Kernels& kernels, const VectorOps& ops,
                         WorkerPool& pool, KvCache& cache)
    : model_(model), kernels_(kernels), ops_(ops), pool_(pool), cache_(cache) {
  for (const Rope& rope : model.ropes) ropes_.emplace_back(rope, model.context_length);
  rope_fill_.resize(ropes_.size());
  for (int i = 0; i < pool.size(); ++i) {
    auto& worker = *workers_.emplace_back(std::make_unique<Worker>());
    worker.post_normed.reserve(1, model.hidden_size);
    worker.gate.reserve(kGateRows * kGateColumns);
    worker.up.reserve(kGateRows * kGateColumns);
  }
  assemble();
}

void ForwardPass::assemble() {
  for (std::size_t i = 0; i < ropes_.size(); ++i) {
    add_grains(
        kFewPositions, [this, i] { return rope_fill_[i].end - rope_fill_[i].first; },
        [this, i](int, Range part) {
          ropes_[i].fill(rope_fill_[i].first + part.first, rope_fill_[i].first + part.end);
        });
  }
  add_rows(all_, [this](int, int row) { embed(row); });
  const Residual* left = nullptr;
  const std::size_t last = last_attention(model_);
  for (std::size_t i = 0; i < model_.blocks.size(); ++i) {
    const Overloaded add_block = {
        [&](const PackedAttention& block) { add_attention(block, left, i == last); },
        [&](const PackedFeedForward& block) {
          add_feed_forward(block, left, i > last ? last_ : all_);
        },
    };
    std::visit(add_block, model_.blocks[i]);
    left = std::visit([](const auto& block) { return &block.residual; }, model_.blocks[i]);
  }
  add_norm(last_, left, &model_.head_norm, quantized(model_.head));
  add_products({{.linear = &model_.head, .stream = &last_, .softcap = model_.logit_softcap}});
}

// `count` things as units of `grain` of them.
void ForwardPass::add_grains(int grain, std::function<int()> count,
                             std::function<void(int worker, Range part)> work) {
  const auto units = [count, grain] { return (count() + grain - 1) / grain; };
  const auto run = [count, grain, work = std::move(work)](int worker, int first, int end) {
    work(worker, {first * grain, std::min(end * grain, count())});
  };
  add({.units = units, .run = run});
}

void ForwardPass::add_rows(const Stream& stream, std::function<void(int worker, int row)> work) {
  add_grains(
      kFewRows, [&stream] { return stream.rows; },
      [work = std::move(work)](int worker, Range rows) {
        for (int row = rows.first; row < rows.end; ++row) work(worker, row);
      });
}

// With `narrow`, the rows that go on after this block are also set aside, side by side.
void ForwardPass::add_norm(const Stream& stream, const Residual* left, const RmsNorm* norm,
                           bool quantize, bool narrow) {
  add_rows(stream, [this, &stream, left, norm, quantize, narrow](int worker, int row) {
    normalize(*workers_[worker], stream, left, norm, quantize, row);
    if (narrow && narrows_) set_aside(row);
  });
}

void ForwardPass::add_attention(const PackedAttention& block, const Residual* left, bool last) {
  const Stream& to = last ? last_ : all_;
  const bool quantize = quantized(block.query) || quantized(block.key) || quantized(block.value);
  add_norm(all_, left, address(block.input_norm), quantize, last);
  add_products({{.linear = &block.key, .stream = &all_, .out = &key_},
                {.linear = &block.value, .stream = &all_, .out = &value_},
                {.linear = &block.query, .stream = &to, .out = &query_}});
  if (block.norms_rows(block.query_norm)) add_row_norm(to, block.query_norm, query_);
  if (block.norms_rows(block.key_norm)) add_row_norm(all_, block.key_norm, key_);
  add_rotation(block, to);
  add_tasks(block, to, last);
  add_products({{.linear = &block.output, .stream = &to, .input = &attended_, .out = &y_}});
}

// The norm of all heads of q or k as one vector, in place.
void ForwardPass::add_row_norm(const Stream& stream, const std::optional<RmsNorm>& norm,
                               const RowBuffer& rows) {
  add_rows(stream, [this, &norm = *norm, &rows](int, int row) {
    const int count = static_cast<int>(norm.weight.size());
    ops_.rms_norm(rows.row(row), norm.weight.data(), norm.epsilon, count, rows.row(row));
  });
}

// Per-head norms, rotation and scale of q and k in place; k and v into the cache.
void ForwardPass::add_rotation(const PackedAttention& block, const Stream& to) {
  const auto keys = [this, &block] { return all_.rows * block.kv_heads; };
  const auto heads = [&block, &to, keys] { return keys() + to.rows * block.heads; };
  add_grains(std::max(1, kFewNumbers / block.head_dim), heads,
             [this, &block, &to, keys](int, Range part) {
               const int stored = keys();
               store_keys(block, {std::min(part.first, stored), std::min(part.end, stored)});
               rotate_queries(block, to, {std::max(part.first - stored, 0), part.end - stored});
             });
}

void ForwardPass::add_tasks(const PackedAttention& block, const Stream& to, bool last) {
  const std::size_t shape = index_of(shape_of(block));
  if (last) last_shape_ = shape;
  const auto work = [this, shape, last]() -> AttentionWork& {
    return last && narrows_ ? narrow_attention_ : attention_[shape];
  };
  const auto add_part = [&](auto count, auto compute) {
    const auto run = [this, &block, work, compute](int worker, int first, int end) {
      const AttentionWork::Data data{&cache_, batch_, block.layer, &query_, &attended_};
      for (int i = first; i < end; ++i) {
        finish_attention(block, (work().*compute)(i, ops_, data, workers_[worker]->attention));
      }
    };
    add({.units = [work, count] { return (work().*count)(); }, .run = run, .in_order = true});
  };
  add_part(&AttentionWork::tasks, &AttentionWork::run);
  add_part(&AttentionWork::folds, &AttentionWork::fold);
  if (finishes_groups(block) || !quantized(block.output)) return;
  add_rows(to, [this, columns = block.heads * block.head_dim](int, int row) {
    attended_.quantize(kernels_, row, 0, columns, attended_.values(row));
  });
}

std::size_t ForwardPass::index_of(const AttentionShape& shape) {
  const auto known = std::find(shapes_.begin(), shapes_.end(), shape);
  const auto index = static_cast<std::size_t>(known - shapes_.begin());
  if (known == shapes_.end()) {
    shapes_.push_back(shape);
    attention_.emplace_back();
  }
  return index;
}

void ForwardPass::add_feed_forward(const PackedFeedForward& block, const Residual* left,
                                   const Stream& stream) {
  add_norm(stream, left, address(block.input_norm), quantized(block.gate) || quantized(block.up));
  const int groups = block.gate.matrix->rows() / kGroupColumns;
  const std::size_t bytes = block.gate.matrix->bytes() + block.up.matrix->bytes();
  const auto run = [this, &block, &stream, index = phases_.size()](int worker, int first, int end) {
    for (int group = first; group < end; group += kGateColumns / kGroupColumns) {
      const Range columns = {group * kGroupColumns,
                             std::min(end * kGroupColumns, group * kGroupColumns + kGateColumns)};
      for (int row = 0; row < stream.rows; row += kGateRows) {
        gate_columns(*workers_[worker], block, stream, moment(index),
                     {row, std::min(row + kGateRows, stream.rows)}, columns);
      }
    }
  };
  const auto reads = [&gate = *block.gate.matrix](int group) {
    return gate.tile_bytes(group * kGroupColumns / kTileRows);
  };
  add({.units = [&stream, groups] { return stream.rows > 0 ? groups : 0; },
       .run = run,
       .piece = pieces(bytes / groups),
       .reads = reads});
  add_products({{.linear = &block.down, .stream = &stream, .input = &hidden_, .out = &y_}});
}

// The tiles of all products in one line, parted by their bytes. A product whose stream may be
// without rows while others have some must come last.
void ForwardPass::add_products(std::vector<Product> products) {
  std::size_t bytes = 0;
  int tiles = 0;
  for (const Product& product : products) {
    bytes += product.linear->matrix->bytes();
    tiles += product.linear->matrix->tiles();
  }
  std::vector<int> part_begins;
  for (int worker = 0; worker < pool_.size(); ++worker) {
    const double point = static_cast<double>(bytes) * worker / pool_.size();
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
  const auto run = [this, products, index = phases_.size()](int worker, int first, int end) {
    for (const Product& product : products) {
      const int count = product.linear->matrix->tiles();
      const Range part = {std::max(first, 0), std::min(end, count)};
      if (part.first < part.end) multiply_tiles(*workers_[worker], product, moment(index), part);
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

void ForwardPass::reserve(int rows) {
  if (rows <= reserved_rows_) return;
  const Widths most = widest(model_);
  reserved_rows_ = 0;
  const int d = model_.hidden_size;
  for (RowBuffer* buffer : {&x_, &narrow_x_, &y_}) buffer->reserve(rows, d);
  for (RowBuffer* buffer : {&key_, &value_}) buffer->reserve(rows, most.kv);
  for (InputBuffer* buffer : {&input_, &narrow_input_}) buffer->reserve(rows, d);
  query_.reserve(rows, most.query);
  attended_.reserve(rows, most.query);
  hidden_.reserve(rows, most.hidden);
  reserved_rows_ = rows;
}

void ForwardPass::plan(const Batch& batch) {
  batch_ = &batch;
  int end_position = 0;
  for (const int position : batch.positions) end_position = std::max(end_position, position + 1);
  for (std::size_t i = 0; i < ropes_.size(); ++i) {
    rope_fill_[i] = {ropes_[i].positions(), std::max(end_position, ropes_[i].positions())};
    ropes_[i].make_room(end_position);
  }
  const auto logit_rows = static_cast<int>(batch.wanted.size());
  narrows_ = logit_rows < batch.rows();
  all_ = {batch.rows(), &x_, &input_};
  last_ = narrows_ ? Stream{logit_rows, &narrow_x_, &narrow_input_} : all_;
  plan_attention(batch);
}

void ForwardPass::plan_attention(const Batch& batch) {
  queries_.clear();
  narrow_queries_.clear();
  last_positions_.clear();
  narrow_index_.assign(batch.rows(), -1);
  for (const auto& [row, output] : batch.wanted) {
    narrow_index_[row] = static_cast<int>(last_positions_.size());
    last_positions_.push_back(batch.positions[row]);
  }
  int narrow_rows = 0;
  for (std::size_t s = 0; s < batch.sequences.size(); ++s) {
    const BatchSequence& sequence = batch.sequences[s];
    queries_.push_back({static_cast<int>(s), sequence.first_row, sequence.query_length});
    QueryRows narrow{static_cast<int>(s), narrow_rows, 0};
    for (int i = 0; i < sequence.query_length; ++i) {
      narrow.rows += narrow_index_[sequence.first_row + i] >= 0;
    }
    narrow_rows += narrow.rows;
    narrow_queries_.push_back(narrow);
  }
  for (std::size_t i = 0; i < shapes_.size(); ++i) {
    attention_[i].plan(shapes_[i], queries_, batch.positions, pool_.size());
  }
  if (narrows_) {
    narrow_attention_.plan(shapes_[last_shape_], narrow_queries_, last_positions_, pool_.size());
  }
}

void ForwardPass::run(const Batch& batch, StepOutput& output) {
  output.logits.resize(batch.wanted.size() * model_.head.matrix->rows());
  for (const BlockCopy& copy : batch.block_copies) {
    cache_.copy_block(copy.group, copy.from, copy.to);
  }
  if (batch.rows() == 0) return;
  logits_ = output.logits.data();
  reserve(batch.rows());
  plan(batch);
  ++steps_;
  pool_.run(phases_);
  for (std::size_t i = 0; i < ropes_.size(); ++i) ropes_[i].have(rope_fill_[i].end);
}

std::size_t ForwardPass::buffer_bytes() const {
  std::size_t bytes = narrow_attention_.bytes();
  for (const RowBuffer* buffer : {&x_, &narrow_x_, &query_, &key_, &value_, &y_}) {
    bytes += buffer->bytes();
  }
  for (const InputBuffer* buffer : {&input_, &narrow_input_, &attended_, &hidden_}) {
    bytes += buffer->bytes();
  }
  for (const AttentionWork& work : attention_) bytes += work.bytes();
  for (const RopeTable& rope : ropes_) bytes += rope.bytes();
  for (const auto& worker : workers_) {
    bytes += worker->post_normed.bytes() + worker->gate.bytes() + worker->up.bytes() +
             worker->attention.bytes();
    for (const PreparedInput& prepared : worker->prepared) bytes += prepared.bytes();
  }
  return bytes;
}

void ForwardPass::embed(int row) {
  float* x = x_.row(row);
  kernels_.decode_row(*model_.embedding, batch_->tokens[row], x);
  if (model_.embedding_scale != 1) ops_.scale(x, model_.embedding_scale, model_.hidden_size);
}

// x += what the last block left; input = norm(x), quantised for the products that want it so.
void ForwardPass::normalize(Worker& worker, const Stream& stream, const Residual* left,
                            const RmsNorm* norm, bool quantize, int row) {
  const int d = model_.hidden_size;
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
  }
  const InputBuffer& input = *stream.input;
  if (norm) {
    ops_.rms_norm(x, norm->weight.data(), norm->epsilon, d, input.values(row));
  } else {
    std::copy_n(x, d, input.values(row));
  }
  if (quantize) input.quantize(kernels_, row, 0, d, input.values(row));
}

// For the rows that go on after the last attention block.
void ForwardPass::set_aside(int row) {
  const int index = narrow_index_[row];
  if (index < 0) return;
  std::copy_n(x_.row(row), model_.hidden_size, narrow_x_.row(index));
  narrow_input_.copy_row(index, input_, row);
}

void ForwardPass::turn(const PackedAttention& block, const std::optional<RmsNorm>& norm,
                       int position, float* head) {
  if (block.norms_heads(norm)) {
    ops_.rms_norm(head, norm->weight.data(), norm->epsilon, block.head_dim, head);
  }
  if (block.rope < 0) return;
  const RopeTable& rope = ropes_[block.rope];
  ops_.rotate(head, rope.cosines(position), rope.sines(position), rope.half());
}

void ForwardPass::store_keys(const PackedAttention& block, Range heads) {
  const int d = block.head_dim, block_size = cache_.block_size();
  const int group = cache_.group_of(block.layer);
  const KvOps& kv = ops_.kv(cache_.format());
  std::size_t s = 0;
  for (int i = heads.first; i < heads.end; ++i) {
    const int row = i / block.kv_heads, head = i % block.kv_heads;
    while (row >= batch_->sequences[s].first_row + batch_->sequences[s].query_length) ++s;
    const int position = batch_->positions[row];
    const int cache_block = batch_->sequences[s].blocks[group][position / block_size];
    const int tile = position % block_size / kKeyTile, slot = position % kKeyTile;
    float* key = key_.row(row) + head * d;
    turn(block, block.key_norm, position, key);
    kv.store_key(key, d, cache_.keys(block.layer, cache_block, head, tile), slot);
    kv.store_value(value_.row(row) + head * d, d,
                   cache_.values(block.layer, cache_block, head, tile), slot);
  }
}

void ForwardPass::rotate_queries(const PackedAttention& block, const Stream& to, Range heads) {
  const std::span<const int> positions = to.rows < all_.rows ? last_positions_ : batch_->positions;
  for (int i = heads.first; i < heads.end; ++i) {
    const int row = i / block.heads;
    float* query = query_.row(row) + i % block.heads * block.head_dim;
    turn(block, block.query_norm, positions[row], query);
    const float temperature = block.temperature ? block.temperature->at(positions[row]) : 1;
    ops_.scale(query, block.scale * temperature, block.head_dim);
  }
}

// Quantises what a task has finished, where that is whole groups of columns.
void ForwardPass::finish_attention(const PackedAttention& block,
                                   const AttentionWork::Finished& part) {
  if (!finishes_groups(block) || !quantized(block.output)) return;
  const int columns = block.heads / block.kv_heads * block.head_dim;
  const int first = part.kv_head * columns;
  for (int row = part.first_row; row < part.first_row + part.rows; ++row) {
    attended_.quantize(kernels_, row, first, columns, attended_.values(row) + first);
  }
}

// hidden = activation(gate) * up for some rows and whole groups of columns.
void ForwardPass::gate_columns(Worker& worker, const PackedFeedForward& block, const Stream& stream,
                               Moment moment, Range rows, Range columns) {
  const InputRows input = stream.input->view(0, stream.rows);
  const int count = columns.end - columns.first, row_count = rows.end - rows.first;
  const auto multiply = [&](const PackedLinear& linear, float* out) {
    kernels_.multiply(*linear.matrix, prepared(worker, *linear.matrix, input, moment), rows.first,
                      row_count, columns.first / kTileRows, columns.end / kTileRows,
                      out - columns.first, count);
    if (linear.bias.empty()) return;
    for (int row = 0; row < row_count; ++row) {
      ops_.add(out + static_cast<std::ptrdiff_t>(row) * count, &linear.bias[columns.first], count);
    }
  };
  multiply(block.gate, worker.gate.data());
  multiply(block.up, worker.up.data());
  const bool silu = block.activation == Activation::silu;
  const bool quantize = quantized(block.down);
  for (int row = 0; row < row_count; ++row) {
    float* gate = worker.gate.data() + static_cast<std::ptrdiff_t>(row) * count;
    const float* up = worker.up.data() + static_cast<std::ptrdiff_t>(row) * count;
    (silu ? ops_.silu_gate : ops_.gelu_gate)(gate, up, count);
    const int to = rows.first + row;
    if (quantize) {
      hidden_.quantize(kernels_, to, columns.first, count, gate);
    } else {
      std::copy_n(gate, count, hidden_.values(to) + columns.first);
    }
  }
}

void ForwardPass::multiply_tiles(Worker& worker, const Product& product, Moment moment,
                                 Range tiles) {
  const PackedMatrix& matrix = *product.linear->matrix;
  float* const out = product.out ? product.out->row(0) : logits_;
  const std::ptrdiff_t stride = product.out ? product.out->stride() : matrix.rows();
  const InputRows input =
      (product.input ? *product.input : *product.stream->input).view(0, product.stream->rows);
  kernels_.multiply(matrix, prepared(worker, matrix, input, moment), 0, input.rows, tiles.first,
                    tiles.end, out, stride);
  const int first = tiles.first * kTileRows,
            count = std::min(tiles.end * kTileRows, matrix.rows()) - first;
  const std::vector<float>& bias = product.linear->bias;
  if (bias.empty() && product.softcap == 0) return;
  for (int row = 0; row < input.rows; ++row) {
    float* values = out + row * stride + first;
    if (!bias.empty()) ops_.add(values, &bias[first], count);
    if (product.softcap != 0) ops_.softcap(values, product.softcap, count);
  }
}

// The input as `matrix` reads it, made once for all matrices of its kind in this phase.
const PreparedInput& ForwardPass::prepared(Worker& worker, const PackedMatrix& matrix,
                                           const InputRows& input, Moment moment) {
  const int kind = matrix.input_kind();
  PreparedInput& prepared = worker.prepared[kind];
  if (worker.prepared_for[kind] != moment || prepared.rows().values != input.values) {
    kernels_.prepare(matrix, input, prepared);
    worker.prepared_for[kind] = moment;
  }
  return prepared;
}

}  // namespace mlxd::cpu
