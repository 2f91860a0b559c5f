#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>

namespace mlxd {

// Who may take how much of the memory that is set aside for models, written down before any of it
// is taken. Any thread; it outlives its reservations.
class MemoryBook {
 public:
  explicit MemoryBook(std::size_t bound) : bound_(bound) {}
  MemoryBook(const MemoryBook&) = delete;
  MemoryBook& operator=(const MemoryBook&) = delete;

  // Bytes that are somebody's until this is destroyed or assigned to.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept
        : book_(std::exchange(other.book_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation();

   private:
    friend class MemoryBook;
    Reservation(MemoryBook& book, std::size_t bytes) : book_(&book), bytes_(bytes) {}

    MemoryBook* book_ = nullptr;
    std::size_t bytes_ = 0;
  };

  // Nothing where less than `bytes` are free.
  std::optional<Reservation> reserve(std::size_t bytes);

  std::size_t bound() const { return bound_; }
  std::size_t reserved() const;

 private:
  const std::size_t bound_;
  mutable std::mutex mutex_;
  std::size_t reserved_ = 0;  // <= bound_; under the mutex
};

}  // namespace mlxd
