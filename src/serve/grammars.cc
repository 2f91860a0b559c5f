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

Result<std::unique_ptr<TokenConstraint>> Grammars::constraint(const GrammarSource& source) {
  auto own = state(source);
  if (!own) return own.error();
  return std::unique_ptr<TokenConstraint>(std::make_unique<GrammarConstraint>(*std::move(own)));
}

Result<std::unique_ptr<GrammarState>> Grammars::state(const GrammarSource& source) {
  auto known = find(source);
  if (!known) return known.error();
  return (*known)->fork_for_request();
}

std::size_t Grammars::compiled() const {
  const std::lock_guard lock(mutex_);
  return compiled_;
}

Result<std::shared_ptr<const GrammarState>> Grammars::find(const GrammarSource& source) {
  const std::lock_guard lock(mutex_);
  const auto known =
      std::ranges::find_if(kept_, [&](const Kept& kept) { return kept.source == source; });
  if (known != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, known);
    return kept_.front().state;
  }
  if (!compiler_) {
    auto loaded = GrammarCompiler::load(*tokenizer_, rows_, ends_);
    if (!loaded) return loaded.error();
    compiler_ = *std::move(loaded);
  }
  auto compiled = compiler_->compile(source);
  if (!compiled) return compiled.error();
  ++compiled_;
  keep({source, std::shared_ptr<const GrammarState>(*std::move(compiled))});
  return kept_.front().state;
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
