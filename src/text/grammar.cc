#include "text/grammar.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "text/textkit_string.h"

namespace mlxd {
namespace {

struct FreeGrammars {
  void operator()(textkit_grammars* grammars) const { textkit_grammars_free(grammars); }
};
struct FreeConstraint {
  void operator()(textkit_constraint* constraint) const { textkit_constraint_free(constraint); }
};

[[noreturn]] void fail(const TextkitText& error) {
  throw std::runtime_error(fmt::format("the grammar cannot be followed: {}", error.str()));
}

class CompiledState final : public GrammarState {
 public:
  explicit CompiledState(textkit_constraint* constraint) : constraint_(constraint) {}

  void fill(std::span<std::uint32_t> allowed) override {
    TextkitText error;
    if (!textkit_constraint_allowed(constraint_.get(), allowed.data(), allowed.size(),
                                    error.out())) {
      fail(error);
    }
  }
  void add_forced(std::size_t most, std::vector<int>& tokens) override {
    std::array<std::uint32_t, 64> forced;
    std::size_t count = 0;
    TextkitText error;
    if (!textkit_constraint_forced(constraint_.get(), forced.data(), std::min(most, forced.size()),
                                   &count, error.out())) {
      fail(error);
    }
    tokens.insert(tokens.end(), forced.begin(), forced.begin() + static_cast<long>(count));
  }
  bool accept(int token) override {
    TextkitText error;
    const textkit_outcome outcome = textkit_constraint_accept(
        constraint_.get(), static_cast<std::uint32_t>(token), error.out());
    if (outcome == TEXTKIT_FAULT) fail(error);
    return outcome == TEXTKIT_DONE;
  }
  int accept_text(std::string_view text) override {
    TextkitText error;
    std::size_t tokens = 0;
    const textkit_outcome outcome = textkit_constraint_accept_text(
        constraint_.get(), textkit_view{text.data(), text.size()}, &tokens, error.out());
    if (outcome == TEXTKIT_FAULT) fail(error);
    return outcome == TEXTKIT_DONE ? static_cast<int>(tokens) : -1;
  }
  void roll_back(int tokens) override {
    TextkitText error;
    if (!textkit_constraint_roll_back(constraint_.get(), static_cast<std::size_t>(tokens),
                                      error.out())) {
      fail(error);
    }
  }
  bool is_over() const override { return textkit_constraint_is_over(constraint_.get()); }
  std::unique_ptr<GrammarState> fork_for_sample() const override { return fork(true); }
  std::unique_ptr<GrammarState> fork_for_request() const override { return fork(false); }

 private:
  std::unique_ptr<GrammarState> fork(bool same_request) const {
    TextkitText error;
    textkit_constraint* copy =
        textkit_constraint_fork(constraint_.get(), same_request, error.out());
    if (copy == nullptr) fail(error);
    return std::make_unique<CompiledState>(copy);
  }

  const std::unique_ptr<textkit_constraint, FreeConstraint> constraint_;
};

textkit_grammar_kind kind_of(const GrammarSource& source) {
  switch (source.kind) {
    case GrammarSource::Kind::json_schema:
      return TEXTKIT_JSON_SCHEMA;
    case GrammarSource::Kind::json_object:
      return TEXTKIT_JSON_OBJECT;
    case GrammarSource::Kind::regex:
      return TEXTKIT_REGEX;
    case GrammarSource::Kind::choice:
      return TEXTKIT_CHOICE;
    case GrammarSource::Kind::calls:
      return TEXTKIT_CALLS;
    case GrammarSource::Kind::grammar:
      break;
  }
  return TEXTKIT_GRAMMAR;
}

std::string_view noun_of(const GrammarSource& source) {
  switch (source.kind) {
    case GrammarSource::Kind::json_schema:
    case GrammarSource::Kind::json_object:
      return "JSON schema";
    case GrammarSource::Kind::regex:
      return "regular expression";
    case GrammarSource::Kind::choice:
      return "list of choices";
    case GrammarSource::Kind::calls:
      return "JSON schema";
    case GrammarSource::Kind::grammar:
      break;
  }
  return "grammar";
}

class LoadedCompiler final : public GrammarCompiler {
 public:
  explicit LoadedCompiler(textkit_grammars* grammars) : grammars_(grammars) {}

  Result<std::unique_ptr<GrammarState>> compile(const GrammarSource& source) const override {
    TextkitText error;
    textkit_constraint* constraint =
        textkit_constraint_new(grammars_.get(), kind_of(source), view_of(source.text), error.out());
    if (constraint == nullptr) {
      return Error{
          .code = "invalid_grammar",
          .param = {},
          .message = fmt::format("The {} cannot be used: {}.", noun_of(source), error.str())};
    }
    return std::unique_ptr<GrammarState>(std::make_unique<CompiledState>(constraint));
  }

 private:
  const std::unique_ptr<textkit_grammars, FreeGrammars> grammars_;
};

}  // namespace

Result<std::unique_ptr<const GrammarCompiler>> GrammarCompiler::load(const Tokenizer& tokenizer,
                                                                     int rows,
                                                                     std::span<const int> ends) {
  const std::vector<std::uint32_t> ids(ends.begin(), ends.end());
  TextkitText error;
  check(tokenizer.handle() != nullptr, "grammars are made for textkit's own tokenisers");
  textkit_grammars* grammars = textkit_grammars_new(
      tokenizer.handle(), static_cast<std::uint32_t>(rows), ids.data(), ids.size(), error.out());
  if (grammars == nullptr) {
    return Error{.status = 500,
                 .code = "internal_error",
                 .param = {},
                 .message = fmt::format("This model's answers cannot be held to a grammar: {}.",
                                        error.str())};
  }
  return std::unique_ptr<const GrammarCompiler>(std::make_unique<LoadedCompiler>(grammars));
}

}  // namespace mlxd
