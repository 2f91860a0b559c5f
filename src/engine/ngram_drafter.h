#pragma once

#include <unordered_map>

#include "engine/drafter.h"
#include "engine/ngram_index.h"

namespace mlxd {

// Guesses from what each sequence has said before.
class NgramDrafter : public Drafter {
 public:
  void propose(std::span<const DraftAsk> asks) override;
  void forget(const Sequence& sequence) noexcept override { indexes_.erase(&sequence); }

 private:
  std::unordered_map<const Sequence*, NgramIndex> indexes_;
};

}  // namespace mlxd
