#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "engine/block_pools.h"
#include "engine/draft_policy.h"
#include "engine/generate_job.h"
#include "engine/request_handle.h"
#include "engine/sampler.h"
#include "engine/token_constraint.h"

namespace mlxd {

struct Request;
struct Sequence;
struct CallerLine;

// The order in which sequences are served.
struct FirstFirst {
  bool operator()(const Sequence* a, const Sequence* b) const;
};
using SequenceSet = std::set<Sequence*, FirstFirst>;

// Where a sequence of a model with recurrent states has its own.
struct RecurrentState {
  int slot = -1;                // with the one after the first `computed` tokens; -1: none yet
  int slot_ahead = -1;          // in which the step in flight leaves it
  int in_place_ahead = 0;       // steps in flight that save to the slot that they read
  bool never_in_place = false;  // one that did has failed
  int last_snapshot = 0;        // of its answer, in the prefix cache: after so many blocks
};

// One sample of a request: its tokens, and how far the KV cache has them. Inference thread only.
//
// A request begins as one sequence, sample 0, which computes the prompt; the other samples fork
// from it when the first token is drawn.
struct Sequence {
  enum class State { waiting, running, finished };

  // What every step reads of every sequence lies together.
  std::vector<int> tokens;  // prompt, then what was drawn

  // The scheduler's: how far the KV cache has the tokens, and what steps in flight will add.
  BlockTables blocks;
  State state = State::waiting;
  int computed = 0;       // the first so many tokens are in the KV cache
  int cached_blocks = 0;  // the first so many blocks are in the prefix cache
  int steps_ahead = 0;    // launched, with rows of this sequence, and not over
  int rows_ahead = 0;     // in these
  int tokens_ahead = 0;   // 0 or 1: that they will draw
  // Beyond `computed`, so many tokens are in the KV cache: their rows are fed again for the state
  // behind them, which was not saved.
  int computed_kv = 0;
  // Rows of a step that this sequence occupies at most: all its samples, until they have forked.
  int slots = 1;
  bool preempted = false;        // it waits, but had begun
  CallerLine* line = nullptr;    // PromptQueue's
  SequenceSet::node_type place;  // in the line, while it is not there: queueing needs no memory
  int found_tokens = 0;          // of `computed`: found in the cache when it was admitted last

  // What the loop and Delivery tell the scheduler.
  // Positions [logits_from, logits_to) give logits when they are computed.
  int logits_from = 0;
  int logits_to = 0;
  int most_tokens = std::numeric_limits<int>::max();  // with so many it ends, if not before
  int draw_ahead = 0;   // which draw of the step in flight gives the token that is to come
  int draft_rows = 0;   // of `draft`, to be checked in the next step; 0 unless it decodes
  bool paused = false;  // the reader is behind: not to be scheduled
  bool pooled = false;  // its last row is pooled, and no token drawn
  // Rows with logits of the prompt that a step may hold; further ones wait for the next step.
  int prompt_logit_limit = 0;

  // The request's; nothing changes them.
  Request* request = nullptr;
  std::uint64_t age = 0;  // order of arrival; the samples of a request share it
  int sample = 0;
  int prompt_length = 0;
  int priority = 0;  // as the job's
  std::uint64_t caller = 0;
  std::uint64_t cache_salt = 0;       // prefixes are shared with sequences of the same salt
  std::span<const int> borders;       // as the job's
  std::span<const HeldPrefix> holds;  // likewise
  int second_begin = 0;               // as its text's

  RecurrentState recurrent;  // StepStates'

  // Delivery's: how its tokens are drawn.
  TokenCounts counts;                           // for the penalties; kept only when there are some
  std::unique_ptr<TokenConstraint> constraint;  // as far as `tokens`; may be null

  // Guesses at the tokens after the last one, or the one to come; the one behind those that are
  // checked is compared for free.
  std::vector<int> draft;
  bool draft_is_forced = false;  // no guesses, but what the constraint leaves no choice about
  DraftRecord draft_record;

  int length() const { return static_cast<int>(tokens.size()); }
  int outputs() const { return length() - prompt_length; }
  // Once the steps in flight are over.
  int planned() const { return computed + rows_ahead; }
  int expected_length() const { return length() + tokens_ahead; }
  int planned_state() const { return steps_ahead > 0 ? recurrent.slot_ahead : recurrent.slot; }
  // What it has not computed before is its newest token, known or to come. One that is to come may
  // be the last.
  bool decoding() const {
    return std::max(planned(), computed_kv) == expected_length() - 1 &&
           (tokens_ahead == 0 || expected_length() < most_tokens);
  }
  // First come first served; within a request by sample.
  bool older_than(const Sequence& other) const {
    return age != other.age ? age < other.age : sample < other.sample;
  }
  // The order in which sequences are served, and the reverse of that in which they are preempted.
  bool goes_before(const Sequence& other) const {
    return priority != other.priority ? priority > other.priority : older_than(other);
  }
};

inline bool FirstFirst::operator()(const Sequence* a, const Sequence* b) const {
  return a->goes_before(*b);
}

// An accepted job as the inference thread keeps it.
struct Request {
  GenerateJob job;
  std::shared_ptr<RequestHandle::Shared> shared;
  std::vector<std::unique_ptr<Sequence>> sequences;  // sample 0 first; all, finished ones too
  bool forked = false;
  int finished_samples = 0;
  int prompt_tokens_sent = 0;  // PromptToken events
  // Found in the prefix cache when the request began; of texts, when each ended.
  int cached_prompt_tokens = 0;
  // What its reader is told when it fails for no reason of its own. Made beforehand: when it is
  // wanted there may be no memory.
  Error failure{500, "internal_error", "", "The server failed while it computed this request."};
  bool over = false;  // ended; to be removed when no step in flight has rows of it

  // Each with an end of its own.
  int samples() const { return job.pools() ? static_cast<int>(job.texts.size()) : job.samples; }
  bool in_flight() const {
    return std::ranges::any_of(sequences,
                               [](const auto& sequence) { return sequence->steps_ahead > 0; });
  }
  // Whether PromptToken events are still to be made.
  bool wants_prompt_logprobs() const {
    return job.prompt_logprobs >= 0 && prompt_tokens_sent < static_cast<int>(job.prompt.size());
  }
};

}  // namespace mlxd
