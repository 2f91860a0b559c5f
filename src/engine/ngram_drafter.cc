#include "engine/ngram_drafter.h"

#include <algorithm>

namespace mlxd {

// Tokens that are not known are guessed as well: where such a guess is wrong, so is the draft.
void NgramDrafter::propose(std::span<const DraftAsk> asks) {
  for (const DraftAsk& ask : asks) {
    std::vector<int>& draft = *ask.draft;
    indexes_[ask.sequence].propose(ask.tokens, ask.unknown + ask.most, draft);
    draft.erase(draft.begin(), draft.begin() + std::min<std::ptrdiff_t>(ask.unknown, draft.size()));
  }
}

}  // namespace mlxd
