#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace mlxd {

// A request's stop strings, as the engine and a StopMatcher take them.
struct Stops {
  std::vector<int> ids;              // special tokens whose whole text is a stop string
  std::vector<std::string> strings;  // as a StopMatcher takes them
};

// A special token is no part of an answer's text, so a stop string that is the text of one stops at
// the token, and one that holds it ("\n<|user|>") at the text around the token. Each also stops
// where a model writes it out letter by letter.
Stops read_stops(const Tokenizer& tokenizer, const std::vector<std::string>& stops);

// One of Stops::strings as the request has it.
std::string stop_as_sent(const Tokenizer& tokenizer, std::string stop);

}  // namespace mlxd
