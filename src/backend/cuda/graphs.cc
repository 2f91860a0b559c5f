#include "backend/cuda/graphs.h"

#include "backend/cuda/device.h"

namespace mlxd::cuda_backend {

void Graphs::clear() {
  for (const auto& [key, graph] : recorded_) cudaGraphExecDestroy(graph);
  recorded_.clear();
}

void Graphs::begin(cudaStream_t stream) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a step");
}

void Graphs::abandon(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream, &graph);
  if (graph) cudaGraphDestroy(graph);
}

void Graphs::repeat(cudaGraphExec_t graph, cudaStream_t stream) {
  check(cudaGraphLaunch(graph, stream), "launching a step");
}

cudaGraphExec_t Graphs::end(const Key& key, cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream, &graph), "recording a step");
  cudaGraphExec_t made = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&made, graph, 0);
  cudaGraphDestroy(graph);
  check(error, "making a graph of a step");
  if (recorded_.size() >= kMost) clear();
  recorded_.emplace(key, made);
  return made;
}

}  // namespace mlxd::cuda_backend
