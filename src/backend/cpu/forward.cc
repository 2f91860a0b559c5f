#include "backend/cpu/forward.h"

#include <algorithm>
#include <array>

namespace mlxd::cpu {
namespace {

// Up to as many rows each worker normalises for itself: about 0.2 us a row against a barrier.
constexpr int kFewRows = 4;

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

bool quantized(const PackedLinear& linear) { return linear.matrix->reads_quantized(); }

}  // namespace

ForwardPass::ForwardPass(const PackedModel& model, const Kernels& kernels, const VectorOps& ops,
                         WorkerPool& pool, KvCache& cache)
    : model_(model),
      kernels_(kernels),
      ops_(ops),
      pool_(pool),
      cache_(cache),
      shares_(pool.size()) {
  for (const Rope& rope : model.ropes) ropes_.emplace_back(rope);
  rope_fill_.resize(ropes_.size());
  for (const auto& block : model.blocks) {
    const auto* attention = std::get_if<PackedAttention>(&block);
    if (!attention) continue;
    const AttentionShape shape = shape_of(*attention);
    const auto known = std::find(shapes_.begin(), shapes_.end(), shape);
    shape_of_block_.push_back(static_cast<int>(known - shapes_.begin()));
    if (known == shapes_.end()) shapes_.push_back(shape);
  }
  attention_.resize(shapes_.size());
  counters_ = std::vector<Counters>(shape_of_block_.size());
  for (int i = 0; i < pool.size(); ++i) {
    auto& worker = *workers_.emplace_back(std::make_unique<Worker>());
    worker.index = i;
    worker.private_x.reserve(kFewRows, model.hidden_size);
    worker.private_input.reserve(kFewRows, model.hidden_size);
    worker.post_normed.reserve(1, model.hidden_size);
    worker.gate.reserve(kGateRows * kGateColumns);
    worker.up.reserve(kGateRows * kGateColumns);
  }
}

void ForwardPass::reserve(int rows) {
  if (rows <= reserved_rows_) return;
  int query = 0, kv = 0, hidden = 0;
  for (const auto& block : model_.blocks) {
    if (const auto* attention = std::get_if<PackedAttention>(&block)) {
      query = std::max(query, attention->heads * attention->head_dim);
      kv = std::max(kv, attention->kv_heads * attention->head_dim);
    } else {
      hidden = std::max(hidden, std::get<PackedFeedForward>(block).gate.matrix->rows());
    }
  }
  reserved_rows_ = 0;
  const int d = model_.hidden_size;
  for (RowBuffer* buffer : {&x_, &narrow_x_, &y_}) buffer->reserve(rows, d);
  for (RowBuffer* buffer : {&key_, &value_}) buffer->reserve(rows, kv);
  for (InputBuffer* buffer : {&input_, &narrow_input_}) buffer->reserve(rows, d);
  query_.reserve(rows, query);
  attended_.reserve(rows, query);
  hidden_.reserve(rows, hidden);
  reserved_rows_ = rows;
}

void ForwardPass::plan(const Batch& batch) {
  batch_ = &batch;
  int end_position = 0;
  for (const int position : batch.positions) end_position = std::max(end_position, position + 1);
  for (std::size_t i = 0; i < ropes_.size(); ++i) {
    rope_fill_[i] = {ropes_[i].positions(), std::max(end_position, ropes_[i].positions())};
    ropes_[i].grow(end_position);
  }
  plan_attention(batch);
  for (Counters& counters : counters_) counters.task = counters.fold = 0;
  const bool shared = batch.rows() > kFewRows;
  for (const auto& worker : workers_) {
    worker->shared = shared;
    worker->rows = batch.rows();
    worker->x = shared ? &x_ : &worker->private_x;
    worker->input = shared ? &input_ : &worker->private_input;
    worker->pending = false;
    worker->attention_blocks = 0;
  }
}

void ForwardPass::plan_attention(const Batch& batch) {
  const int rows = batch.rows();
  narrows_ = rows > kFewRows && batch.logit_rows.size() < batch.tokens.size();
  queries_.clear();
  narrow_queries_.clear();
  narrow_positions_.clear();
  narrow_index_.assign(rows, -1);
  for (const int row : batch.logit_rows) {
    narrow_index_[row] = static_cast<int>(narrow_positions_.size());
    narrow_positions_.push_back(batch.positions[row]);
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
    narrow_attention_.plan(shapes_[shape_of_block_.back()], narrow_queries_, narrow_positions_,
                           pool_.size());
  }
}

void ForwardPass::run(const Batch& batch, StepOutput& output) {
  output.logits.resize(batch.logit_rows.size() * model_.head.matrix->rows());
  for (const auto& [from, to] : batch.block_copies) cache_.copy_block(from, to);
  if (batch.rows() == 0) return;
  logits_ = output.logits.data();
  reserve(batch.rows());
  plan(batch);
  pool_.run([this](int worker) { work(*workers_[worker]); });
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
  for (const auto& worker : workers_) {
    bytes += worker->private_x.bytes() + worker->private_input.bytes() +
             worker->post_normed.bytes() + worker->gate.bytes() + worker->up.bytes() +
             worker->attention.bytes();
    for (const PreparedInput& prepared : worker->prepared) bytes += prepared.bytes();
  }
  return bytes;
}

void ForwardPass::work(Worker& worker) {
  for (std::size_t i = 0; i < ropes_.size(); ++i) {
    const Range part = share(worker, rope_fill_[i].end - rope_fill_[i].first);
    ropes_[i].fill(rope_fill_[i].first + part.first, rope_fill_[i].first + part.end);
  }
  embed(worker);
  for (const auto& block : model_.blocks) {
    if (const auto* attention = std::get_if<PackedAttention>(&block)) {
      if (!attend(worker, *attention)) return;
    } else {
      feed_forward(worker, std::get<PackedFeedForward>(block));
    }
  }
  predict(worker);
}

int ForwardPass::share_begin(int worker, int count) const {
  return static_cast<int>(static_cast<std::int64_t>(count) * worker / pool_.size());
}

ForwardPass::Range ForwardPass::share(const Worker& worker, int count) const {
  return {share_begin(worker.index, count), share_begin(worker.index + 1, count)};
}

void ForwardPass::embed(Worker& worker) {
  const Range rows = worker.shared ? share(worker, worker.rows) : Range{0, worker.rows};
  for (int row = rows.first; row < rows.end; ++row) {
    float* x = worker.x->row(row);
    kernels_.decode_row(*model_.embedding, batch_->tokens[row], x);
    if (model_.embedding_scale != 1) ops_.scale(x, model_.embedding_scale, model_.hidden_size);
  }
}

void ForwardPass::add_pending(Worker& worker, int row) {
  if (!worker.pending) return;
  const float* y = y_.row(row);
  if (worker.post_norm) {
    float* normed = worker.post_normed.row(0);
    ops_.rms_norm(y, worker.post_norm->weight.data(), worker.post_norm->epsilon, model_.hidden_size,
                  normed);
    y = normed;
  }
  ops_.add(worker.x->row(row), y, model_.hidden_size);
}

// x += what the last block left; input = norm(x), quantised for the products that want it so. With
// `narrow`, the rows that go on after this block are also set aside, side by side.
void ForwardPass::normalize(Worker& worker, const RmsNorm& norm, bool quantize, bool narrow) {
  const Range rows = worker.shared ? share(worker, worker.rows) : Range{0, worker.rows};
  const InputBuffer& input = *worker.input;
  for (int row = rows.first; row < rows.end; ++row) {
    add_pending(worker, row);
    const float* x = worker.x->row(row);
    ops_.rms_norm(x, norm.weight.data(), norm.epsilon, model_.hidden_size, input.values(row));
    if (quantize) input.quantize(kernels_, row, 0, model_.hidden_size, input.values(row));
    const int index = narrow ? narrow_index_[row] : -1;
    if (index < 0) continue;
    std::copy_n(x, model_.hidden_size, narrow_x_.row(index));
    narrow_input_.copy_row(index, input, row);
  }
  worker.pending = false;
  if (worker.shared) pool_.barrier();
}

// False when no row goes on.
bool ForwardPass::attend(Worker& worker, const PackedAttention& block) {
  const int index = worker.attention_blocks++;
  const bool last = index + 1 == static_cast<int>(counters_.size());
  const bool narrow = last && narrows_;
  const bool quantize = quantized(block.query) || quantized(block.key) || quantized(block.value);
  normalize(worker, block.input_norm, quantize, narrow);
  const int logit_rows = static_cast<int>(batch_->logit_rows.size());
  const int query_rows = narrow || (last && logit_rows == 0) ? logit_rows : worker.rows;
  const InputRows all = worker.input->view(0, worker.rows);
  const InputRows queries = narrow ? narrow_input_.view(0, query_rows) : all;
  const std::array<Product, 3> products = {
      {{&block.key, all, key_.row(0), key_.stride()},
       {&block.value, all, value_.row(0), value_.stride()},
       {&block.query, queries, query_.row(0), query_.stride()}}};
  multiply_share(worker, std::span(products).first(query_rows > 0 ? 3 : 2));
  pool_.barrier();
  rotate_and_store(worker, block, query_rows);
  if (query_rows == 0) return false;
  pool_.barrier();
  if (narrow) {
    worker.rows = query_rows;
    worker.x = &narrow_x_;
    worker.input = &narrow_input_;
  }
  run_attention(worker, block, narrow ? narrow_attention_ : attention_[shape_of_block_[index]]);
  const Product output{&block.output, attended_.view(0, worker.rows), y_.row(0), y_.stride()};
  multiply_share(worker, {&output, 1});
  leave_block(worker, block.post_norm);
  return true;
}

// Per-head norms, rotation and scale of q and k in place; k and v into the cache.
void ForwardPass::rotate_and_store(const Worker& worker, const PackedAttention& block,
                                   int query_rows) {
  const int d = block.head_dim, block_size = cache_.block_size();
  const RopeTable& rope = ropes_[block.rope];
  const KvOps& kv = ops_.kv(cache_.format());
  const auto turn = [&](float* head, const std::optional<RmsNorm>& norm, int position) {
    if (norm) ops_.rms_norm(head, norm->weight.data(), norm->epsilon, d, head);
    ops_.rotate(head, rope.cosines(position), rope.sines(position), rope.half());
  };
  const Range keys = share(worker, batch_->rows() * block.kv_heads);
  std::size_t s = 0;
  for (int i = keys.first; i < keys.end; ++i) {
    const int row = i / block.kv_heads, head = i % block.kv_heads;
    while (row >= batch_->sequences[s].first_row + batch_->sequences[s].query_length) ++s;
    const int position = batch_->positions[row];
    const int cache_block = batch_->sequences[s].blocks[position / block_size];
    const int tile = position % block_size / kKeyTile, slot = position % kKeyTile;
    float* key = key_.row(row) + head * d;
    turn(key, block.key_norm, position);
    kv.store_key(key, d, cache_.keys(block.layer, cache_block, head, tile), slot);
    kv.store_value(value_.row(row) + head * d, d,
                   cache_.values(block.layer, cache_block, head, tile), slot);
  }
  const bool narrow = query_rows < batch_->rows();
  const Range queries = share(worker, query_rows * block.heads);
  for (int i = queries.first; i < queries.end; ++i) {
    const int row = i / block.heads;
    float* query = query_.row(row) + i % block.heads * d;
    turn(query, block.query_norm, narrow ? narrow_positions_[row] : batch_->positions[row]);
    ops_.scale(query, block.scale, d);
  }
}

void ForwardPass::run_attention(Worker& worker, const PackedAttention& block, AttentionWork& work) {
  Counters& counters = counters_[worker.attention_blocks - 1];
  const AttentionWork::Data data{&cache_, batch_, block.layer, &query_, &attended_};
  const auto next = [](std::atomic<int>& counter) {
    return counter.fetch_add(1, std::memory_order_relaxed);
  };
  for (int i = next(counters.task); i < work.tasks(); i = next(counters.task)) {
    finish_attention(block, work.run(i, ops_, data, worker.attention));
  }
  pool_.barrier();
  if (work.folds() > 0) {
    for (int i = next(counters.fold); i < work.folds(); i = next(counters.fold)) {
      finish_attention(block, work.fold(i, ops_, data, worker.attention));
    }
    pool_.barrier();
  }
  const int group_columns = block.heads / block.kv_heads * block.head_dim;
  if (group_columns % kGroupColumns == 0 || !quantized(block.output)) return;
  const Range rows = share(worker, worker.rows);
  for (int row = rows.first; row < rows.end; ++row) {
    attended_.quantize(kernels_, row, 0, block.heads * block.head_dim, attended_.values(row));
  }
  pool_.barrier();
}

// Quantises what a task has finished, where that is whole groups of columns.
void ForwardPass::finish_attention(const PackedAttention& block,
                                   const AttentionWork::Finished& part) {
  const int columns = block.heads / block.kv_heads * block.head_dim;
  if (columns % kGroupColumns != 0 || !quantized(block.output)) return;
  const int first = part.kv_head * columns;
  for (int row = part.first_row; row < part.first_row + part.rows; ++row) {
    attended_.quantize(kernels_, row, first, columns, attended_.values(row) + first);
  }
}

void ForwardPass::feed_forward(Worker& worker, const PackedFeedForward& block) {
  normalize(worker, block.input_norm, quantized(block.gate) || quantized(block.up), false);
  const InputRows input = worker.input->view(0, worker.rows);
  ++worker.product_phases;
  const int groups = block.gate.matrix->rows() / kGroupColumns;
  const std::size_t group_bytes = (block.gate.matrix->bytes() + block.up.matrix->bytes()) / groups;
  const auto part_begin = [&](int index) { return share_begin(index, groups); };
  shares_.run(worker.index, part_begin, pieces(group_bytes), [&](int first, int end) {
    for (int group = first; group < end; group += kGateColumns / kGroupColumns) {
      const Range columns = {group * kGroupColumns,
                             std::min(end * kGroupColumns, group * kGroupColumns + kGateColumns)};
      for (int row = 0; row < worker.rows; row += kGateRows) {
        gate_columns(worker, block, input, {row, std::min(row + kGateRows, worker.rows)}, columns);
      }
    }
  });
  pool_.barrier();
  const Product down{&block.down, hidden_.view(0, worker.rows), y_.row(0), y_.stride()};
  multiply_share(worker, {&down, 1});
  leave_block(worker, block.post_norm);
}

// hidden = activation(gate) * up for some rows and whole groups of columns.
void ForwardPass::gate_columns(Worker& worker, const PackedFeedForward& block,
                               const InputRows& input, Range rows, Range columns) {
  const int count = columns.end - columns.first, row_count = rows.end - rows.first;
  const auto multiply = [&](const PackedLinear& linear, float* out) {
    kernels_.multiply(*linear.matrix, prepared(worker, *linear.matrix, input), rows.first,
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

// The tiles of all products in one line, parted by their bytes.
void ForwardPass::multiply_share(Worker& worker, std::span<const Product> products) {
  ++worker.product_phases;
  std::size_t bytes = 0;
  int tiles = 0;
  for (const Product& product : products) {
    bytes += product.linear->matrix->bytes();
    tiles += product.linear->matrix->tiles();
  }
  const auto part_begin = [&](int index) {
    const double point = static_cast<double>(bytes) * index / pool_.size();
    double passed = 0;
    int begin = 0;
    for (const Product& product : products) {
      const PackedMatrix& matrix = *product.linear->matrix;
      const auto size = static_cast<double>(matrix.bytes());
      const double part = std::clamp((point - passed) / size, 0.0, 1.0);
      begin += static_cast<int>(part * matrix.tiles() + 0.5);
      passed += size;
    }
    return begin;
  };
  shares_.run(worker.index, part_begin, pieces(bytes / tiles), [&](int first, int end) {
    for (const Product& product : products) {
      const PackedMatrix& matrix = *product.linear->matrix;
      const Range part = {std::max(first, 0), std::min(end, matrix.tiles())};
      if (part.first < part.end) multiply_tiles(worker, product, part);
      first -= matrix.tiles();
      end -= matrix.tiles();
    }
  });
}

void ForwardPass::multiply_tiles(Worker& worker, const Product& product, Range tiles) {
  const PackedMatrix& matrix = *product.linear->matrix;
  kernels_.multiply(matrix, prepared(worker, matrix, product.input), 0, product.input.rows,
                    tiles.first, tiles.end, product.out, product.out_stride);
  finish_columns(product, tiles.first * kTileRows, std::min(tiles.end * kTileRows, matrix.rows()));
}

// The input as `matrix` reads it, made once for all matrices of its kind in this phase.
const PreparedInput& ForwardPass::prepared(Worker& worker, const PackedMatrix& matrix,
                                           const InputRows& input) {
  const int kind = matrix.input_kind();
  PreparedInput& prepared = worker.prepared[kind];
  if (worker.prepared_in[kind] != worker.product_phases || prepared.rows().values != input.values) {
    kernels_.prepare(matrix, input, prepared);
    worker.prepared_in[kind] = worker.product_phases;
  }
  return prepared;
}

void ForwardPass::finish_columns(const Product& product, int first, int end) const {
  const std::vector<float>& bias = product.linear->bias;
  if (bias.empty() && product.softcap == 0) return;
  for (int row = 0; row < product.input.rows; ++row) {
    float* out = product.out + row * product.out_stride + first;
    if (!bias.empty()) ops_.add(out, &bias[first], end - first);
    if (product.softcap != 0) ops_.softcap(out, product.softcap, end - first);
  }
}

void ForwardPass::leave_block(Worker& worker, const std::optional<RmsNorm>& post_norm) {
  worker.pending = true;
  worker.post_norm = post_norm ? &*post_norm : nullptr;
  pool_.barrier();
}

void ForwardPass::predict(Worker& worker) {
  const int rows = static_cast<int>(batch_->logit_rows.size());
  const bool quantize = quantized(model_.head);
  if (worker.shared) {
    normalize(worker, model_.head_norm, quantize, false);
  } else {
    for (int i = 0; i < rows; ++i) {
      const int row = batch_->logit_rows[i];
      add_pending(worker, row);
      ops_.rms_norm(worker.x->row(row), model_.head_norm.weight.data(), model_.head_norm.epsilon,
                    model_.hidden_size, worker.input->values(i));
      if (quantize) {
        worker.input->quantize(kernels_, i, 0, model_.hidden_size, worker.input->values(i));
      }
    }
  }
  const Product head{&model_.head, worker.input->view(0, rows), logits_, model_.head.matrix->rows(),
                     model_.logit_softcap};
  multiply_share(worker, {&head, 1});
}

}  // namespace mlxd::cpu
