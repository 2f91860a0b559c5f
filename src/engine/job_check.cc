#include "engine/job_check.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace mlxd {
namespace {

constexpr int kMaxSamples = 64;  // bits of Shared::stopped_samples

Error refusal(int status, std::string code, std::string param, std::string message) {
  return {status, std::move(code), std::move(param), std::move(message)};
}

int blocks_for(std::int64_t tokens, const RunnerInfo& info) {
  return static_cast<int>((tokens + info.block_size - 1) / info.block_size);
}

std::optional<Error> find_mistake_in_texts(const GenerateJob& job, const RunnerInfo& info,
                                           const CachePlan& plan) {
  if (info.pooled_size == 0) {
    return refusal(400, "unsupported_model", "model", "This model makes no embeddings.");
  }
  constexpr std::int64_t kMostTokens = std::numeric_limits<int>::max();
  if (job.prompt_tokens() > kMostTokens || job.samples != 1 || !job.prompt.empty()) {
    return refusal(400, "invalid_value", "input", "The texts are too long together.");
  }
  const int most = std::min<std::int64_t>(info.context_length,
                                          std::int64_t{plan.sequence_blocks} * info.block_size);
  for (const PooledText& text : job.texts) {
    const auto length = static_cast<int>(text.tokens.size());
    if (length < 1 || length > most) {
      return refusal(400, "context_length_exceeded", "input",
                     fmt::format("A text has {} tokens; this model takes 1 to {}.", length, most));
    }
    if (text.second_begin < 0 || text.second_begin >= length) {
      return refusal(400, "invalid_value", "input", "A pair of texts lacks its second.");
    }
    for (const int token : text.tokens) {
      if (token >= 0 && token < info.vocab_size) continue;
      return refusal(400, "invalid_value", "input",
                     fmt::format("A token is outside the vocabulary of {}.", info.vocab_size));
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Error> find_mistake(const GenerateJob& job, const RunnerInfo& info,
                                  const CachePlan& plan) {
  if (job.priority < 0 || job.priority > kHighestPriority) {
    return refusal(
        400, "invalid_value", "priority",
        fmt::format("'priority' is {}; it must be 0 to {}.", job.priority, kHighestPriority));
  }
  if (job.pools()) return find_mistake_in_texts(job, info, plan);
  if (!info.causal) {
    return refusal(400, "unsupported_model", "model", "This model makes embeddings alone.");
  }
  const auto prompt = static_cast<std::int64_t>(job.prompt.size());
  if (prompt == 0) return refusal(400, "invalid_value", "prompt", "The prompt has no tokens.");
  const int most_samples = std::min(plan.max_sequences, kMaxSamples);
  if (job.samples < 1 || job.samples > most_samples) {
    return refusal(400, "invalid_value", "n",
                   fmt::format("'n' is {}; it must be 1 to {}.", job.samples, most_samples));
  }
  if (job.max_tokens < 0) {
    return refusal(400, "invalid_value", "max_tokens", "'max_tokens' is negative.");
  }
  if (prompt + job.max_tokens > info.context_length) {
    return refusal(
        400, "context_length_exceeded", "max_tokens",
        fmt::format("This model's maximum context length is {} tokens, but the prompt has {} and "
                    "max_tokens is {}.",
                    info.context_length, prompt, job.max_tokens));
  }
  // The last token drawn is never fed back, so it needs no place.
  const int needed = blocks_for(prompt + std::max(job.max_tokens - 1, 0), info);
  if (needed > plan.sequence_blocks) {
    return refusal(
        400, "kv_cache_exceeded", "max_tokens",
        fmt::format("The prompt's {} tokens and max_tokens {} need {} KV blocks of {} "
                    "tokens, and this server has {}: send fewer tokens.",
                    prompt, job.max_tokens, needed, info.block_size, plan.sequence_blocks));
  }
  const auto outside = [&](int token) { return token < 0 || token >= info.vocab_size; };
  if (std::ranges::any_of(job.prompt, outside)) {
    return refusal(400, "invalid_value", "prompt",
                   fmt::format("A prompt token is outside the vocabulary of {}.", info.vocab_size));
  }
  if (std::ranges::any_of(job.sampling.logit_bias, outside, &LogitBias::token)) {
    return refusal(400, "invalid_value", "logit_bias",
                   fmt::format("A token id is outside the vocabulary of {}.", info.vocab_size));
  }
  return std::nullopt;
}

}  // namespace mlxd
