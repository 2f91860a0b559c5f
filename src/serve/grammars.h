#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "engine/token_constraint.h"
#include "text/grammar.h"

namespace mlxd {

// The grammars of one model: compiled when they are first asked for, and kept for who asks again,
// as agents do with every turn, the last used first, within a bound. The model's tokens are
// prepared with the first of them. Any thread; one that compiles holds up others that do.
class Grammars {
 public:
  // Bytes of the sources that are kept. What is made of one takes some ten times as much.
  static constexpr std::size_t kKeptBytes = std::size_t{4} << 20;

  // A model that draws from `rows` tokens, of which `ends` end its answers.
  Grammars(std::shared_ptr<const Tokenizer> tokenizer, int rows, std::vector<int> ends)
      : tokenizer_(std::move(tokenizer)), rows_(rows), ends_(std::move(ends)) {}

  // For a job of its own. Errors as GrammarCompiler's.
  Result<std::unique_ptr<TokenConstraint>> constraint(const GrammarSource& source);
  // The same by itself.
  Result<std::unique_ptr<GrammarState>> state(const GrammarSource& source);

  // For tests: how often one was compiled.
  std::size_t compiled() const;

 private:
  struct Kept {
    GrammarSource source;
    std::shared_ptr<const GrammarState> state;
  };
  Result<std::shared_ptr<const GrammarState>> find(const GrammarSource& source);
  void keep(Kept kept);

  const std::shared_ptr<const Tokenizer> tokenizer_;
  const int rows_;
  const std::vector<int> ends_;
  mutable std::mutex mutex_;
  std::unique_ptr<const GrammarCompiler> compiler_;  // null until one was asked for
  std::list<Kept> kept_;                             // the last used first
  std::size_t kept_bytes_ = 0;
  std::size_t compiled_ = 0;
};

}  // namespace mlxd
