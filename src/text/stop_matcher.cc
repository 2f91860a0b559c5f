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

// Neither byte occurs in UTF-8.
constexpr char kSpecialBegins = '\xFF', kSpecialEnds = '\xFE';

std::vector<std::size_t> shown_bytes_of(const std::string& stop) {
  std::vector<std::size_t> shown = {0};
  bool special = false;
  for (const char c : stop) {
    special = special || c == kSpecialBegins;
    shown.push_back(shown.back() + (special ? 0 : 1));
    special = special && c != kSpecialEnds;
  }
  return shown;
}

}  // namespace

std::string StopMatcher::special(int id) {
  return kSpecialBegins + std::to_string(id) + kSpecialEnds;
}

std::string StopMatcher::with_texts(std::string stop,
                                    const std::function<std::string(int)>& text_of) {
  for (std::size_t begin = 0; (begin = stop.find(kSpecialBegins, begin)) != std::string::npos;) {
    const std::size_t end = stop.find(kSpecialEnds, begin);
    const std::string text = text_of(std::stoi(stop.substr(begin + 1, end - begin - 1)));
    stop.replace(begin, end + 1 - begin, text);
    begin += text.size();
  }
  return stop;
}

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    check(!stop.empty(), "a stop string is never empty");
    std::vector<std::size_t> border = borders_of(stop);
    std::vector<std::size_t> shown = shown_bytes_of(stop);
    patterns_.push_back({std::move(stop), std::move(border), std::move(shown)});
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
    bool completed = false;
    for (Pattern& pattern : patterns_) {
      pattern.advance(c);
      completed = completed || pattern.completed();
    }
    if (completed) break;
  }
  return release();
}

StopMatcher::Output StopMatcher::push_special(int id) {
  const std::string token = special(id);
  for (Pattern& pattern : patterns_) {
    if (!pattern.sees_specials()) continue;
    for (const char c : token) pattern.advance(c);
  }
  return release();
}

StopMatcher::Output StopMatcher::release() {
  const Pattern* longest = nullptr;  // of those that are completed
  std::size_t kept = 0;
  for (const Pattern& pattern : patterns_) {
    const bool longer = longest == nullptr || pattern.held() > longest->held();
    if (pattern.completed() && longer) longest = &pattern;
    kept = std::max(kept, pattern.held());
  }
  if (longest != nullptr) {
    held_.resize(held_.size() - longest->held());
    return {std::exchange(held_, {}), true, longest->stop};
  }
  Output output{held_.substr(0, held_.size() - kept)};
  held_.erase(0, held_.size() - kept);
  return output;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace mlxd
