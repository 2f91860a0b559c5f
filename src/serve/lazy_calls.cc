#include "serve/lazy_calls.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "serve/parsers/marks.h"

namespace mlxd {
namespace {

constexpr std::string_view kSpace = " \n\t\r";

// Text in which marks stand for their tokens. How many tokens of the grammar it took; -1: it does
// not fit, and some of it may have been taken.
int accept_marked(GrammarState& state, std::string_view text) {
  int taken = 0;
  while (!text.empty()) {
    if (text.front() == kTokenBegins) {
      const std::size_t end = text.find(kTokenEnds);
      if (!state.accept(std::stoi(std::string(text.substr(1, end - 1))))) return -1;
      ++taken;
      text.remove_prefix(end + 1);
      continue;
    }
    const std::string_view plain = text.substr(0, text.find(kTokenBegins));
    const int tokens = state.accept_text(plain);
    if (tokens < 0) return -1;
    taken += tokens;
    text.remove_prefix(plain.size());
  }
  return taken;
}

}  // namespace

LazyCalls::LazyCalls(std::shared_ptr<const Shared> shared, bool in_reasoning)
    : shared_(std::move(shared)) {
  place_.reasons = in_reasoning;
  for (const auto& opener : shared_->openers) longest_ = std::max(longest_, opener.text.size());
}

bool LazyCalls::fill(std::span<std::uint32_t> allowed) {
  if (!call_) return false;
  call_->fill(allowed);
  return true;
}

void LazyCalls::add_forced(std::size_t most, std::vector<int>& tokens) {
  if (call_) call_->add_forced(most, tokens);
}

bool LazyCalls::accept(int token) {
  if (call_) {
    if (!call_->accept(token)) return false;
    Step step{place_, 1, false, nullptr};
    if (call_->is_over()) step.ended = std::move(call_);
    steps_.push_back(std::move(step));
  } else {
    Step step{place_, 0, false, nullptr};
    if (place_.reasons) {
      place_.reasons = token != shared_->reasoning.end;
    } else if (token == shared_->reasoning.begin) {
      place_.reasons = true;
    } else {
      const std::size_t before = place_.tail.size();
      append(token);
      step.began = try_begin(before, step);
    }
    steps_.push_back(std::move(step));
  }
  if (steps_.size() > kMostTakenBack) steps_.pop_front();
  return true;
}

void LazyCalls::append(int token) {
  place_.tail += shared_->tokenizer->is_special(token)
                     ? control_token(token)
                     : std::string(shared_->tokenizer->token_bytes(token));
}

// Looks for an opener that ends in what came behind the first `before` bytes of the tail, which is
// then cut to what the next one may begin in.
bool LazyCalls::try_begin(std::size_t before, Step& step) {
  const std::string& tail = place_.tail;
  for (std::size_t end = before + 1; end <= tail.size(); ++end) {
    const std::string_view said = std::string_view(tail).substr(0, end);
    for (const auto& opener : shared_->openers) {
      if (opener.at_start && !place_.whole) continue;
      if (!said.ends_with(opener.text)) continue;
      const std::string_view front = said.substr(0, end - opener.text.size());
      const bool is_first =
          place_.whole && front.find_first_not_of(kSpace) == std::string_view::npos;
      if (opener.at_start && !is_first) continue;
      int taken = 0;
      auto call = begun_with(opener.means + tail.substr(end), taken);
      if (!call) continue;
      step.in_call = taken;
      place_.tail.clear();
      place_.whole = false;
      if (call->is_over()) {
        step.ended = std::move(call);
      } else {
        call_ = std::move(call);
      }
      return true;
    }
  }
  // All of it is kept while it may still be white space before an opener of the start.
  const bool is_space =
      place_.whole && tail.find_first_not_of(kSpace) == std::string::npos && tail.size() < 256;
  if (!is_space && tail.size() > longest_ + 64) {
    place_.tail.erase(0, tail.size() - longest_);
    place_.whole = false;
  }
  return false;
}

std::unique_ptr<GrammarState> LazyCalls::begun_with(const std::string& text, int& taken) const {
  auto call = shared_->calls->fork_for_sample();
  taken = accept_marked(*call, text);
  return taken < 0 ? nullptr : std::move(call);
}

void LazyCalls::rollback(int tokens) {
  for (; tokens > 0; --tokens) {
    check(!steps_.empty(), "more tokens are taken back than are remembered");
    Step step = std::move(steps_.back());
    steps_.pop_back();
    place_ = std::move(step.before);
    if (step.ended) call_ = std::move(step.ended);
    if (step.began) {
      call_.reset();
    } else if (call_ && step.in_call > 0) {
      call_->roll_back(step.in_call);
    }
  }
}

// Another sample begins where this one stands, and is not taken back behind that.
std::unique_ptr<TokenConstraint> LazyCalls::fork() const {
  auto copy = std::make_unique<LazyCalls>(shared_, place_.reasons);
  copy->place_ = place_;
  if (call_) copy->call_ = call_->fork_for_sample();
  return copy;
}

}  // namespace mlxd
