#include "text/detokenizer.h"

#include <utility>

#include "base/utf8.h"

namespace mlxd {

Detokenizer::Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, Begin begin)
    : tokenizer_(std::move(tokenizer)),
      strip_space_(begin == Begin::text && tokenizer_->strips_leading_space()) {}

std::string Detokenizer::push(int token) {
  std::string_view bytes = tokenizer_->shown_bytes(token, previous_);
  if (strip_space_ && !bytes.empty()) {
    strip_space_ = false;
    if (bytes.front() == ' ') bytes.remove_prefix(1);
  }
  held_ += bytes;
  std::size_t whole = complete_utf8_prefix(held_);
  // A space at the end goes out once something follows it.
  if (tokenizer_->strips_trailing_space() && whole == held_.size() && held_.ends_with(' ')) --whole;
  std::string text = replace_invalid_utf8(std::string_view(held_).substr(0, whole));
  held_.erase(0, whole);
  return text;
}

std::string Detokenizer::finish() {
  if (tokenizer_->strips_trailing_space() && held_.ends_with(' ')) held_.pop_back();
  return replace_invalid_utf8(std::exchange(held_, {}));
}

}  // namespace mlxd
