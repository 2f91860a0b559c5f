#include "backend/mlx/latent_attention.h"

#include <algorithm>
#include <vector>

namespace mlxd::mlx_backend {
namespace {

// Scores that are computed at a time: MLX has no fused attention of heads this wide, and holds all
// that it is asked for.
constexpr std::size_t kScores = std::size_t{32} << 20;

// Columns [first, end) of the last of three dimensions.
mx::array part_of(const mx::array& x, int first, int end) {
  return mx::slice(x, {0, 0, first}, {x.shape(0), x.shape(1), end});
}

}  // namespace

HeadsLinearLayer::HeadsLinearLayer(const Linear& linear, int heads, WeightLoader& loader)
    : matrix_(loader.matrix(linear.weight)) {
  const bool picked = linear.rows.stride > 0;
  if (picked) matrix_ = rows_of(matrix_, linear.rows);
  std::vector<mx::array> parts;
  const auto by_head = [&](mx::array& part) {
    part = mx::contiguous(mx::reshape(part, {heads, -1, part.shape(-1)}));
    parts.push_back(part);
  };
  by_head(matrix_.weight);
  if (matrix_.scales) by_head(*matrix_.scales);
  if (matrix_.biases) by_head(*matrix_.biases);
  mx::eval(parts);
  if (picked) loader.forget(linear.weight);  // its other rows are read by nobody
}

mx::array HeadsLinearLayer::apply(const mx::array& x) const {
  return mx::swapaxes(multiply(matrix_, mx::swapaxes(x, 0, 1)), 0, 1);
}

LatentAttentionLayer::LatentAttentionLayer(const LatentAttentionBlock& block, WeightLoader& loader)
    : block_(block),
      input_norm_(optional_norm(block.input_norm)),
      query_norm_(optional_norm(block.query_norm)),
      query_(block.query, loader),
      latent_(block.latent, loader),
      latent_norm_(block.latent_norm),
      key_up_(block.key_up, block.heads, loader),
      value_up_(block.value_up, block.heads, loader),
      rope_(block.rope),
      output_(block.output, loader) {
  if (block.query_down) query_down_.emplace(*block.query_down, loader);
}

// What the heads ask of the latents and rotated keys, [T, heads, rank + rotary_dim].
mx::array LatentAttentionLayer::queries(const mx::array& h, mx::Dtype type,
                                        StepLayout& layout) const {
  const mx::array low =
      query_down_ ? mx::astype(query_norm_->apply(query_down_->apply(h)), type) : h;
  mx::array q = mx::reshape(query_.apply(low), {h.shape(0), block_.heads, block_.query_dim()});
  if (block_.temperature) q = q * mx::astype(layout.temperatures(*block_.temperature), type);
  const mx::array plain = part_of(q, 0, block_.plain_dim);
  const mx::array rotary = part_of(q, block_.plain_dim, block_.query_dim());
  return mx::concatenate({key_up_.apply(plain), rope_.apply(rotary, layout.positions())}, -1);
}

// Of each head the latents weighed, [T, heads, rank].
mx::array LatentAttentionLayer::attend(const mx::array& queries, const PagedCache& cache,
                                       const StepLayout& layout) const {
  std::vector<mx::array> outs;
  for (const StepLayout::Part& part : layout.parts()) {
    const mx::array keys =  // [1, 1, positions, rank + rotary_dim]
        cache.read_keys(block_.layer, part.maps[cache.group_of(block_.layer)], 0);
    const std::size_t row_scores = static_cast<std::size_t>(block_.heads) * part.context_length;
    const int rows = static_cast<int>(std::max<std::size_t>(1, kScores / row_scores));
    for (int first = 0; first < part.query_length; first += rows) {
      const int end = std::min(part.query_length, first + rows);
      const int seen = part.context_length - part.query_length + end;
      const mx::array q = mx::slice(queries, {part.first_row + first, 0, 0},
                                    {part.first_row + end, block_.heads, block_.key_dim()});
      const mx::array k = mx::slice(keys, {0, 0, 0, 0}, {1, 1, seen, block_.key_dim()});
      const mx::array v = mx::slice(keys, {0, 0, 0, 0}, {1, 1, seen, block_.rank});
      const mx::array out =
          mx::fast::scaled_dot_product_attention(mx::expand_dims(mx::transpose(q, {1, 0, 2}), 0), k,
                                                 v, block_.scale, end - first > 1 ? "causal" : "");
      outs.push_back(mx::transpose(mx::squeeze(out, 0), {1, 0, 2}));
    }
  }
  return outs.size() == 1 ? outs[0] : mx::concatenate(outs, 0);
}

mx::array LatentAttentionLayer::apply(const mx::array& x, mx::Dtype type, PagedCache& cache,
                                      StepLayout& layout) const {
  const mx::array h = mx::astype(input_norm_ ? input_norm_->apply(x) : x, type);
  const mx::array made = mx::expand_dims(latent_.apply(h), 1);  // [T, 1, rank + rotary_dim]
  const mx::array latents = mx::astype(latent_norm_.apply(part_of(made, 0, block_.rank)), type);
  const mx::array rotary =
      rope_.apply(part_of(made, block_.rank, block_.key_dim()), layout.positions());
  cache.write_keys(block_.layer, layout.slots(cache.group_of(block_.layer)),
                   mx::concatenate({latents, rotary}, -1));
  const mx::array values = value_up_.apply(attend(queries(h, type, layout), cache, layout));
  const mx::array out =
      output_.apply(mx::reshape(values, {h.shape(0), block_.heads * block_.value_dim}));
  return add_residual(x, out, std::nullopt, block_.residual_scale);
}

// As scores and as weights.
std::size_t LatentAttentionLayer::score_bytes(mx::Dtype type) {
  return kScores * (mx::size_of(type) + sizeof(float));
}

}  // namespace mlxd::mlx_backend
