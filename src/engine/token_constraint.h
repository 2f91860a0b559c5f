#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace mlxd {

// Which tokens one sample of an answer may go on with: a grammar and how far the answer has come in
// it. Inference thread only, but for the job's own, which is only forked. What it throws fails its
// request alone.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // Writes the tokens that may come next, one bit each, the lowest bit of the first word first:
  // [(vocab_size + 31) / 32], 0 before. False when all may: nothing needs to be masked.
  virtual bool fill(std::span<std::uint32_t> allowed) = 0;
  // Adds the tokens that must come next, where there is no choice, at most so many; or fewer: they
  // are drafted, which saves a step for each.
  virtual void add_forced(std::size_t /*most*/, std::vector<int>& /*tokens*/) {}
  // Goes on by a token. False when it may not come next: nothing has changed.
  virtual bool accept(int token) = 0;
  // Takes back the last so many tokens that were accepted: a draft that is checked is accepted, and
  // taken back, before it is known which of it comes true.
  virtual void rollback(int tokens) = 0;
  // Nothing may follow: the sample ends as by a stop id.
  virtual bool terminated() const = 0;
  // Another sample that has come as far.
  virtual std::unique_ptr<TokenConstraint> fork() const = 0;
};

}  // namespace mlxd
