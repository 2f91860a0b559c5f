#include "serve/after_reasoning.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

namespace mlxd {
namespace {

class AfterReasoning final : public TokenConstraint {
 public:
  AfterReasoning(std::unique_ptr<TokenConstraint> then, ReasoningTokens marks,
                 std::vector<int> ends, bool begun)
      : then_(std::move(then)), marks_(marks), ends_(std::move(ends)), begun_(begun) {}

  bool fill(std::span<std::uint32_t> allowed) override {
    if (reasons()) {
      std::ranges::fill(allowed, ~std::uint32_t{0});
      for (const int end : ends_) allowed[end / 32] &= ~(std::uint32_t{1} << end % 32);
      return true;
    }
    if (!then_->fill(allowed)) return false;
    if (may_begin()) allowed[marks_.begin / 32] |= std::uint32_t{1} << marks_.begin % 32;
    return true;
  }

  void add_forced(std::size_t most, std::vector<int>& tokens) override {
    if (!reasons() && !may_begin()) then_->add_forced(most, tokens);
  }

  bool accept(int token) override {
    if (reasons()) {
      if (std::ranges::count(ends_, token) > 0) return false;
      ++before_;
      ended_ = token == marks_.end;
      return true;
    }
    if (may_begin() && token == marks_.begin) {
      ++before_;
      return true;
    }
    if (!then_->accept(token)) return false;
    ++after_;
    return true;
  }

  void rollback(int tokens) override {
    const int of_then = std::min(tokens, after_);
    if (of_then > 0) then_->rollback(of_then);
    after_ -= of_then;
    if (tokens == of_then) return;
    before_ -= tokens - of_then;
    ended_ = false;  // the last token of the reasoning is its end mark
  }

  bool terminated() const override { return !reasons() && then_->terminated(); }

  std::unique_ptr<TokenConstraint> fork() const override {
    auto copy = std::make_unique<AfterReasoning>(then_->fork(), marks_, ends_, begun_);
    copy->before_ = before_;
    copy->after_ = after_;
    copy->ended_ = ended_;
    return copy;
  }

 private:
  bool reasons() const { return (begun_ || before_ > 0) && !ended_; }
  bool may_begin() const { return !begun_ && before_ == 0 && after_ == 0 && marks_.begin >= 0; }

  const std::unique_ptr<TokenConstraint> then_;
  const ReasoningTokens marks_;
  const std::vector<int> ends_;
  const bool begun_;
  int before_ = 0, after_ = 0;  // tokens accepted in the reasoning, its marks included, and after
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<TokenConstraint> after_reasoning(std::unique_ptr<TokenConstraint> then,
                                                 ReasoningTokens marks, std::vector<int> ends,
                                                 bool begun) {
  return std::make_unique<AfterReasoning>(std::move(then), marks, std::move(ends), begun);
}

}  // namespace mlxd
