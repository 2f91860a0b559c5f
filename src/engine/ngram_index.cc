#include "engine/ngram_index.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace mlxd {
namespace {

constexpr int kSizes = NgramIndex::kLongest - NgramIndex::kShortest + 1;
constexpr int kLeastSlots = 256;

}  // namespace

void NgramIndex::propose(std::span<const int> tokens, int most, std::vector<int>& draft) {
  draft.clear();
  index(tokens);
  const int length = static_cast<int>(tokens.size());
  int end = 0;
  for (int size = std::min(kLongest, length); size >= kShortest && end == 0; --size) {
    end = find(tokens, tokens.last(size));
  }
  if (end == 0) return;
  // Where the occurrence reaches the sequence's own end, the draft goes on with itself: a loop.
  for (int i = 0; i < most; ++i) {
    draft.push_back(end + i < length ? tokens[end + i] : draft[end + i - length]);
  }
}

// An n-gram goes in once a token follows it, so the sequence's last ones do not find themselves.
void NgramIndex::index(std::span<const int> tokens) {
  const int length = static_cast<int>(tokens.size());
  if (static_cast<int>(ends_.size()) < std::min(length * kSizes, kMostSlots)) {
    const auto wanted = std::bit_ceil(static_cast<unsigned>(length * kSizes)) * 2;
    ends_.assign(std::clamp<std::size_t>(wanted, kLeastSlots, kMostSlots), 0);
    indexed_ = 0;
  }
  // Of a very long prompt, only what the table can hold: the end.
  indexed_ = std::max(indexed_, length - 1 - kMostSlots / kSizes);
  while (indexed_ < length - 1) {
    const int end = ++indexed_;
    for (int size = kShortest; size <= std::min(kLongest, end); ++size) {
      ends_[slot(tokens.subspan(end - size, size))] = end;
    }
  }
}

int NgramIndex::find(std::span<const int> tokens, std::span<const int> ngram) const {
  const int end = ends_[slot(ngram)];
  const int size = static_cast<int>(ngram.size());
  if (end < size) return 0;
  return std::ranges::equal(tokens.subspan(end - size, size), ngram) ? end : 0;
}

std::size_t NgramIndex::slot(std::span<const int> ngram) const {
  std::uint64_t hash = ngram.size();
  for (const int token : ngram) {
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 29;
  }
  return hash & (ends_.size() - 1);
}

}  // namespace mlxd
