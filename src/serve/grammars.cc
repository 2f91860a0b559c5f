#include "serve/grammars.h"

#include <algorithm>
#include <utility>

namespace mlxd {
namespace {

class GrammarConstraint final : public TokenConstraint {
 public:
  explicit GrammarConstraint(std::unique_ptr<GrammarState> state) : state_(std::move(state)) {}

  bool fill(std::span<std::uint32_t> allowed) override {
    state_->fill(allowed);
    return true;
  }
  void add_forced(std::size_t most, std::vector<int>& tokens) override {
    state_->add_forced(most, tokens);
  }
  bool accept(int token) override { return state_->accept(token); }
  void rollback(int tokens) override { state_->roll_back(tokens); }
  bool terminated() const override { return state_->is_over(); }
  std::unique_ptr<TokenConstraint> fork() const override {
    return std::make_unique<GrammarConstraint>(state_->fork_for_sample());
  }

 private:
  const std::unique_ptr<GrammarState> state_;
};

}  // namespace

Result<std::unique_ptr<TokenConstraint>> Grammars::constraint(const GrammarSource& source,
                                                              std::uint64_t salt) {
  auto own = state(source, salt);
  if (!own) return own.error();
  return std::unique_ptr<TokenConstraint>(std::make_unique<GrammarConstraint>(*std::move(own)));
}

Result<std::unique_ptr<GrammarState>> Grammars::state(const GrammarSource& source,
                                                      std::uint64_t salt) {
  if (const State known = find(source, salt)) return known->fork_for_request();
  const auto compiled = compile(source, salt);
  if (!compiled) return compiled.error();
  return (*compiled)->fork_for_request();
}

std::size_t Grammars::compiled() const {
  const std::lock_guard lock(mutex_);
  return compiled_;
}

Grammars::State Grammars::find(const GrammarSource& source, std::uint64_t salt) {
  const std::lock_guard lock(mutex_);
  const auto known = std::ranges::find_if(
      kept_, [&](const Kept& kept) { return kept.salt == salt && kept.source == source; });
  if (known == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, known);
  return kept_.front().state;
}

Result<const GrammarCompiler*> Grammars::compiler() {
  const std::lock_guard lock(loading_);
  if (!compiler_) {
    auto loaded = GrammarCompiler::load(*tokenizer_, rows_, ends_);
    if (!loaded) return loaded.error();
    compiler_ = *std::move(loaded);
  }
  return compiler_.get();
}

// Without a lock: who finds what is kept does not wait for it.
Result<Grammars::State> Grammars::compile(const GrammarSource& source, std::uint64_t salt) {
  const auto with = compiler();
  if (!with) return with.error();
  auto compiled = (*with)->compile(source);
  if (!compiled) return compiled.error();
  State state(*std::move(compiled));
  const std::lock_guard lock(mutex_);
  ++compiled_;
  keep({source, salt, state});
  return state;
}

// The newest stays, however large it is.
void Grammars::keep(Kept kept) {
  kept_bytes_ += kept.source.text.size();
  kept_.push_front(std::move(kept));
  while (kept_bytes_ > kKeptBytes && kept_.size() > 1) {
    kept_bytes_ -= kept_.back().source.text.size();
    kept_.pop_back();
  }
}

}  // namespace mlxd
