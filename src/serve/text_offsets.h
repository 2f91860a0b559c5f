#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "serve/text_delta.h"

namespace mlxd {

// Code points, as OpenAI counts.
int count_characters(std::string_view utf8);

// Where each token of a prompt begins in the prompt's text. The text is the client's and the tokens
// are what the tokeniser made of it, so places are found by the tokens' bytes: a special token
// takes none where its bytes are not in the text, and the first token's leading space none where
// the text has none (SentencePiece).
std::vector<int> prompt_offsets(std::string_view text, const std::vector<TokenDetail>& tokens,
                                const std::function<bool(int token)>& is_special);

}  // namespace mlxd
