#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxd {

// Finds the first of several stop strings in text that comes in pieces, and never lets out a piece
// that may yet turn out to be the beginning of one. First is the one that is completed first, and
// of several that end together the longest; so the outcome does not depend on where the pieces are
// cut. One sequence, one thread.
class StopMatcher {
 public:
  // None of `stops` may be empty. Where one means a special token rather than its text, it holds
  // special(id).
  explicit StopMatcher(std::vector<std::string> stops);

  // What stands for a special token in a stop string: bytes that no text has.
  static std::string special(int id);
  // `stop` with texts in place of these.
  static std::string with_texts(std::string stop, const std::function<std::string(int)>& text_of);

  struct Output {
    std::string text;      // may be sent now
    bool stopped = false;  // a stop string was completed; it and all behind it are gone
    std::string stop{};    // that one
  };
  // Takes time in proportion to the piece, however long and repetitive the stop strings are.
  Output push(std::string_view piece);
  // A special token came, which is no part of the text: stop strings without one do not see it.
  Output push_special(int id);
  // The text held back when the sequence ended by itself.
  std::string finish();

 private:
  // Knuth, Morris & Pratt (1977): how much of the stop string the text so far ends in.
  struct Pattern {
    std::string stop;
    std::vector<std::size_t> border;  // [i]: longest proper prefix of stop[0..i] that ends it too
    std::vector<std::size_t> shown;   // [n]: bytes of text in the first n of stop
    std::size_t matched = 0;

    void advance(char c);
    bool completed() const { return matched == stop.size(); }
    bool sees_specials() const { return shown.back() != stop.size(); }
    std::size_t held() const { return shown[matched]; }
  };
  // What may go out after patterns have advanced.
  Output release();

  std::vector<Pattern> patterns_;
  std::string held_;  // text alone
};

}  // namespace mlxd
