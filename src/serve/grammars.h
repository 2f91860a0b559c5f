#pragma once

#include <cstddef>
#include <cstdint>
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
// prepared with the first of them. Any thread.
//
// A grammar is found by those of the salt that it was compiled for (GenerateJob::cache_salt): no
// key learns from the time what another has sent.
class Grammars {
 public:
  // Bytes of the sources that are kept. What is made of one takes some ten times as much.
  static constexpr std::size_t kKeptBytes = std::size_t{4} << 20;

  // A model that draws from `rows` tokens, of which `ends` end its answers.
  Grammars(std::shared_ptr<const Tokenizer> tokenizer, int rows, std::vector<int> ends)
      : tokenizer_(std::move(tokenizer)), rows_(rows), ends_(std::move(ends)) {}

  // For a job of its own. Errors as GrammarCompiler's.
  Result<std::unique_ptr<TokenConstraint>> constraint(const GrammarSource& source,
                                                      std::uint64_t salt);
  // The same by itself.
  Result<std::unique_ptr<GrammarState>> state(const GrammarSource& source, std::uint64_t salt);

  // For tests: how often one was compiled.
  std::size_t compiled() const;

 private:
  using State = std::shared_ptr<const GrammarState>;
  struct Kept {
    GrammarSource source;
    std::uint64_t salt;
    State state;
  };
  State find(const GrammarSource& source, std::uint64_t salt);  // null: none is kept
  Result<State> compile(const GrammarSource& source, std::uint64_t salt);
  Result<const GrammarCompiler*> compiler();
  void keep(Kept kept);

  const std::shared_ptr<const Tokenizer> tokenizer_;
  const int rows_;
  const std::vector<int> ends_;
  std::mutex loading_;                               // of the next one
  std::unique_ptr<const GrammarCompiler> compiler_;  // null until one was asked for
  mutable std::mutex mutex_;                         // of all that follows
  std::list<Kept> kept_;                             // the last used first
  std::size_t kept_bytes_ = 0;
  std::size_t compiled_ = 0;
};

}  // namespace mlxd
