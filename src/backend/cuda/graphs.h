#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include <cuda_runtime_api.h>

namespace mlxd::cuda_backend {

// Launches that are recorded once and then repeated as a whole, for a fraction of the host's time.
// They name the buffers as they lay, so whoever moves a buffer clears them. Inference thread.
class Graphs {
 public:
  // What tells apart launches that are not the same: numbers, and where arrays lie.
  using Key = std::vector<std::size_t>;

  Graphs() = default;
  ~Graphs() { clear(); }
  Graphs(const Graphs&) = delete;
  Graphs& operator=(const Graphs&) = delete;

  void clear();
  // Does on the stream what `launch` does on it, which is called where that was not recorded yet.
  template <class Launch>
  void run(const Key& key, cudaStream_t stream, const Launch& launch) {
    const auto found = recorded_.find(key);
    if (found != recorded_.end()) return repeat(found->second, stream);
    begin(stream);
    try {
      launch();
    } catch (...) {
      abandon(stream);
      throw;
    }
    repeat(end(key, stream), stream);
  }

 private:
  static constexpr std::size_t kMost = 128;  // since each takes memory of the card

  static void begin(cudaStream_t stream);
  static void abandon(cudaStream_t stream);
  static void repeat(cudaGraphExec_t graph, cudaStream_t stream);
  cudaGraphExec_t end(const Key& key, cudaStream_t stream);

  std::map<Key, cudaGraphExec_t> recorded_;
};

}  // namespace mlxd::cuda_backend
