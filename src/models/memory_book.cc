#include "models/memory_book.h"

namespace mlxd {

MemoryBook::Reservation& MemoryBook::Reservation::operator=(Reservation&& other) noexcept {
  // What was held goes with `old`.
  const Reservation old = std::move(*this);
  book_ = std::exchange(other.book_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

MemoryBook::Reservation::~Reservation() {
  if (book_ == nullptr) return;
  std::lock_guard lock(book_->mutex_);
  book_->reserved_ -= bytes_;
}

std::optional<MemoryBook::Reservation> MemoryBook::reserve(std::size_t bytes) {
  std::lock_guard lock(mutex_);
  if (bytes > bound_ - reserved_) return std::nullopt;
  reserved_ += bytes;
  return Reservation(*this, bytes);
}

std::size_t MemoryBook::reserved() const {
  std::lock_guard lock(mutex_);
  return reserved_;
}

}  // namespace mlxd
