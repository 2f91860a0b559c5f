#include "serve/stops.h"

#include <utility>

#include "text/stop_matcher.h"

namespace mlxd {
namespace {

// A stop string beyond this is compared as text alone: tokenising it would cost what no client
// means it to.
constexpr std::size_t kMostTokenised = 4096;

}  // namespace

Stops read_stops(const Tokenizer& tokenizer, const std::vector<std::string>& stops) {
  Stops result{{}, stops};
  for (const std::string& stop : stops) {
    if (const int id = tokenizer.token_id(stop); tokenizer.is_special(id)) {
      result.ids.push_back(id);
      continue;
    }
    if (stop.size() > kMostTokenised) continue;
    const auto ids = tokenizer.encode(stop, false, true);
    if (!ids) continue;  // no valid text: no token's either
    std::string with_tokens;
    std::size_t from = 0;
    for (const int id : *ids) {
      if (!tokenizer.is_special(id)) continue;
      const std::string_view text = tokenizer.token_bytes(id, true);
      const std::size_t at = stop.find(text, from);
      if (text.empty() || at == std::string::npos) continue;
      with_tokens += stop.substr(from, at - from) + StopMatcher::special(id);
      from = at + text.size();
    }
    if (from > 0) result.strings.push_back(with_tokens + stop.substr(from));
  }
  return result;
}

std::string stop_as_sent(const Tokenizer& tokenizer, std::string stop) {
  return StopMatcher::with_texts(std::move(stop), [&tokenizer](int id) {
    return std::string(tokenizer.token_bytes(id, true));
  });
}

}  // namespace mlxd
