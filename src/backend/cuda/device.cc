#include "backend/cuda/device.h"

#include <new>
#include <stdexcept>

namespace mlxd::cuda_backend {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // so that it is not told again
  if (error == cudaErrorMemoryAllocation) throw std::bad_alloc();
  throw std::runtime_error(std::string("CUDA failed at ") + what + ": " +
                           cudaGetErrorString(error));
}

bool Buffer::reserve(std::size_t bytes) {
  if (bytes <= bytes_) return false;
  free();
  if (place_ == Place::card) {
    check(cudaMalloc(&data_, bytes), "taking memory");
    bytes_ = bytes;
    // Streams of ours do not wait for the one that this runs on.
    check(cudaMemset(data_, 0, bytes), "clearing memory");
    check(cudaStreamSynchronize(cudaStreamLegacy), "clearing memory");
  } else {
    check(cudaMallocHost(&data_, bytes), "taking pinned memory");
    bytes_ = bytes;
  }
  return true;
}

void Buffer::free() {
  if (place_ == Place::card) {
    cudaFree(data_);
  } else {
    cudaFreeHost(data_);
  }
  data_ = nullptr;
  bytes_ = 0;
}

Buffer upload(std::span<const std::byte> bytes) {
  Buffer buffer;
  if (bytes.empty()) return buffer;
  buffer.reserve(bytes.size());
  check(cudaMemcpy(buffer.as(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice),
        "copying weights");
  return buffer;
}

}  // namespace mlxd::cuda_backend
