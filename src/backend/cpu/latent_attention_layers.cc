#include "backend/cpu/latent_attention_layers.h"

#include <algorithm>
#include <utility>

namespace mlxd::cpu {
namespace {

// So many numbers one worker splits and rotates sooner by itself than two that share them.
constexpr int kFewNumbers = 2048;

}  // namespace

void LatentAttentionLayers::add(const PackedLatentAttention& block, const Residual* left,
                                const Stream& from, const Stream& to) {
  widths_.include(block, block.query_down ? block.query_down->matrix->rows() : 0);
  const PackedLinear& first = block.query_down ? *block.query_down : block.query;
  step_.add_norm(from, left, address(block.input_norm),
                 step_.reads(from, quantized(block.latent) || quantized(first)),
                 /*narrow=*/&from != &to);
  step_.add_products(
      {{.linear = &block.latent, .stream = &from, .out = &key_},
       {.linear = &first, .stream = &to, .out = block.query_down ? &low_ : &heads_}});
  if (block.query_down) add_query(block, to);
  add_split(block, from, to);
  const int key_dim = block.key_dim(), value_dim = block.value_dim;
  add_head_products(
      block.key_up, block.heads, to, plain_,
      [this, key_dim](int head) { return query_.row(0) + head * key_dim; },
      [this] { return query_.stride(); });
  add_tasks(block, to);
  add_head_products(
      block.value_up, block.heads, to, latents_,
      [this, value_dim](int head) { return values_.values(0) + head * value_dim; },
      [this] { return values_.value_stride(); });
  if (const Reads reads = step_.reads(to, quantized(block.output)); reads != Reads::values) {
    step_.add_rows(to, [this, reads, columns = block.heads * value_dim](int, int row) {
      step_.put(values_, reads, row, {0, columns}, values_.values(row));
    });
  }
  step_.add_products(
      {{.linear = &block.output, .stream = &to, .input = &values_, .out = &step_.y()}});
}

// The heads' rows out of the few numbers that a query was made.
void LatentAttentionLayers::add_query(const PackedLatentAttention& block, const Stream& to) {
  step_.add_rows(to, [this, &block, &to](int, int row) {
    const RmsNorm& norm = *block.query_norm;
    const int count = static_cast<int>(norm.weight.size());
    float* const low = low_.row(row);
    step_.ops().rms_norm(low, norm.weight.data(), norm.epsilon, count, low);
    step_.put(low_input_, step_.reads(to, quantized(block.query)), row, {0, count}, low);
  });
  step_.add_products(
      {{.linear = &block.query, .stream = &to, .input = &low_input_, .out = &heads_}});
}

// Keys into the cache; of each head's query the part that its matrix reads, and the rotated one.
void LatentAttentionLayers::add_split(const PackedLatentAttention& block, const Stream& from,
                                      const Stream& to) {
  const auto parts = [&block, &from, &to] { return from.rows + to.rows * block.heads; };
  const auto run = [this, &block, &from, &to](int, Range part) {
    for (int i = part.first; i < part.end; ++i) {
      if (i < from.rows) {
        store_key(block, step_.sequence_of(i), i);
      } else {
        split_query(block, to, (i - from.rows) / block.heads, (i - from.rows) % block.heads);
      }
    }
  };
  step_.add_grains(std::max(1, kFewNumbers / block.key_dim()), parts, run);
}

void LatentAttentionLayers::store_key(const PackedLatentAttention& block,
                                      const BatchSequence& sequence, int row) {
  const VectorOps& ops = step_.ops();
  const KvCache& cache = attention_.cache();
  const int position = step_.batch().positions[row];
  float* const key = key_.row(row);
  const RmsNorm& norm = block.latent_norm;
  ops.rms_norm(key, norm.weight.data(), norm.epsilon, block.rank, key);
  const RopeTable& rope = attention_.rope(block.rope);
  ops.rotate(key + block.rank, rope.cosines(position), rope.sines(position), rope.half());
  const auto [at, tile, token] =
      attention_.slot_of(cache.group_of(block.layer), sequence, position);
  ops.kv(cache.format())
      .store_value(key, block.key_dim(), cache.keys(block.layer, at, 0, tile), token);
}

void LatentAttentionLayers::split_query(const PackedLatentAttention& block, const Stream& to,
                                        int row, int head) {
  const VectorOps& ops = step_.ops();
  const int position = step_.positions(to)[row];
  const int size = block.plain_dim + block.rotary_dim;
  const float temperature = block.temperature ? block.temperature->at(position) : 1;
  float* const query = heads_.row(row) + head * size;
  ops.scale(query, block.scale * temperature, size);
  plain_.put(step_.kernels(), quantized(block.key_up), head * to.rows + row, 0, block.plain_dim,
             query);
  float* const rotary = query_.row(row) + head * block.key_dim() + block.rank;
  std::copy_n(query + block.plain_dim, block.rotary_dim, rotary);
  const RopeTable& rope = attention_.rope(block.rope);
  ops.rotate(rotary, rope.cosines(position), rope.sines(position), rope.half());
}

// Head h's rows of `input`, h * to.rows and on, by the h-th of the matrices that make up `linear`.
void LatentAttentionLayers::add_head_products(const PackedLinear& linear, int heads,
                                              const Stream& to, const InputBuffer& input,
                                              std::function<float*(int head)> out,
                                              const std::function<std::ptrdiff_t()>& stride) {
  const PackedMatrix& matrix = *linear.matrix;
  const int tiles = matrix.tiles() / heads;
  const auto run = [this, &linear, &to, &input, out, stride, tiles, index = step_.next_phase()](
                       int worker, int first, int end) {
    for (int unit = first; unit < end;) {
      const int head = unit / tiles, last = std::min(end, (head + 1) * tiles);
      const InputRows rows = input.view(head * to.rows, to.rows);
      float* const first_row = out(head) - static_cast<std::ptrdiff_t>(head) * tiles * kTileRows;
      step_.multiply(worker, linear, rows, step_.moment(index), {0, to.rows}, {unit, last},
                     first_row, stride());
      unit = last;
    }
  };
  step_.add({.units = [&to, all = heads * tiles] { return to.rows > 0 ? all : 0; },
             .run = run,
             .piece = pieces(matrix.bytes() / matrix.tiles()),
             .reads = [&matrix](int tile) { return matrix.tile_bytes(tile); }});
}

void LatentAttentionLayers::add_tasks(const PackedLatentAttention& block, const Stream& to) {
  const AttentionShape shape{
      .heads = block.heads, .kv_heads = 1, .head_dim = block.key_dim(), .latent = block.rank};
  attention_.add_tasks(
      shape, to,
      [this, &block, &to]() -> AttentionWork::Data {
        return {.cache = &attention_.cache(),
                .batch = &step_.batch(),
                .layer = block.layer,
                .query = &query_,
                .out = latents_.values(0),
                .row_stride = latents_.value_stride(),
                .head_stride = to.rows * latents_.value_stride()};
      },
      [this, &block, &to](const AttentionWork::Finished& part) {
        if (!quantized(block.value_up)) return;
        for (int row = part.first_row; row < part.first_row + part.rows; ++row) {
          for (int head = 0; head < block.heads; ++head) {
            const int at = head * to.rows + row;
            latents_.quantize(step_.kernels(), at, 0, block.rank, latents_.values(at));
          }
        }
      });
}

void LatentAttentionLayers::reserve(int rows) {
  const Widths& of = widths_;
  if (of.heads == 0) return;
  key_.reserve(rows, of.key);
  if (of.low > 0) {
    low_.reserve(rows, of.low);
    low_input_.reserve(rows, of.low, step_.has_unit());
  }
  heads_.reserve(rows, of.head_rows);
  query_.reserve(rows, of.query);
  plain_.reserve(rows * of.heads, of.plain);
  latents_.reserve(rows * of.heads, of.rank);
  values_.reserve(rows, of.values, step_.has_unit());
}

std::size_t LatentAttentionLayers::bytes() const {
  std::size_t bytes = 0;
  for (const RowBuffer* buffer : {&key_, &low_, &heads_, &query_}) bytes += buffer->bytes();
  for (const InputBuffer* buffer : {&low_input_, &plain_, &latents_, &values_}) {
    bytes += buffer->bytes();
  }
  return bytes;
}

std::size_t LatentAttentionLayers::bytes_for(int rows, const Widths& of) {
  if (of.heads == 0) return 0;
  const std::size_t low =
      of.low > 0 ? RowBuffer::bytes_for(rows, of.low) + InputBuffer::bytes_for(rows, of.low) : 0;
  return low + RowBuffer::bytes_for(rows, of.key) + RowBuffer::bytes_for(rows, of.head_rows) +
         RowBuffer::bytes_for(rows, of.query) + InputBuffer::bytes_for(rows * of.heads, of.plain) +
         InputBuffer::bytes_for(rows * of.heads, of.rank) + InputBuffer::bytes_for(rows, of.values);
}

}  // namespace mlxd::cpu
