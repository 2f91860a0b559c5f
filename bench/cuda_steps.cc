// Steps of the cuda backend alone, without engine and file: plans in the shape of models that
// people run, with random weights in MLX's 4 bits (groups of 64), which are packed and moved as
// real ones.
//
//   bench_cuda_steps experts|delta LAYERS    Qwen3 30B-A3B (48 layers), Qwen3.5 4B (32)
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include <fmt/format.h>

#include "backend/cuda/cuda_backend.h"
#include "engine/sampler.h"
#include "model/model_plan.h"

namespace mlxd {
namespace {

constexpr int kSequences = 32, kBlocksOfSequence = 64;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// All matrices are pieces of the same bytes, no two from the same place: a tensor that is there
// twice would be moved to the card once.
class Weights {
 public:
  Weights() : codes_(std::size_t{400} << 20), scales_(std::size_t{20} << 20), biases_(scales_) {
    std::mt19937_64 random(1);
    for (std::size_t i = 0; i < codes_.size(); i += 8) {
      const auto bits = random();
      std::memcpy(&codes_[i], &bits, 8);
    }
    fill(scales_, 0.004f);
    fill(biases_, -0.03f);
  }

  Linear linear(std::int64_t rows, std::int64_t columns) {
    const auto count = static_cast<std::size_t>(rows * columns);
    Linear linear;
    linear.weight.name = fmt::format("matrix {}", turn_);
    linear.weight.quantization = {.encoding = Encoding::mlx_affine,
                                  .bits = 4,
                                  .group_size = 64,
                                  .scale_encoding = Encoding::bf16};
    linear.weight.rows = rows;
    linear.weight.columns = columns;
    linear.weight.data = std::span(codes_).subspan(64 * turn_++, count / 2);
    linear.weight.scales = std::span(scales_).first(count / 64 * 2);
    linear.weight.biases = std::span(biases_).first(count / 64 * 2);
    return linear;
  }

 private:
  static void fill(std::vector<std::byte>& numbers, float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const auto half = static_cast<std::uint16_t>(bits >> 16);
    for (std::size_t i = 0; i < numbers.size(); i += 2) std::memcpy(&numbers[i], &half, 2);
  }

  std::vector<std::byte> codes_, scales_, biases_;
  std::size_t turn_ = 0;
};

RmsNorm norm(int size) { return {std::vector<float>(static_cast<std::size_t>(size), 1.f), 1e-6f}; }

AttentionBlock attention(Weights& weights, int hidden, int heads, int head_dim, int rotated,
                         bool gated) {
  AttentionBlock block;
  block.input_norm = norm(hidden);
  block.heads = heads;
  block.kv_heads = 4;
  block.head_dim = head_dim;
  block.gated = gated;
  block.query = weights.linear(heads * head_dim * (gated ? 2 : 1), hidden);
  block.key = weights.linear(4 * head_dim, hidden);
  block.value = weights.linear(4 * head_dim, hidden);
  block.query_norm = block.key_norm = norm(head_dim);
  block.rope.emplace();
  for (int i = 0; i < rotated / 2; ++i) {
    const float turn = static_cast<float>(2 * i) / static_cast<float>(rotated);
    block.rope->inverse_frequencies.push_back(std::pow(1e6f, -turn));
  }
  block.scale = 1 / std::sqrt(static_cast<float>(head_dim));
  block.output = weights.linear(hidden, heads * head_dim);
  return block;
}

ModelPlan experts_plan(Weights& weights, int layers) {
  constexpr int kHidden = 2048, kExperts = 128, kExpertSize = 768;
  ModelPlan plan;
  plan.embed.table = weights.linear(151936, kHidden).weight;
  plan.head = {.norm = norm(kHidden), .weight = weights.linear(151936, kHidden)};
  for (int i = 0; i < layers; ++i) {
    AttentionBlock heads = attention(weights, kHidden, 32, 128, 128, false);
    heads.layer = plan.kv_layers++;
    plan.blocks.emplace_back(std::move(heads));
    ExpertsBlock block;
    block.input_norm = norm(kHidden);
    block.experts = kExperts;
    block.router = weights.linear(kExperts, kHidden);
    block.choice.chosen = 8;
    block.choice.normalised = true;
    block.gate = weights.linear(kExperts * kExpertSize, kHidden);
    block.up = weights.linear(kExperts * kExpertSize, kHidden);
    block.down = weights.linear(kExperts * kHidden, kExpertSize);
    plan.blocks.emplace_back(std::move(block));
  }
  return plan;
}

ModelPlan delta_plan(Weights& weights, int layers) {
  constexpr int kHidden = 2560, kIntermediate = 9216;
  ModelPlan plan;
  plan.embed.table = weights.linear(248320, kHidden).weight;
  plan.head = {.norm = norm(kHidden), .weight = weights.linear(248320, kHidden)};
  for (int i = 0; i < layers; ++i) {
    if (i % 4 == 3) {
      AttentionBlock heads = attention(weights, kHidden, 16, 256, 64, true);
      heads.layer = plan.kv_layers++;
      plan.blocks.emplace_back(std::move(heads));
    } else {
      DeltaNetBlock block;
      block.layer = plan.state_layers++;
      block.input_norm = norm(kHidden);
      block.key_heads = 16;
      block.value_heads = 32;
      block.key_dim = block.value_dim = 128;
      block.kernel = 4;
      block.qkv = weights.linear(block.channels(), kHidden);
      block.gate = weights.linear(4096, kHidden);
      block.alpha = weights.linear(32, kHidden);
      block.beta = weights.linear(32, kHidden);
      block.convolution.assign(static_cast<std::size_t>(block.channels() * 4), 0.25f);
      block.decay.assign(32, -0.1f);
      block.time_bias.assign(32, 0.f);
      block.norm = norm(128);
      block.output = weights.linear(kHidden, 4096);
      plan.blocks.emplace_back(std::move(block));
    }
    FeedForwardBlock block;
    block.input_norm = norm(kHidden);
    block.gate = weights.linear(kIntermediate, kHidden);
    block.up = weights.linear(kIntermediate, kHidden);
    block.down = weights.linear(kHidden, kIntermediate);
    plan.blocks.emplace_back(std::move(block));
  }
  return plan;
}

class Steps {
 public:
  explicit Steps(ModelRunner& runner) : runner_(runner), states_(runner.info().state_bytes > 0) {
    runner.resize_cache(
        CacheSize::of(runner.info(), kSequences * kBlocksOfSequence, states_ ? kSequences : 0));
    for (int i = 0; i < kSequences * kBlocksOfSequence; ++i) blocks_.push_back(i);
    greedy_.temperature = 0;
  }

  // Seconds of the step in which each of these sequences computes positions [first, + count).
  double run(int sequences, int first, int count) {
    Batch batch;
    std::vector<Draw> draws;
    std::vector<StateSave> saves;
    for (int s = 0; s < sequences; ++s) saves.push_back({s * count + count - 1, s});
    for (int s = 0; s < sequences; ++s) {
      const auto own = std::span(blocks_).subspan(static_cast<std::size_t>(s * kBlocksOfSequence),
                                                  kBlocksOfSequence);
      BatchSequence sequence{.first_row = s * count,
                             .query_length = count,
                             .context_length = first + count,
                             .blocks = tables_of(runner_.info(), own)};
      if (states_) {
        sequence.state = first > 0 ? s : -1;
        sequence.saves = std::span(saves).subspan(static_cast<std::size_t>(s), 1);
      }
      batch.sequences.push_back(sequence);
      for (int i = 0; i < count; ++i) {
        batch.tokens.push_back((s * 977 + i * 131 + first * 17) % 100000);
        batch.positions.push_back(first + i);
      }
      batch.wanted.push_back({s * count + count - 1, RowOutput::token});
      draws.push_back({.wanted = s, .params = &greedy_});
    }
    const double begin = seconds();
    StepOutput output;
    runner_.launch(batch);
    runner_.draw(draws);
    runner_.wait(output);
    return seconds() - begin;
  }

 private:
  ModelRunner& runner_;
  bool states_;
  std::vector<int> blocks_;
  SamplingParams greedy_;
};

void measure(const ModelPlan& plan) {
  const auto runner = cuda_backend::make_cuda_runner(plan);
  fmt::print("{:.2f} GB of weights\n", static_cast<double>(runner->info().weight_bytes) / 1e9);
  Steps steps(*runner);
  for (const int sequences : {1, 8}) {
    double best = 1e9;
    for (int i = 0; i < 3; ++i) best = std::min(best, steps.run(sequences, 0, 512));
    fmt::print("prompt, {} x 512: {:.0f} tokens/s\n", sequences, sequences * 512 / best);
  }
  for (const int sequences : {1, 8, kSequences}) {
    steps.run(sequences, 0, 128);
    double best = 1e9;
    for (int i = 0; i < 3; ++i) {
      double all = 0;
      for (int token = 0; token < 64; ++token) all += steps.run(sequences, 128 + token, 1);
      best = std::min(best, all / 64);
    }
    fmt::print("generation, {} sequences: {:.3f} ms a step, {:.0f} tokens/s\n", sequences,
               best * 1e3, sequences / best);
  }
}

}  // namespace
}  // namespace mlxd

int main(int count, char** arguments) {
  const std::string kind = count == 3 ? arguments[1] : "";
  const int layers = count == 3 ? std::atoi(arguments[2]) : 0;
  if ((kind != "experts" && kind != "delta") || layers < 1) {
    fmt::print(stderr, "usage: bench_cuda_steps experts|delta LAYERS\n");
    return 2;
  }
  mlxd::Weights weights;
  mlxd::ModelPlan plan =
      kind == "delta" ? mlxd::delta_plan(weights, layers) : mlxd::experts_plan(weights, layers);
  plan.config.context_length = 4096;
  mlxd::measure(plan);
}
