#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/sampling_params.h"
#include "engine/token_constraint.h"

namespace mlxd {

constexpr int kHighestPriority = 9;

// What is pooled into one vector.
struct PooledText {
  std::vector<int> tokens;  // 1 .. context_length
  // Of a model that reads pairs, tokens from here on are of the second text; 0: there is but one.
  int second_begin = 0;
};

// What a request asks of the engine; everything in it was validated.
// The first so many tokens of a request's text, answers included, are to stay in the prefix cache
// for a time after it (PrefixGroups::hold).
struct HeldPrefix {
  int tokens = 0;
  std::chrono::seconds time{};
};

struct GenerateJob {
  std::string id;           // x-request-id, for logs
  std::vector<int> prompt;  // 1 .. context_length tokens
  // In place of a prompt, from a model that pools: for each a PooledVector, whose sample is its
  // index here, and no tokens.
  std::vector<PooledText> texts{};
  SamplingParams sampling;
  // Lengths of the prompt's beginnings that other prompts may share, ascending, such as what came
  // before the last message. A model with recurrent states can go on from what it has kept alone,
  // so it keeps the state there; others find any beginning.
  std::vector<int> borders;
  int samples = 1;     // each draws with its own stream of the seed's random numbers
  int max_tokens = 0;  // per sample; prompt + max_tokens <= context_length; 0: prompt logprobs only
  int min_tokens = 0;  // stop ids cannot be drawn before
  bool ignore_eos = false;
  std::vector<int> stop_ids;
  bool progress = false;     // PromptProgress events are wanted
  int prompt_logprobs = -1;  // -1: none; else PromptToken events with that many alternatives
  // 0 .. kHighestPriority: more urgent requests begin first, and take the place of less urgent
  // ones.
  int priority = 0;
  // Whose request it is: callers take turns, however many requests each has.
  std::uint64_t caller = 0;
  // Requests of one salt share the prefix cache: what another salt's prompts were cannot be told
  // from how long an answer takes.
  std::uint64_t cache_salt = 0;
  std::vector<HeldPrefix> holds;
  TimePoint deadline = TimePoint::max();
  // What each sample's tokens are held to, from its beginning: each goes on with a fork of its own.
  // Null: nothing.
  std::shared_ptr<const TokenConstraint> constraint;

  bool pools() const { return !texts.empty(); }
  std::int64_t prompt_tokens() const {
    auto count = static_cast<std::int64_t>(prompt.size());
    for (const PooledText& text : texts) count += static_cast<std::int64_t>(text.tokens.size());
    return count;
  }
};

}  // namespace mlxd
