#include "serve/reasoning_budget.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"

namespace mlxd {
namespace {

class BoundedReasoning final : public TokenConstraint {
 public:
  BoundedReasoning(std::unique_ptr<TokenConstraint> then, ReasoningTokens marks, int budget,
                   bool begun)
      : then_(std::move(then)), marks_(marks), budget_(budget) {
    place_.reasons = begun;
  }

  bool fill(std::span<std::uint32_t> allowed) override {
    if (!is_spent()) return then_ && then_->fill(allowed);
    allowed[marks_.end / 32] |= std::uint32_t{1} << marks_.end % 32;
    return true;
  }

  void add_forced(std::size_t most, std::vector<int>& tokens) override {
    if (is_spent()) {
      if (most > 0) tokens.push_back(marks_.end);
    } else if (then_) {
      then_->add_forced(most, tokens);
    }
  }

  bool accept(int token) override {
    if (is_spent() && token != marks_.end) return false;
    if (then_ && !then_->accept(token)) return false;
    before_.push_back(place_);
    if (before_.size() > kMostTakenBack) before_.pop_front();
    if (place_.reasons) {
      place_.reasons = token != marks_.end;
      place_.spent += place_.reasons ? 1 : 0;
    } else {
      place_.reasons = token == marks_.begin;
    }
    return true;
  }

  void rollback(int tokens) override {
    check(static_cast<std::size_t>(tokens) <= before_.size(),
          "more tokens are taken back than are remembered");
    if (tokens == 0) return;
    if (then_) then_->rollback(tokens);
    place_ = before_[before_.size() - static_cast<std::size_t>(tokens)];
    before_.resize(before_.size() - static_cast<std::size_t>(tokens));
  }

  bool terminated() const override { return !is_spent() && then_ && then_->terminated(); }

  std::unique_ptr<TokenConstraint> fork() const override {
    auto copy =
        std::make_unique<BoundedReasoning>(then_ ? then_->fork() : nullptr, marks_, budget_, false);
    copy->place_ = place_;
    return copy;
  }

 private:
  // Tokens that can be taken back: drafts are shorter.
  static constexpr std::size_t kMostTakenBack = 256;

  // Where the answer stands between two tokens.
  struct Place {
    bool reasons = false;
    int spent = 0;
  };

  bool is_spent() const { return place_.reasons && place_.spent >= budget_; }

  const std::unique_ptr<TokenConstraint> then_;
  const ReasoningTokens marks_;
  const int budget_;
  Place place_;
  std::deque<Place> before_;  // the last tokens
};

}  // namespace

std::unique_ptr<TokenConstraint> reasoning_budget(std::unique_ptr<TokenConstraint> then,
                                                  ReasoningTokens marks, int budget, bool begun) {
  return std::make_unique<BoundedReasoning>(std::move(then), marks, budget, begun);
}

}  // namespace mlxd
