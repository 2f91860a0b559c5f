#include "engine/block_mover.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/check.h"

namespace mlxd {
namespace {

// Copied out at once, between two steps.
constexpr int kPiecesTogether = 16;

// The cache is in the midst of a change when it tells of it: nothing may cut that short.
template <class Work>
void safely(Work work) noexcept {
  try {
    work();
  } catch (const std::exception& exception) {
    spdlog::error("a KV block is not kept on disk as it should be: {}", exception.what());
  } catch (...) {
    spdlog::error("a KV block is not kept on disk as it should be");
  }
}

}  // namespace

BlockMover::BlockMover(StoredPrefixes& prefixes, ModelRunner& runner, BlockPools& blocks,
                       PrefixGroups& cache, StatePool* states)
    : prefixes_(prefixes),
      store_(prefixes.store()),
      runner_(runner),
      blocks_(blocks),
      cache_(cache),
      places_(blocks.pool(blocks.full_group()).total()),
      states_(states) {
  if (states != nullptr) outgoing_.reserve(states->total());
  cache_.set_listener(this);
}

BlockMover::~BlockMover() { cache_.set_listener(nullptr); }

void BlockMover::enter_fetched() {
  for (const StoredBlocks& part : prefixes_.take()) {
    const bool current = part.prompt->epoch == prefixes_.epoch();
    if (!current || !(part.piece < 0 ? enter(part) : enter_state(part))) {
      part.prompt->let_go = true;
    }
  }
}

// False when not all are in the cache now.
bool BlockMover::enter(const StoredBlocks& part) {
  const StoredPrompt& prompt = *part.prompt;
  const int size = store_.format().block_size();
  const int end = part.first + static_cast<int>(part.files.size());
  const auto tokens = [&](int blocks) {
    return std::span(prompt.tokens).first(static_cast<std::size_t>(blocks) * size);
  };
  BlockTables tables;
  blocks_.adopt(tables, cache_.find_blocks(prompt.salt, tokens(end)));  // or they would be evicted
  const int known = tables.size();
  int entered = known;
  const int fresh = known < part.first ? 0 : std::min(end - known, blocks_.room(tables));
  if (fresh > 0 && blocks_.allocate(tables, fresh)) {
    try {
      blocks_.cover(tables, (known + fresh) * size);
      for (int block = known; block < known + fresh; ++block) {
        const auto& file = part.files[block - part.first];
        import_blocks(tables, block, store_.format().payload(file.bytes()));
      }
      entered = cache_.enter(prompt.salt, tokens(known + fresh), tables, known);
    } catch (const std::exception& exception) {
      spdlog::error("KV blocks read from disk were not taken: {}", exception.what());
    }
  }
  blocks_.release(tables);
  return entered == end;
}

// False when it cannot become the state behind those blocks any more.
bool BlockMover::enter_state(const StoredBlocks& part) {
  if (part.piece == 0) {
    end_incoming();
    incoming_ = {part.prompt, states_ == nullptr ? -1 : states_->take(), 0};
  }
  if (incoming_.prompt != part.prompt || incoming_.slot < 0 || part.piece != incoming_.pieces) {
    return false;
  }
  const StoredStates& layout = prefixes_.states();
  try {
    for (const auto& file : part.files) {
      const int piece = incoming_.pieces++;
      runner_.import_state(incoming_.slot, layout.offset(piece),
                           store_.format().payload(file.bytes()).first(layout.bytes(piece)));
    }
  } catch (const std::exception& exception) {
    spdlog::error("a state read from disk was not taken: {}", exception.what());
    end_incoming();
    return false;
  }
  if (incoming_.pieces < layout.pieces()) return true;
  const std::size_t tokens = static_cast<std::size_t>(part.first) * store_.format().block_size();
  const BlockTables found =
      cache_.find_blocks(part.prompt->salt, std::span(part.prompt->tokens).first(tokens));
  if (found.size() == part.first) cache_.keep_state(found, part.first, incoming_.slot);
  end_incoming();
  return true;
}

void BlockMover::end_incoming() noexcept {
  if (incoming_.slot >= 0) states_->drop(incoming_.slot);
  incoming_ = {};
}

void BlockMover::go_on() {
  if (incoming_.prompt && incoming_.prompt.use_count() == 1) end_incoming();  // its reader gave up
  for (int i = 0; i < kPiecesTogether && !outgoing_.empty(); ++i) {
    const int block = outgoing_.front();
    bool offered = false;
    bool later = false;
    safely([&] {
      if (!places_[block].name || !store_.has(places_[block].name->key)) return;
      later = !store_.has_room();
      offered = !later && offer_piece(block, next_piece_);
    });
    if (later) return;
    if (offered && ++next_piece_ < prefixes_.states().pieces()) continue;
    drop_outgoing(block);
  }
}

// True when it is on disk now, or on its way there.
bool BlockMover::offer_piece(int block, int piece) {
  const StoredStates& layout = prefixes_.states();
  BlockName name = *places_[block].name;
  for (int i = 0; i <= piece; ++i) name = layout.piece(store_.format(), name.key, i);
  if (store_.has(name.key)) return true;
  return store_.offer(name, false, layout.tokens(piece), [&](std::span<std::byte> out) {
    const auto contents = out.first(layout.bytes(piece));
    runner_.export_state(cache_.state_at(block), layout.offset(piece), contents);
    std::ranges::fill(out.subspan(contents.size()), std::byte{0});
  });
}

void BlockMover::on_keep_state(int block) {
  Place& place = places_[block];
  if (!place.name) return;
  safely([&] {
    const Digest first = prefixes_.states().piece(store_.format(), place.name->key, 0).key;
    prefixes_.add_resident(first);
    place.state = first;
    ++resident_states_;
  });
}

void BlockMover::on_lasting_state(int block) {
  if (std::exchange(places_[block].state_leaves, true)) return;
  outgoing_.push_back(block);  // as many as there are slots at most
}

void BlockMover::on_lose_state(int block) {
  drop_outgoing(block);
  if (const auto first = std::exchange(places_[block].state, std::nullopt)) {
    prefixes_.remove_resident(*first);
    --resident_states_;
  }
}

void BlockMover::drop_outgoing(int block) noexcept {
  if (!std::exchange(places_[block].state_leaves, false)) return;
  if (outgoing_.front() == block) next_piece_ = 0;
  std::erase(outgoing_, block);
}

void BlockMover::on_enter(int block, int parent, std::uint64_t salt, std::span<const int> words) {
  places_[block] = Place{.name = {}, .parent = parent, .state = {}};
  safely([&] { give_name(block, salt, words); });
  if (places_[block].name) {
    safely([&] { offer(block); });
  } else {
    ++nameless_;
  }
}

void BlockMover::give_name(int block, std::uint64_t salt, std::span<const int> words) {
  if (words.back() < 0) return;  // of an answer, which no prompt begins with: only memory has it
  const int parent = places_[block].parent;
  if (parent >= 0 && !places_[parent].name) return;
  const BlockFormat& format = store_.format();
  const Digest before = parent < 0 ? format.root(salt) : places_[parent].name->key;
  const Digest key = format.key(before, words);
  prefixes_.add_resident(key);
  places_[block].name = {.key = key, .parent = before};
}

void BlockMover::on_evict(int block) { take_name(block); }

void BlockMover::on_forget(int block) {
  if (const auto name = take_name(block)) {
    safely([&] { store_.forget(name->key); });
  }
  // After that: whoever begins to read in the new epoch does not find it.
  prefixes_.begin_epoch();
}

// It leaves the cache.
std::optional<BlockName> BlockMover::take_name(int block) {
  const auto name = std::exchange(places_[block], {}).name;
  if (name) {
    prefixes_.remove_resident(name->key);
  } else {
    --nameless_;
  }
  return name;
}

// A block is of no use on disk without those before it, so these are offered again where they were
// dropped.
void BlockMover::offer(int block) {
  if (store_.has(places_[block].name->key) || !store_.has_room()) return;
  missing_.clear();
  for (; block >= 0 && !store_.has(places_[block].name->key); block = places_[block].parent) {
    missing_.push_back(block);
  }
  while (!missing_.empty() && offer_one(missing_.back())) missing_.pop_back();
}

bool BlockMover::offer_one(int block) {
  if (!has_all_groups(block)) return false;
  const Place& place = places_[block];
  try {
    return store_.offer(*place.name, place.parent < 0, cache_.words_of(block),
                        [&](std::span<std::byte> out) { export_blocks(block, out); });
  } catch (const std::exception& exception) {
    spdlog::error("a KV block was not put on disk: {}", exception.what());
  }
  return false;
}

// What a window has let go of and nobody kept cannot be written any more.
bool BlockMover::has_all_groups(int block) const {
  for (int group = 0; group < blocks_.kv_groups(); ++group) {
    if (cache_.block_in(group, block) < 0) return false;
  }
  return true;
}

// What lies in a file: the block of each group, one after the other.
void BlockMover::import_blocks(const BlockTables& tables, int index,
                               std::span<const std::byte> contents) {
  for (int group = 0; group < blocks_.kv_groups(); ++group) {
    const std::size_t bytes = runner_.info().kv[group].block_bytes;
    runner_.import_block(group, tables.of(group)[index], contents.first(bytes));
    contents = contents.subspan(bytes);
  }
}

void BlockMover::export_blocks(int block, std::span<std::byte> contents) const {
  for (int group = 0; group < blocks_.kv_groups(); ++group) {
    const std::size_t bytes = runner_.info().kv[group].block_bytes;
    runner_.export_block(group, cache_.block_in(group, block), contents.first(bytes));
    contents = contents.subspan(bytes);
  }
}

void BlockMover::check_integrity() const {
  check(prefixes_.resident() - resident_states_ + nameless_ ==
            static_cast<std::size_t>(cache_.size()),
        "what is known to be in memory is what is in the prefix cache");
}

}  // namespace mlxd
