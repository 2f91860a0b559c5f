#pragma once

#include <string>
#include <string_view>

#include "textkit.h"

namespace mlxd {

inline textkit_view view_of(std::string_view text) { return {text.data(), text.size()}; }

// A text that textkit made, given back at the end of the scope.
class TextkitText {
 public:
  TextkitText() = default;
  TextkitText(const TextkitText&) = delete;
  TextkitText& operator=(const TextkitText&) = delete;
  ~TextkitText() { textkit_text_free(text_); }

  textkit_text* out() { return &text_; }
  std::string str() const {
    return text_.size == 0 ? std::string() : std::string(text_.data, text_.size);
  }

 private:
  textkit_text text_{};
};

}  // namespace mlxd
