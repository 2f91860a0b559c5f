#include "serve/text_offsets.h"

#include <algorithm>
#include <string>

#include "base/utf8.h"

namespace mlxd {

int count_characters(std::string_view utf8) {
  return static_cast<int>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::vector<int> prompt_offsets(std::string_view text, const std::vector<TokenDetail>& tokens,
                                const std::function<bool(int token)>& is_special) {
  std::vector<int> offsets;
  offsets.reserve(tokens.size());
  int characters = 0;
  std::string held;    // the begun character's bytes
  std::size_t at = 0;  // bytes of `text` that the tokens so far account for
  bool text_begun = false;
  for (const TokenDetail& token : tokens) {
    offsets.push_back(characters);
    std::string_view bytes = token.bytes;
    const std::string_view ahead = text.substr(std::min(at, text.size()));
    if (is_special(token.token) && !ahead.starts_with(bytes)) continue;
    if (!text_begun && !bytes.empty()) {
      text_begun = true;
      if (bytes.front() == ' ' && !text.empty() && text.front() != ' ') bytes.remove_prefix(1);
    }
    at += bytes.size();
    held += bytes;
    const std::size_t whole = complete_utf8_prefix(held);
    characters += count_characters(replace_invalid_utf8(held.substr(0, whole)));
    held.erase(0, whole);
  }
  return offsets;
}

}  // namespace mlxd
