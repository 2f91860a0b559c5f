#include "backend/cpu/encoder_pass.h"

#include <algorithm>
#include <cmath>

namespace mlxd::cpu {
namespace {

// Rows of a text that one task attends with; a head's keys and values then stay in the nearest
// caches.
constexpr int kTaskRows = 64;

}  // namespace

EncoderPass::EncoderPass(const PackedEncoder& model, const Kernels& kernels, const VectorOps& ops,
                         WorkerPool& pool)
    : model_(model),
      ops_(ops),
      pool_(pool),
      step_(model.hidden_size, kernels, ops, pool.size()),
      feed_forward_(step_),
      scratch_(static_cast<std::size_t>(pool.size())) {
  for (const Rope& rope : model.ropes) ropes_.emplace_back(rope, model.context_length);
  assemble();
}

void EncoderPass::assemble() {
  const bool quantize = !model_.layers.empty() && quantized(model_.layers.front().query);
  step_.add_rows(step_.all(), [this, quantize](int, int row) { embed(row, quantize); });
  for (const PackedEncoderLayer& layer : model_.layers) add_layer(layer);
  add_pooling();
}

void EncoderPass::add_layer(const PackedEncoderLayer& layer) {
  const Stream& all = step_.all();
  step_.add_products({{.linear = &layer.query, .stream = &all, .out = &query_},
                      {.linear = &layer.key, .stream = &all, .out = &key_},
                      {.linear = &layer.value, .stream = &all, .out = &value_}});
  step_.add_rows(all, [this, &layer](int, int row) {
    turn(layer, row);
    store(row);
  });
  const auto attend_all = [this, window = layer.window](int worker, int first, int end) {
    for (int i = first; i < end; ++i) attend(tasks_[i], window, scratch_[worker]);
  };
  step_.add({.units = [this] { return static_cast<int>(tasks_.size()); },
             .run = attend_all,
             .in_order = true});
  if (quantized(layer.output)) {
    step_.add_rows(all, [this](int, int row) {
      attended_.quantize(step_.kernels(), row, 0, model_.hidden_size, attended_.values(row));
    });
  }
  step_.add_products(
      {{.linear = &layer.output, .stream = &all, .input = &attended_, .out = &step_.y()}});
  add_residual_norm(layer.attention_norm, layer.mlp.reads_quantized());
  feed_forward_.add_mlp(layer.mlp, all, step_.y());
  const bool last = &layer == &model_.layers.back();
  add_residual_norm(layer.output_norm, !last && quantized((&layer)[1].query));
}

// With norms on the stream that is the input of the products itself, input = norm(input + y); else
// x = x + y, input = norm(x).
void EncoderPass::add_residual_norm(const LayerNorm& norm, bool quantize) {
  const bool beside = model_.norms == EncoderNorms::beside_stream;
  step_.add_rows(step_.all(), [this, &norm, beside, quantize](int, int row) {
    const int d = model_.hidden_size;
    const InputBuffer& input = *step_.all().input;
    float* y = step_.y().row(row);
    ops_.add(y, beside ? step_.x().row(row) : input.values(row), d);
    if (beside) std::copy_n(y, d, step_.x().row(row));
    ops_.layer_norm(y, norm.weight.data(), norm.bias.data(), norm.epsilon, d, input.values(row));
    if (quantize) input.quantize(step_.kernels(), row, 0, d, input.values(row));
  });
}

void EncoderPass::add_pooling() {
  step_.add_rows(pooled_, [this](int, int row) { pool(row); });
  if (!model_.classifier) return;
  step_.add_products({{.linear = &model_.classifier->dense,
                       .stream = &pooled_,
                       .input = &pooled_rows_,
                       .out = &dense_}});
  step_.add_rows(pooled_, [this](int, int row) { score(row); });
}

void EncoderPass::reserve(int rows, int tiles, int texts) {
  tiles_.reserve(static_cast<std::size_t>(tiles) * model_.heads * 2 * tile_bytes());
  if (rows > reserved_rows_) {
    reserved_rows_ = 0;
    const int d = model_.hidden_size;
    step_.reserve(rows);
    for (RowBuffer* buffer : {&query_, &key_, &value_}) buffer->reserve(rows, d);
    attended_.reserve(rows, d);
    feed_forward_.reserve(rows);
    reserved_rows_ = rows;
  }
  pooled_rows_.reserve(texts, model_.hidden_size);
  if (model_.classifier) dense_.reserve(texts, model_.hidden_size);
}

void EncoderPass::plan(const Batch& batch, StepOutput& output) {
  texts_.clear();
  text_of_.clear();
  tasks_.clear();
  wanted_.clear();
  int tiles = 0, longest = 0;
  auto wanted = batch.wanted.begin();
  for (const BatchSequence& sequence : batch.sequences) {
    const int index = static_cast<int>(texts_.size());
    const Text text{sequence.first_row, sequence.query_length, sequence.second_begin, tiles};
    texts_.push_back(text);
    text_of_.insert(text_of_.end(), text.rows, index);
    tiles += text.tiles();
    longest = std::max(longest, text.rows);
    for (int head = 0; head < model_.heads; ++head) {
      for (int first = 0; first < text.rows; first += kTaskRows) {
        tasks_.push_back({index, head, first, std::min(kTaskRows, text.rows - first)});
      }
    }
    if (wanted != batch.wanted.end() && wanted->row == text.first_row + text.rows - 1) {
      wanted_.push_back(index);
      ++wanted;
    }
  }
  const int texts = static_cast<int>(wanted_.size());
  reserve(batch.rows(), tiles, std::max(texts, 1));
  step_.plan(batch, nullptr);
  make_angles(longest);
  pooled_ = {texts, nullptr, &pooled_rows_};
  output.logits.clear();
  output.drawn.clear();
  output.pooled.resize(static_cast<std::size_t>(texts) * model_.pooled_size());
  out_ = &output.pooled;
}

// Of positions that no step before had.
void EncoderPass::make_angles(int positions) {
  for (RopeTable& rope : ropes_) {
    const int known = rope.positions();
    if (positions <= known) continue;
    rope.make_room(positions);
    rope.fill(known, positions);
    rope.have(positions);
  }
}

void EncoderPass::run(const Batch& batch, StepOutput& output) {
  plan(batch, output);
  if (batch.rows() > 0) pool_.run(step_.phases());
}

std::size_t EncoderPass::buffer_bytes() const {
  std::size_t bytes = step_.bytes() + feed_forward_.bytes() + tiles_.bytes();
  for (const RowBuffer* buffer : {&query_, &key_, &value_, &dense_}) bytes += buffer->bytes();
  for (const InputBuffer* buffer : {&attended_, &pooled_rows_}) bytes += buffer->bytes();
  for (const AttentionWork::Scratch& scratch : scratch_) bytes += scratch.bytes();
  for (const RopeTable& rope : ropes_) bytes += rope.bytes();
  return bytes;
}

std::size_t EncoderPass::most_bytes(const ModelPlan& plan, int rows, int texts, int workers) {
  const int d = plan.config.hidden_size, hidden = plan.config.intermediate_size;
  const EncoderPlan& encoder = *plan.encoder;
  const std::size_t row_buffers = 6 * RowBuffer::bytes_for(rows, d);  // step_'s among them
  const std::size_t inputs = 3 * InputBuffer::bytes_for(rows, d) +
                             InputBuffer::bytes_for(rows, hidden) +
                             2 * InputBuffer::bytes_for(texts, d);
  const std::size_t tiles = static_cast<std::size_t>(rows / kKeyTile + texts) * kKeyTile * 2 *
                            static_cast<std::size_t>(d) * sizeof(std::uint16_t);
  const AttentionShape shape{encoder.heads, encoder.heads, encoder.head_dim};
  const std::size_t groups = static_cast<std::size_t>(std::max(d, hidden)) / kGroupColumns;
  const std::size_t of_worker =
      RowBuffer::bytes_for(1, d) + FeedForwardLayers::worker_bytes(/*unit=*/false) +
      std::max(AttentionWork::most_scratch_bytes(shape, /*unit=*/false),
               kTaskRows * (kPartition + 2 * static_cast<std::size_t>(encoder.head_dim) + 8) *
                   sizeof(float)) +
      kInputKinds * groups * static_cast<std::size_t>(rows) * sizeof(InputGroup);
  std::size_t angles = 0;  // a cosine and a sine for each pair
  for (const Rope& rope : ropes_of(encoder)) {
    angles += 2 * rope.inverse_frequencies.size() * static_cast<std::size_t>(rows) * sizeof(float);
  }
  return row_buffers + inputs + tiles + angles + static_cast<std::size_t>(workers) * of_worker;
}

// norm(words[token] + positions[p] + types[0 or 1]). The sum is made in y, which is free.
void EncoderPass::embed(int row, bool quantize) {
  const int d = model_.hidden_size;
  const Text& text = texts_[text_of_[row]];
  const InputBuffer& input = *step_.all().input;
  float* values = input.values(row);
  float* sum = step_.y().row(row);
  const int position = row - text.first_row;
  step_.kernels().decode_row(*model_.words, step_.batch().tokens[row], sum);
  if (model_.positions) {
    step_.kernels().decode_row(*model_.positions, model_.first_position + position, values);
    ops_.add(sum, values, d);
  }
  const bool second = text.second_begin > 0 && position >= text.second_begin;
  ops_.add(sum, model_.types.data() + (second ? d : 0), d);
  const LayerNorm& norm = model_.embedding_norm;
  ops_.layer_norm(sum, norm.weight.data(), norm.bias.data(), norm.epsilon, d, values);
  if (model_.norms == EncoderNorms::beside_stream) std::copy_n(values, d, step_.x().row(row));
  if (quantize) input.quantize(step_.kernels(), row, 0, d, values);
}

std::uint8_t* EncoderPass::keys(const Text& text, int head, int tile) const {
  const std::size_t index =
      static_cast<std::size_t>(text.first_tile) * model_.heads + head * text.tiles() + tile;
  return tiles_.data() + index * 2 * tile_bytes();
}

// Query and key of a row by its position.
void EncoderPass::turn(const PackedEncoderLayer& layer, int row) {
  if (layer.rope < 0) return;
  const RopeTable& rope = ropes_[layer.rope];
  const int position = row - texts_[text_of_[row]].first_row;
  for (int head = 0; head < model_.heads; ++head) {
    for (const RowBuffer* rows : {&query_, &key_}) {
      ops_.rotate(rows->row(row) + head * model_.head_dim, rope.cosines(position),
                  rope.sines(position), rope.half());
    }
  }
}

// A row's keys and values into the tiles of its text, and its query scaled.
void EncoderPass::store(int row) {
  const int d = model_.head_dim;
  const Text& text = texts_[text_of_[row]];
  const int position = row - text.first_row;
  const int tile = position / kKeyTile, slot = position % kKeyTile;
  for (int head = 0; head < model_.heads; ++head) {
    ops_.half.store_key(key_.row(row) + head * d, d, keys(text, head, tile), slot);
    ops_.half.store_value(value_.row(row) + head * d, d, values(text, head, tile), slot);
  }
  ops_.scale(query_.row(row), 1 / std::sqrt(static_cast<float>(d)), model_.hidden_size);
}

// A row folds the partitions of its text from the first to the last, as a decoder's does, so that
// its result is the same bits whatever else is in the step. Partitions that no row of the task has
// in its window are left out.
void EncoderPass::attend(const Task& task, int window, AttentionWork::Scratch& scratch) {
  const Text& text = texts_[task.text];
  const int d = model_.head_dim, queries = task.rows;
  scratch.scores.reserve(static_cast<std::size_t>(queries) * kPartition);
  scratch.out.reserve(std::size_t{2} * queries * d);
  scratch.maxima.reserve(std::size_t{2} * queries);
  scratch.sums.reserve(std::size_t{2} * queries);
  scratch.query.resize(queries);
  for (int i = 0; i < queries; ++i) {
    scratch.query[i] = query_.row(text.first_row + task.first + i) + task.head * d;
  }
  scratch.first.resize(queries);
  scratch.end.resize(queries);
  const int last = task.first + queries - 1;
  const int seen_first = window > 0 ? std::max(task.first - window, 0) : 0;
  const int seen_end = window > 0 ? std::min(last + window + 1, text.rows) : text.rows;
  const int begin_of_first = seen_first / kPartition * kPartition;
  float* out = scratch.out.data();
  for (int begin = begin_of_first; begin < seen_end; begin += kPartition) {
    const int seen = std::min(kPartition, text.rows - begin);
    for (int i = 0; i < queries; ++i) {
      const int position = task.first + i - begin;
      scratch.first[i] = window > 0 ? std::clamp(position - window, 0, seen) : 0;
      scratch.end[i] = window > 0 ? std::clamp(position + window + 1, 0, seen) : seen;
    }
    const bool folds = begin > begin_of_first;
    float* next = folds ? out + static_cast<std::ptrdiff_t>(queries) * d : out;
    float* maxima = scratch.maxima.data() + (folds ? queries : 0);
    float* sums = scratch.sums.data() + (folds ? queries : 0);
    PartitionQuery query{.head_dim = d,
                         .value_dim = d,
                         .queries = queries,
                         .query = scratch.query.data(),
                         .first = scratch.first.data(),
                         .end = scratch.end.data(),
                         .scores = scratch.scores.data(),
                         .maxima = maxima,
                         .sums = sums,
                         .out = next};
    for (int t = 0; t * kKeyTile < seen; ++t) {
      query.keys[t] = keys(text, task.head, begin / kKeyTile + t);
      query.values[t] = values(text, task.head, begin / kKeyTile + t);
    }
    ops_.half.attend(query);
    for (int i = 0; folds && i < queries; ++i) {
      ops_.fold(&scratch.maxima.data()[i], &scratch.sums.data()[i], out + i * d, maxima[i], sums[i],
                next + i * d, d);
    }
  }
  for (int i = 0; i < queries; ++i) {
    float* to = attended_.values(text.first_row + task.first + i) + task.head * d;
    std::copy_n(out + i * d, d, to);
    ops_.scale(to, 1 / scratch.sums.data()[i], d);
  }
}

void EncoderPass::pool(int wanted) {
  const int d = model_.hidden_size;
  const Text& text = texts_[wanted_[wanted]];
  const InputBuffer& input = *step_.all().input;
  float* pooled = pooled_rows_.values(wanted);
  const int last = text.first_row + text.rows - 1;
  std::copy_n(input.values(model_.pooling == Pooling::last ? last : text.first_row), d, pooled);
  if (model_.pooling == Pooling::mean) {
    for (int row = text.first_row + 1; row <= last; ++row) ops_.add(pooled, input.values(row), d);
    ops_.scale(pooled, 1 / static_cast<float>(text.rows), d);
  }
  if (!model_.classifier) {
    std::copy_n(pooled, d, out_->begin() + static_cast<std::ptrdiff_t>(wanted) * d);
  } else if (quantized(model_.classifier->dense)) {
    pooled_rows_.quantize(step_.kernels(), wanted, 0, d, pooled);
  }
}

void EncoderPass::score(int wanted) {
  const PackedClassifier& classifier = *model_.classifier;
  const float* dense = dense_.row(wanted);
  double sum = classifier.bias;
  for (int i = 0; i < model_.hidden_size; ++i) sum += std::tanh(dense[i]) * classifier.weight[i];
  (*out_)[static_cast<std::size_t>(wanted)] = static_cast<float>(sum);
}

}  // namespace mlxd::cpu
