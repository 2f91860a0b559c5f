#include "prefix_store/prefix_store.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace mlxd {
namespace {

// After a write that failed, on a full disk say: trying again at once would fail again.
constexpr std::chrono::seconds kRetryAfter{10};

int buffers_of(std::size_t bytes, std::size_t file_bytes) {
  constexpr std::size_t kFewest = 2;  // one is filled while the other is emptied
  constexpr std::size_t kMost = 4096;
  return static_cast<int>(std::clamp(bytes / file_bytes, kFewest, kMost));
}

const PrefixStoreOptions& checked(const PrefixStoreOptions& options) {
  checksum({});  // throws here, and not later, where there is none
  const BlockFormat format({}, options.block_size, options.block_bytes);
  if (options.max_bytes < format.file_bytes()) {
    throw std::runtime_error(
        fmt::format("a block takes {} bytes, which is more than the limit of {}",
                    format.file_bytes(), options.max_bytes));
  }
  return options;
}

}  // namespace

PrefixStore::PrefixStore(const PrefixStoreOptions& options)
    : max_bytes_(checked(options).max_bytes),
      last_writes_(options.last_writes),
      format_(sha256(std::as_bytes(std::span(options.identity))), options.block_size,
              options.block_bytes),
      folder_(options.directory, options.identity),
      write_buffers_(format_.file_bytes(),
                     buffers_of(options.write_buffer_bytes, format_.file_bytes())),
      read_buffers_(format_.file_bytes(),
                    buffers_of(options.read_buffer_bytes, format_.file_bytes())) {
  for (const BlockName& name : folder_.scan(format_.file_bytes())) {
    if (!index_.contains(name.key)) index_.insert(name);
  }
  writer_ = std::thread([this] { run(); });
}

PrefixStore::~PrefixStore() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    write_until_ = Clock::now() + last_writes_;
  }
  work_.notify_one();
  writer_.join();
}

bool PrefixStore::contains(const Digest& key) const {
  std::lock_guard lock(mutex_);
  return index_.contains(key);
}

bool PrefixStore::has(const Digest& key) const {
  std::lock_guard lock(mutex_);
  return index_.contains(key) || on_their_way_.contains(key);
}

bool PrefixStore::read(const BlockName& name, std::span<const int> tokens,
                       std::span<std::byte> file) {
  const StoreFolder::Outcome outcome = folder_.read(name, file);
  const bool good =
      outcome == StoreFolder::Outcome::whole && format_.holds(file, name.parent, tokens);
  std::lock_guard lock(mutex_);
  if (good) {
    ++stats_.read;
    return true;
  }
  if (outcome == StoreFolder::Outcome::failed) return false;
  if (outcome != StoreFolder::Outcome::missing && ++stats_.damaged == 1) {
    spdlog::warn(
        "{}: a block of the prefix cache is damaged, and is removed; metrics count further ones",
        folder_.path().string());
  }
  // The file goes with its entry, either of which may be newer than what was read.
  if (index_.erase(name.key)) {
    removals_.push_back(name);
    work_.notify_one();
  }
  return false;
}

void PrefixStore::note_use(const BlockName& name) {
  {
    std::lock_guard lock(mutex_);
    index_.use(name.key);
    touches_.push_back(name);
  }
  work_.notify_one();
}

bool PrefixStore::has_room() {
  std::lock_guard lock(mutex_);
  if (Clock::now() >= retry_at_ && write_buffers_.try_take()) return true;
  ++stats_.dropped;
  return false;
}

bool PrefixStore::offer(const BlockName& name, bool first, std::span<const int> tokens,
                        const std::function<void(std::span<std::byte>)>& fill) {
  Buffer file = write_buffers_.try_take();
  {
    std::lock_guard lock(mutex_);
    if (!file || full_behind_ == name.parent) {
      ++stats_.dropped;
      return false;
    }
  }
  format_.write_header(file.bytes(), name.parent, tokens);
  fill(format_.payload(file.bytes()));
  {
    std::lock_guard lock(mutex_);
    const auto [key, added] = on_their_way_.insert(name.key);
    try {
      writes_.push_back({name, first, std::move(file)});
    } catch (...) {
      on_their_way_.erase(key);
      throw;
    }
  }
  work_.notify_one();
  return true;
}

void PrefixStore::forget(const Digest& key) {
  std::lock_guard lock(mutex_);
  std::unordered_set<Digest, DigestHash> gone;
  const auto take_out = [&](const Digest& first) {
    gone.insert(first);
    for (const BlockName& name : index_.take_subtree(first)) {
      gone.insert(name.key);
      removals_.push_back(name);
    }
  };
  const auto is_gone = [&](const BlockName& name) {
    return gone.contains(name.key) || gone.contains(name.parent);
  };
  full_behind_.reset();
  take_out(key);
  if (writing_ && is_gone(*writing_)) {
    forgotten_while_writing_ = true;
    on_their_way_.erase(writing_->key);  // it may be offered again at once
    take_out(writing_->key);
  }
  std::erase_if(writes_, [&](const Write& write) {
    if (!is_gone(write.name)) return false;
    take_out(write.name.key);
    on_their_way_.erase(write.name.key);
    return true;
  });
  work_.notify_one();
}

PrefixStoreStats PrefixStore::stats() const {
  std::lock_guard lock(mutex_);
  PrefixStoreStats stats = stats_;
  stats.blocks = index_.size();
  stats.bytes = index_.size() * format_.file_bytes();
  stats.buffer_bytes = write_buffers_.held_bytes() + read_buffers_.held_bytes();
  return stats;
}

bool PrefixStore::idle() const {
  return writes_.empty() && removals_.empty() && touches_.empty() && !writing_ && !starting_;
}

void PrefixStore::flush() {
  Lock lock(mutex_);
  rested_.wait(lock, [this] { return idle(); });
}

void PrefixStore::run() {
  Lock lock(mutex_);
  attempt(lock, &PrefixStore::start);
  while (true) {
    if (idle()) rested_.notify_all();
    work_.wait(lock, [this] { return stopping_ || !idle(); });
    if (idle()) return;
    attempt(lock, &PrefixStore::go_on);
  }
}

// What fails, for want of memory say, costs blocks and never the process.
void PrefixStore::attempt(Lock& lock, void (PrefixStore::*work)(Lock&)) {
  try {
    (this->*work)(lock);
  } catch (const std::exception& exception) {
    if (!lock.owns_lock()) lock.lock();
    if (!std::exchange(has_failed_, true)) {
      spdlog::error("the prefix cache on disk has failed, and goes on: {}", exception.what());
    }
    if (writing_ && !forgotten_while_writing_) on_their_way_.erase(writing_->key);
    if (writing_) ++stats_.dropped;
    writing_.reset();
  }
  starting_ = false;
}

// The bound may have been lowered.
void PrefixStore::start(Lock& lock) { make_room(lock, 0, {}); }

// Removals first, so that a block that was forgotten and computed again stays.
void PrefixStore::go_on(Lock& lock) {
  if (!removals_.empty() || !touches_.empty()) {
    tidy(lock);
  } else if (Clock::now() < write_until_) {
    write_next(lock);
  } else {
    drop_writes();
  }
}

// One file, which stays noted until it is done.
void PrefixStore::tidy(Lock& lock) {
  const bool removes = !removals_.empty();
  const BlockName name = removes ? removals_.front() : touches_.front();
  lock.unlock();
  removes ? folder_.remove(name) : folder_.touch(name);
  lock.lock();
  (removes ? removals_ : touches_).pop_front();
}

void PrefixStore::write_next(Lock& lock) {
  const Write next = std::move(writes_.front());
  writes_.pop_front();
  writing_ = next.name;
  forgotten_while_writing_ = false;
  if (!leftovers_ && !stopping_) {
    lock.unlock();
    leftovers_.emplace(folder_.path().parent_path(), folder_.path().filename().string());
    lock.lock();
  }
  bool written = false;
  if (next.first || index_.contains(next.name.parent)) {
    if (make_room(lock, format_.file_bytes(), next.name.parent)) {
      lock.unlock();
      written = write(next);
      lock.lock();
    } else {
      full_behind_ = next.name.parent;
    }
  }
  if (!written) {
    ++stats_.dropped;
  } else if (forgotten_while_writing_) {
    removals_.push_back(next.name);
  } else {
    try {
      index_.insert(next.name);
    } catch (...) {  // no memory: what the index does not know must not take room
      folder_.remove(next.name);
      throw;
    }
    ++stats_.written;
    full_behind_.reset();
  }
  if (!forgotten_while_writing_) on_their_way_.erase(next.name.key);
  writing_.reset();
}

void PrefixStore::drop_writes() {
  spdlog::warn("the prefix cache's disk is slow: {} blocks were not written before the end",
               writes_.size());
  stats_.dropped += writes_.size();
  for (const Write& write : writes_) on_their_way_.erase(write.name.key);
  writes_.clear();
}

// False when only `needed` is left to go, which the bytes are to continue, and when there is no
// time for it.
bool PrefixStore::make_room(Lock& lock, std::uint64_t bytes, const Digest& needed) {
  const auto others = [this] { return leftovers_ ? leftovers_->bytes() : 0; };
  while (others() + index_.size() * format_.file_bytes() + bytes > max_bytes_) {
    if (Clock::now() >= write_until_) return false;
    if (others() > 0) {
      if (stopping_) return false;
      lock.unlock();
      leftovers_->remove_oldest();
      lock.lock();
      continue;
    }
    const auto oldest = index_.oldest_end(needed);
    if (!oldest) return false;
    index_.erase(oldest->key);
    lock.unlock();
    folder_.remove(*oldest);
    lock.lock();
  }
  return true;
}

bool PrefixStore::write(const Write& block) {
  try {
    format_.seal(block.file.bytes());
    folder_.write(block.name, block.file.bytes());
    return true;
  } catch (const std::exception& exception) {
    std::lock_guard lock(mutex_);
    const TimePoint now = Clock::now();
    // Once a while: a disk that stays full is no news.
    if (retry_at_ == TimePoint::min() || now - retry_at_ > 2 * kRetryAfter) {
      spdlog::warn("the prefix cache cannot be written to disk, and goes on in memory: {}",
                   exception.what());
    }
    retry_at_ = now + kRetryAfter;
  }
  return false;
}

}  // namespace mlxd
