#include "text/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace mlxd {
namespace {

std::vector<std::size_t> borders_of(const std::string& stop) {
  std::vector<std::size_t> border(stop.size(), 0);
  for (std::size_t i = 1, length = 0; i < stop.size(); ++i) {
    while (length > 0 && stop[i] != stop[length]) length = border[length - 1];
    if (stop[i] == stop[length]) ++length;
    border[i] = length;
  }
  return border;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    check(!stop.empty(), "a stop string is never empty");
    std::vector<std::size_t> border = borders_of(stop);
    patterns_.push_back({std::move(stop), std::move(border)});
  }
}

void StopMatcher::Pattern::advance(char c) {
  while (matched > 0 && stop[matched] != c) matched = border[matched - 1];
  if (stop[matched] == c) ++matched;
}

StopMatcher::Output StopMatcher::push(std::string_view piece) {
  if (patterns_.empty()) return {std::string(piece)};
  for (const char c : piece) {
    held_ += c;
    std::size_t completed = 0;
    for (Pattern& pattern : patterns_) {
      pattern.advance(c);
      if (pattern.matched == pattern.stop.size()) completed = std::max(completed, pattern.matched);
    }
    if (completed > 0) {
      held_.resize(held_.size() - completed);
      return {std::exchange(held_, {}), true};
    }
  }
  std::size_t kept = 0;
  for (const Pattern& pattern : patterns_) kept = std::max(kept, pattern.matched);
  const std::size_t sent = held_.size() - kept;
  Output output{held_.substr(0, sent)};
  held_.erase(0, sent);
  return output;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace mlxd
