#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/delta_net_layer.h"
#include "backend/cuda/expert_layer.h"
#include "backend/cuda/graphs.h"
#include "backend/cuda/layers.h"
#include "backend/cuda/sample.h"
#include "base/error.h"
#include "base/overloaded.h"
#include "engine/batch_check.h"
#include "engine/sampler.h"

namespace mlxd::cuda_backend {
namespace {

// With more of them there are tiles enough to fill the card, and a tile's parts follow one another.
constexpr int kFewRows = 64;

// A row of each sequence: steps of one kind, which come again and again.
bool is_decode(const Batch& batch) {
  return batch.rows() <= kFewRows && batch.sequences.size() == batch.tokens.size();
}

// Whether nothing but a row's logits decides.
bool is_plain_maximum(const Draw& draw) {
  const SamplingParams& params = *draw.params;
  return params.temperature == 0 && !params.logprobs && params.logit_bias.empty() &&
         !has_penalties(params) && draw.forbidden.empty() && draw.allowed.empty();
}

using Layer = std::variant<AttentionLayer, FeedForwardLayer, ExpertLayer, DeltaNetLayer>;

std::vector<Layer> make_layers(const ModelPlan& plan, Weights& weights,
                               const LoadProgress& progress) {
  std::vector<Layer> layers;
  const auto add = [&]<class Kind>(std::type_identity<Kind>, const auto& block) {
    layers.emplace_back(std::in_place_type<Kind>, block, weights);
  };
  const Overloaded make = {
      [&](const AttentionBlock& block) { add(std::type_identity<AttentionLayer>(), block); },
      [&](const FeedForwardBlock& block) { add(std::type_identity<FeedForwardLayer>(), block); },
      [&](const ExpertsBlock& block) { add(std::type_identity<ExpertLayer>(), block); },
      [&](const DeltaNetBlock& block) { add(std::type_identity<DeltaNetLayer>(), block); },
      [](const auto&) {},  // check_plan refused it
  };
  for (const Block& block : plan.blocks) {
    std::visit(make, block);
    if (progress) {
      progress(static_cast<double>(layers.size()) / static_cast<double>(plan.blocks.size() + 1));
    }
  }
  return layers;
}

std::vector<TileKind> tile_kinds(const ModelPlan& plan, const PagedKv& cache) {
  std::vector<TileKind> kinds;
  for (const Block& block : plan.blocks) {
    const auto* attention = std::get_if<AttentionBlock>(&block);
    if (!attention) continue;
    AttentionShape shape;
    shape.heads = attention->heads;
    shape.kv_heads = attention->kv_heads;
    const TileKind kind{rows_of_tile(shape), cache.group_of(attention->layer)};
    if (std::ranges::count(kinds, kind) == 0) kinds.push_back(kind);
  }
  return kinds;
}

// Floats that attention leaves of a row and part, at most.
std::size_t part_floats(const ModelPlan& plan) {
  std::size_t floats = 0;
  for (const Block& block : plan.blocks) {
    const auto* attention = std::get_if<AttentionBlock>(&block);
    if (!attention) continue;
    floats = std::max(floats, static_cast<std::size_t>(attention->heads) *
                                  static_cast<std::size_t>(attention->head_dim + 2));
  }
  return floats;
}

class CudaRunner final : public ModelRunner {
 public:
  CudaRunner(const ModelPlan& plan, const LoadProgress& progress)
      : weights_(element_of(plan)),
        table_(weights_.matrix(plan.embed.table)),
        embed_scale_(plan.embed.scale),
        layers_(make_layers(plan, weights_, progress)),
        head_norm_(weights_.norm(plan.head.norm)),
        head_(weights_.linear(plan_matrix(plan.head.weight, weights_.element()))),
        softcap_(plan.head.softcap),
        row_bytes_(row_bytes_of(plan)),
        part_floats_(part_floats(plan)),
        cache_(plan),
        states_(state_shapes(plan)),
        layout_(static_cast<int>(cache_.groups().size()), tile_kinds(plan, cache_),
                plan.state_layers > 0) {
    info_.backend = "cuda";
    info_.instruction_set = "sm_90a";
    info_.vocab_size = static_cast<int>(plan.head.weight.out());
    info_.context_length = plan.config.context_length;
    info_.block_size = kBlockTokens;
    info_.kv = cache_.groups();
    info_.state_bytes = states_.slot_bytes();
    info_.weight_bytes = weights_.matrix_bytes();
    info_.draws = true;
    // From steps of 1, 8 and 32 rows on an H100 (docs/performance.md): 8 cost 1.01 to 1.04.
    info_.row_cost = {1, 1, 1.1f};
    if (progress) progress(1);
  }

  const RunnerInfo& info() const override { return info_; }
  void resize_cache(const CacheSize& size) override {
    size_ = size;
    graphs_.clear();
    cache_.resize(size.blocks);
    states_.resize(size.states);
  }
  void launch(const Batch& batch) override;
  void draw(std::span<const Draw> draws) override;
  void wait(StepOutput& output) override;
  std::size_t buffer_bytes() const override;

 private:
  void bring(const Batch& batch);
  void reserve(int rows, int wanted);
  void run(int rows, int wanted);
  void hand_out(std::size_t wanted);
  std::span<float> handed_out(std::size_t wanted) const;
  void pick(std::span<const Draw> draws);
  Graphs::Key key_of(int rows, int wanted) const;

  Weights weights_;
  DeviceMatrix table_;
  float embed_scale_;
  std::vector<Layer> layers_;
  Norm head_norm_;
  DeviceLinear head_;
  float softcap_;
  RowBytes row_bytes_;
  std::size_t part_floats_;
  PagedKv cache_;
  StateSlots states_;
  StepLayout layout_;
  RunnerInfo info_;
  CacheSize size_;
  Stream stream_;

  Buffer staged_{Buffer::Place::host}, input_;
  Buffer x_, heads_, y_, h16_, q16_, wide16_, scratch_, last16_, logits_;
  Buffer scores_, mixed_, expert_out_, pairs_;
  Buffer handed_out_{Buffer::Place::host};
  DeviceStep step_;
  Graphs graphs_;

  // Of the step that was launched.
  std::vector<std::size_t> logits_wanted_;  // indices into Batch::wanted
  std::vector<SampledToken> drawn_;
  std::vector<std::size_t> to_pick_, picked_;       // of drawn_: those that the card draws
  Buffer picks_{Buffer::Place::host}, card_picks_;  // rows, then their tokens
  Sampler sampler_;
};

// The step's numbers onto the card.
void CudaRunner::bring(const Batch& batch) {
  layout_.build(batch);
  const std::span<const int> numbers = layout_.numbers();
  // Somewhat more than is needed, since tables grow token by token.
  const std::size_t room = numbers.size_bytes() + numbers.size_bytes() / 2;
  if (staged_.bytes() < numbers.size_bytes()) staged_.reserve(room);
  if (input_.bytes() < numbers.size_bytes() && input_.reserve(room)) graphs_.clear();
  std::memcpy(staged_.as(), numbers.data(), numbers.size_bytes());
  check(cudaMemcpyAsync(input_.as(), staged_.as(), numbers.size_bytes(), cudaMemcpyHostToDevice,
                        stream_),
        "copying a step's input");
  const int* base = input_.as<const int>();
  step_.tokens = base + layout_.tokens();
  step_.positions = base + layout_.positions();
  step_.wanted = base + layout_.wanted();
  for (int group = 0; group < static_cast<int>(info_.kv.size()); ++group) {
    step_.slots[static_cast<std::size_t>(group)] = base + layout_.slots(group);
    step_.tables[static_cast<std::size_t>(group)] = base + layout_.tables(group);
  }
  step_.states = {base + layout_.sequence_of(),
                  reinterpret_cast<const StateSequence*>(base + layout_.sequences()),
                  reinterpret_cast<const SavedState*>(base + layout_.saves()),
                  static_cast<int>(batch.sequences.size())};
  step_.tiles.clear();
  for (const StepLayout::Tiles& tiles : layout_.tiles()) {
    step_.tiles.push_back(
        {tiles.kind, reinterpret_cast<const QueryTile*>(base + tiles.first), tiles.count});
  }
}

void CudaRunner::reserve(int rows, int wanted) {
  const auto count = static_cast<std::size_t>(rounded_rows(rows));
  const auto last = static_cast<std::size_t>(rounded_rows(wanted));
  bool moved = false;
  const auto grow = [&](Buffer& buffer, std::size_t of_rows, std::size_t bytes) {
    if (buffer.reserve(of_rows * bytes)) moved = true;
  };
  grow(x_, count, row_bytes_.x);
  grow(heads_, count, row_bytes_.heads);
  grow(y_, count, row_bytes_.y);
  grow(h16_, count, row_bytes_.h16);
  grow(q16_, count, row_bytes_.q16);
  grow(wide16_, count, row_bytes_.wide16);
  grow(scores_, count, row_bytes_.scores);
  grow(mixed_, count, row_bytes_.mixed);
  grow(expert_out_, count, row_bytes_.expert_out);
  if (row_bytes_.pairs > 0) grow(pairs_, 1, count * row_bytes_.pairs + kPairsBytes);
  grow(last16_, last, row_bytes_.h16);
  grow(logits_, last, row_bytes_.logits);
  grow(handed_out_, last, row_bytes_.logits);
  const auto parts = static_cast<std::size_t>((layout_.largest_context() - 1) / kPartKeys + 1);
  const std::size_t scratch = static_cast<std::size_t>(rows) * parts * part_floats_ * sizeof(float);
  const bool beside = parts > 1 && rows <= kFewRows && scratch <= kScratchBytes;
  if (beside) grow(scratch_, 1, kScratchBytes);
  if (moved) graphs_.clear();
  step_.parts = beside ? static_cast<int>(parts) : 1;
}

void CudaRunner::run(int rows, int wanted) {
  const Element element = weights_.element();
  const Workspace space{.x = x_.as<float>(),
                        .heads = heads_.as<float>(),
                        .y = y_.as<float>(),
                        .h16 = h16_.as(),
                        .q16 = q16_.as(),
                        .wide16 = wide16_.as(),
                        .scratch = scratch_.as<float>(),
                        .scores = scores_.as<float>(),
                        .mixed = mixed_.as<float>(),
                        .expert_out = expert_out_.as<float>(),
                        .pairs = pairs_.as()};
  const StepContext context{element, rows, step_, space, cache_, states_, stream_};
  embed(element, table_, step_.tokens, rows, embed_scale_, space.x, stream_);
  for (const Layer& layer : layers_) {
    std::visit([&](const auto& kind) { kind.run(context); }, layer);
  }
  if (wanted == 0) return;
  const int width = table_.shape.columns;
  normalise(element, head_norm_, space.x, width, step_.wanted, wanted, last16_.as(), padded(width),
            stream_);
  const Epilogue end{.bias = head_.bias, .out = logits_.as<float>(), .stride = info_.vocab_size};
  multiply(element, head_.matrix, last16_.as(), padded(width), wanted, end, stream_);
  const auto count = static_cast<long>(wanted) * info_.vocab_size;
  if (softcap_ > 0) cap(logits_.as<float>(), count, softcap_, stream_);
}

// All that launches are made of and that changes from step to step. Block tables of several groups
// lie one behind the other, so their places do too, as they grow.
Graphs::Key CudaRunner::key_of(int rows, int wanted) const {
  Graphs::Key key = {static_cast<std::size_t>(rows), static_cast<std::size_t>(wanted),
                     static_cast<std::size_t>(step_.parts)};
  if (info_.state_bytes > 0) key.push_back(layout_.saves());
  for (std::size_t group = 0; group < info_.kv.size(); ++group) {
    key.push_back(layout_.slots(static_cast<int>(group)));
    key.push_back(layout_.tables(static_cast<int>(group)));
  }
  return key;
}

void CudaRunner::launch(const Batch& batch) {
  check_batch(batch, info_, size_);
  const int rows = batch.rows(), wanted = static_cast<int>(batch.wanted.size());
  logits_wanted_.clear();
  drawn_.clear();
  picked_.clear();
  // Nothing of a step that failed is under way any more when a buffer is replaced.
  stream_.wait();
  cache_.copy_blocks(batch.block_copies, stream_);
  if (rows == 0) return;
  bring(batch);
  reserve(rows, wanted);
  if (is_decode(batch)) {
    graphs_.run(key_of(rows, wanted), stream_, [&] { run(rows, wanted); });
  } else {
    run(rows, wanted);
  }
  for (std::size_t i = 0; i < batch.wanted.size(); ++i) {
    if (batch.wanted[i].output != RowOutput::logits) continue;
    hand_out(i);
    logits_wanted_.push_back(i);
  }
  check(cudaGetLastError(), "launching a step");
}

// A wanted row's logits to the host.
void CudaRunner::hand_out(std::size_t wanted) {
  const std::span<float> to = handed_out(wanted);
  check(cudaMemcpyAsync(to.data(), logits_.as(wanted * to.size_bytes()), to.size_bytes(),
                        cudaMemcpyDeviceToHost, stream_),
        "copying logits");
}

std::span<float> CudaRunner::handed_out(std::size_t wanted) const {
  const auto vocabulary = static_cast<std::size_t>(info_.vocab_size);
  return {handed_out_.as<float>() + wanted * vocabulary, vocabulary};
}

// The most likely token is found on the card. For all else the host has the row and draws at once,
// while what Draw points to is there.
void CudaRunner::draw(std::span<const Draw> draws) {
  drawn_.resize(draws.size());
  to_pick_.clear();
  for (std::size_t i = 0; i < draws.size(); ++i) {
    drawn_[i].sample = draws[i].sample;
    drawn_[i].token = -1;
    if (is_plain_maximum(draws[i])) {
      to_pick_.push_back(i);
    } else {
      hand_out(static_cast<std::size_t>(draws[i].wanted));
    }
  }
  if (!to_pick_.empty()) pick(draws);
  picked_ = to_pick_;  // those whose tokens are on their way
  if (picked_.size() == draws.size()) return;
  stream_.wait();
  for (std::size_t i = 0; i < draws.size(); ++i) {
    if (is_plain_maximum(draws[i])) continue;
    auto drawn = sampler_.draw(handed_out(static_cast<std::size_t>(draws[i].wanted)), draws[i]);
    if (drawn) drawn_[i] = *std::move(drawn);
  }
}

void CudaRunner::pick(std::span<const Draw> draws) {
  const std::size_t count = to_pick_.size(), bytes = count * sizeof(int);
  picks_.reserve(2 * bytes);
  card_picks_.reserve(2 * bytes);
  int* rows = picks_.as<int>();
  for (std::size_t i = 0; i < count; ++i) rows[i] = draws[to_pick_[i]].wanted;
  check(cudaMemcpyAsync(card_picks_.as(), rows, bytes, cudaMemcpyHostToDevice, stream_),
        "copying rows to draw from");
  pick_most_likely(logits_.as<float>(), info_.vocab_size, card_picks_.as<int>(),
                   static_cast<int>(count), card_picks_.as<int>(bytes), stream_);
  check(
      cudaMemcpyAsync(rows + count, card_picks_.as(bytes), bytes, cudaMemcpyDeviceToHost, stream_),
      "copying tokens");
}

void CudaRunner::wait(StepOutput& output) {
  output.logits.clear();
  output.pooled.clear();
  output.drawn.clear();
  stream_.wait();
  for (const std::size_t wanted : logits_wanted_) {
    const std::span<const float> logits = handed_out(wanted);
    output.logits.insert(output.logits.end(), logits.begin(), logits.end());
  }
  const int* tokens = picks_.as<const int>() + picked_.size();
  for (std::size_t i = 0; i < picked_.size(); ++i) drawn_[picked_[i]].token = tokens[i];
  output.drawn = drawn_;
}

std::size_t CudaRunner::buffer_bytes() const {
  std::size_t bytes = 0;
  for (const Buffer* buffer : {&input_, &x_, &heads_, &y_, &h16_, &q16_, &wide16_, &scratch_,
                               &last16_, &logits_, &scores_, &mixed_, &expert_out_, &pairs_}) {
    bytes += buffer->bytes();
  }
  return bytes;
}

}  // namespace

std::unique_ptr<ModelRunner> make_cuda_runner(const ModelPlan& plan, const LoadProgress& progress) {
  if (const std::string why = missing_card(); !why.empty()) {
    throw StartupError("--backend cuda: " + why + "; use --backend cpu");
  }
  check_plan(plan);
  check(cudaSetDevice(0), "taking the card");
  return std::make_unique<CudaRunner>(plan, progress);
}

}  // namespace mlxd::cuda_backend
