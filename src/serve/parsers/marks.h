#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace mlxd {

// A control token has no text, so that nothing that a model spells out can be taken for it. Among
// text it stands as bytes that no text has: these, around its id.
inline constexpr char kTokenBegins = '\xFF', kTokenEnds = '\xFE';

inline std::string control_token(int id) { return kTokenBegins + std::to_string(id) + kTokenEnds; }

// How `marker` stands among text: as the control token that it is in this vocabulary, else as it is
// spelt.
inline std::string mark_of(const Tokenizer& tokenizer, std::string_view marker) {
  const int id = tokenizer.token_id(marker);
  return tokenizer.is_special(id) ? control_token(id) : std::string(marker);
}

}  // namespace mlxd
