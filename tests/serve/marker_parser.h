#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/answer_parser.h"

namespace mlxd::testing {

// A parser of a format made up for tests: <think>reasoning</think>, <call>name LF arguments</call>.
class MarkerParser final : public AnswerParser {
 public:
  static constexpr std::size_t kLongestMarker = 8;

  void add(int, std::string_view text, std::vector<ParsedText>& out) override {
    held_ += text;
    while (read_to_marker(out)) {
    }
    std::size_t kept = std::min(held_.size(), kLongestMarker - 1);
    while (kept > 0 && !may_begin_marker(std::string_view(held_).substr(held_.size() - kept))) {
      --kept;
    }
    say(held_.size() - kept, out);
  }
  void end(std::string_view text, std::vector<ParsedText>& out) override {
    add(-1, text, out);
    say(held_.size(), out);
  }

 private:
  struct Marker {
    std::string_view text;
    AnswerChannel then;
  };

  std::vector<Marker> markers() const {
    using enum AnswerChannel;
    switch (channel_) {
      case content:
        return {{"<think>", reasoning}, {"<call>", tool_name}};
      case reasoning:
        return {{"</think>", content}};
      case tool_name:
        return {{"\n", tool_arguments}, {"</call>", content}};
      case tool_arguments:
        break;
    }
    return {{"</call>", content}};
  }
  bool may_begin_marker(std::string_view text) const {
    return std::ranges::any_of(markers(),
                               [&](const Marker& m) { return m.text.starts_with(text); });
  }
  // Everything before the first marker, and that; false where there is none.
  bool read_to_marker(std::vector<ParsedText>& out) {
    Marker first{};
    std::size_t at = std::string::npos;
    for (const Marker& marker : markers()) {
      const std::size_t found = held_.find(marker.text);
      if (found >= at) continue;
      at = found;
      first = marker;
    }
    if (at == std::string::npos) return false;
    say(at, out);
    out.push_back({channel_, call(), "", first.text.size()});
    held_.erase(0, first.text.size());
    channel_ = first.then;
    if (channel_ == AnswerChannel::tool_name) ++calls_;
    return true;
  }
  void say(std::size_t bytes, std::vector<ParsedText>& out) {
    if (bytes > 0) out.push_back({channel_, call(), held_.substr(0, bytes), bytes});
    held_.erase(0, bytes);
  }
  int call() const {
    const bool in_call =
        channel_ == AnswerChannel::tool_name || channel_ == AnswerChannel::tool_arguments;
    return in_call ? calls_ - 1 : -1;
  }

  AnswerChannel channel_ = AnswerChannel::content;
  int calls_ = 0;
  std::string held_;
};

inline std::unique_ptr<AnswerParser> make_marker_parser(const AnswerContext& = {}) {
  return std::make_unique<MarkerParser>();
}

}  // namespace mlxd::testing
