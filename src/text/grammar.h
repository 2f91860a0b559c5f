#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer.h"

namespace mlxd {

// What the text of an answer is held to.
struct GrammarSource {
  enum class Kind {
    json_schema,
    json_object,  // any; `text` is empty
    regex,        // the whole answer matches it
    choice,       // the answer is one of the strings of a JSON array
    grammar,      // GBNF where it has "::=", else Lark as llguidance reads it
    calls,        // tool calls, written by CallGrammar
  };
  Kind kind = Kind::json_object;
  std::string text;
  bool operator==(const GrammarSource&) const = default;
};

// One answer's place in a grammar, over a model's tokens. One thread at a time. What fails here,
// for want of memory or where a grammar is too much work, throws std::runtime_error.
class GrammarState {
 public:
  virtual ~GrammarState() = default;
  // Sets the bits of the tokens that may come next, the lowest of the first word first, in words
  // that are 0: [(rows + 31) / 32].
  virtual void fill(std::span<std::uint32_t> allowed) = 0;
  // False when it may not come next: nothing has changed.
  virtual bool accept(int token) = 0;
  // Goes on by text, which takes some tokens to be rolled back by; -1: it may not come next.
  virtual int accept_text(std::string_view text) = 0;
  virtual void roll_back(int tokens) = 0;
  // Nothing may follow.
  virtual bool is_over() const = 0;
  // Another answer that has come as far. Those of one request share what they learn of their
  // grammar; those of different requests may be on different threads.
  virtual std::unique_ptr<GrammarState> fork_for_sample() const = 0;
  virtual std::unique_ptr<GrammarState> fork_for_request() const = 0;
};

// Compiles grammars for a model that draws from `rows` tokens, of which `ends`, one at least, end
// its answers. Immutable; any thread. Untrusted: size, depth and work of a grammar are bounded.
class GrammarCompiler {
 public:
  // Takes some tenths of a second, and some tens of megabytes for a large vocabulary. Errors: 500
  // that says why the model's tokens cannot be used.
  static Result<std::unique_ptr<const GrammarCompiler>> load(const Tokenizer& tokenizer, int rows,
                                                             std::span<const int> ends);
  virtual ~GrammarCompiler() = default;
  // At the beginning of an answer. Errors: 400 "invalid_grammar" with what is wrong with the
  // source, a keyword that is not supported among it, and no parameter.
  virtual Result<std::unique_ptr<GrammarState>> compile(const GrammarSource& source) const = 0;
};

}  // namespace mlxd
