#include "engine/block_mover.h"

#include <algorithm>
#include <exception>

#include <spdlog/spdlog.h>

#include "base/check.h"

namespace mlxd {

BlockMover::BlockMover(StoredPrefixes& prefixes, ModelRunner& runner, BlockManager& blocks,
                       PrefixCache& cache)
    : prefixes_(prefixes),
      store_(prefixes.store()),
      runner_(runner),
      blocks_(blocks),
      cache_(cache),
      places_(blocks.total()) {
  cache_.set_listener(this);
}

BlockMover::~BlockMover() { cache_.set_listener(nullptr); }

void BlockMover::enter_fetched() {
  for (const StoredBlocks& part : prefixes_.take()) {
    if (part.epoch == prefixes_.epoch()) enter(part);
  }
}

void BlockMover::enter(const StoredBlocks& part) {
  const int size = store_.format().block_size();
  const int end = part.first + static_cast<int>(part.files.size());
  const auto tokens = [&](int blocks) {
    return std::span(*part.prompt).first(static_cast<std::size_t>(blocks) * size);
  };
  BlockTable table;
  blocks_.adopt(table, cache_.find(part.salt, tokens(end)));  // or they would be evicted
  const int known = static_cast<int>(table.size());
  const int fresh = known < part.first ? 0 : std::min(end - known, blocks_.available());
  if (fresh > 0 && blocks_.allocate(table, fresh)) {
    try {
      for (int block = known; block < known + fresh; ++block) {
        const auto& file = part.files[block - part.first];
        runner_.import_block(table[block], store_.format().payload(file.bytes()));
      }
      cache_.enter(part.salt, tokens(known + fresh), table, known);
    } catch (const std::exception& exception) {
      spdlog::error("KV blocks read from disk were not taken: {}", exception.what());
    }
  }
  blocks_.release(table);
}

void BlockMover::on_enter(int block, int parent, std::uint64_t salt, std::span<const int> tokens) {
  const BlockFormat& format = store_.format();
  const Digest before = parent < 0 ? format.root(salt) : places_[parent].name.key;
  places_[block] = {{.key = format.key(before, tokens), .parent = before}, parent};
  prefixes_.add_resident(places_[block].name.key);
  offer(block);
}

void BlockMover::on_evict(int block) { prefixes_.remove_resident(places_[block].name.key); }

void BlockMover::on_forget(int block) {
  prefixes_.begin_epoch();
  prefixes_.remove_resident(places_[block].name.key);
  store_.forget(places_[block].name.key);
}

// A block is of no use on disk without those before it, so these are offered again where they were
// dropped.
void BlockMover::offer(int block) {
  if (store_.has(places_[block].name.key) || !store_.has_room()) return;
  missing_.clear();
  for (; block >= 0 && !store_.has(places_[block].name.key); block = places_[block].parent) {
    missing_.push_back(block);
  }
  while (!missing_.empty() && offer_one(missing_.back())) missing_.pop_back();
}

bool BlockMover::offer_one(int block) {
  const Place& place = places_[block];
  try {
    return store_.offer(place.name, place.parent < 0, cache_.tokens_of(block),
                        [&](std::span<std::byte> out) { runner_.export_block(block, out); });
  } catch (const std::exception& exception) {
    spdlog::error("a KV block was not put on disk: {}", exception.what());
  }
  return false;
}

void BlockMover::check_integrity() const {
  check(prefixes_.resident() == static_cast<std::size_t>(cache_.size()),
        "what is known to be in memory is what is in the prefix cache");
}

}  // namespace mlxd
