#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

namespace mlxd::cuda_backend {

// Throws std::runtime_error that says `what` failed and why; std::bad_alloc where memory is short.
void check(cudaError_t error, const char* what);

// Memory on the card, or pinned memory of the host. Inference thread.
class Buffer {
 public:
  enum class Place { card, host };
  explicit Buffer(Place place = Place::card) : place_(place) {}
  Buffer(std::size_t bytes, Place place) : place_(place) { reserve(bytes); }
  Buffer(Buffer&& other) noexcept
      : place_(other.place_),
        data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(place_, other.place_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer() { free(); }

  // At least so many; what it held is lost when it has to grow. True when it did. On the card it is
  // filled with zeros then.
  bool reserve(std::size_t bytes);
  void free();

  template <class T = void>
  T* as(std::size_t offset_bytes = 0) const {
    return static_cast<T*>(static_cast<void*>(static_cast<std::byte*>(data_) + offset_bytes));
  }
  std::size_t bytes() const { return bytes_; }

 private:
  Place place_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// A copy on the card; of nothing, null.
Buffer upload(std::span<const std::byte> bytes);

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }  // NOLINT: implicit, as the API wants it
  void wait() const { check(cudaStreamSynchronize(stream_), "a step"); }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace mlxd::cuda_backend
