#include "backend/cpu/huge_pages.h"

#include <algorithm>
#include <mutex>
#include <new>

#include <sys/mman.h>

namespace mlxd::cpu {
namespace {

constexpr std::size_t kPage = std::size_t{2} << 20;
constexpr std::size_t kChunk = std::size_t{32} << 20;
constexpr std::size_t kAlignment = 64;

constexpr std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

// One mapping whose usable part begins at a 2 MiB boundary.
class Chunk {
 public:
  explicit Chunk(std::size_t bytes) : size_(round_up(bytes, kPage)), mapped_(size_ + kPage) {
    base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    begin_ =
        reinterpret_cast<std::uint8_t*>(round_up(reinterpret_cast<std::uintptr_t>(base_), kPage));
#ifdef MADV_HUGEPAGE
    madvise(begin_, size_, MADV_HUGEPAGE);  // a refusal costs speed only
#endif
  }
  ~Chunk() { munmap(base_, mapped_); }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  // Null when there is no room left.
  std::uint8_t* take(std::size_t bytes) {
    const std::size_t rounded = round_up(bytes, kAlignment);
    if (size_ - used_ < rounded) return nullptr;
    std::uint8_t* taken = begin_ + used_;
    used_ += rounded;
    return taken;
  }

 private:
  std::size_t size_, mapped_;
  std::size_t used_ = 0;
  void* base_;
  std::uint8_t* begin_;
};

// The chunk that small requests are served from; it lives as long as what was taken from it.
std::mutex open_chunk_mutex;
std::weak_ptr<Chunk> open_chunk;

}  // namespace

std::shared_ptr<std::uint8_t> allocate_huge(std::size_t bytes) {
  std::lock_guard lock(open_chunk_mutex);
  std::shared_ptr<Chunk> chunk = open_chunk.lock();
  std::uint8_t* taken = chunk ? chunk->take(bytes) : nullptr;
  if (!taken) {
    chunk = std::make_shared<Chunk>(std::max(bytes, kChunk));
    taken = chunk->take(bytes);
    open_chunk = chunk;
  }
  return {std::move(chunk), taken};
}

}  // namespace mlxd::cpu
