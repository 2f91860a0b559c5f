#include "engine/model_runner.h"

namespace mlxd {

void ModelRunner::draw(std::span<const Draw>) {
  throw std::logic_error("this backend draws no tokens");
}

void ModelRunner::export_block(int, int, std::span<std::byte>) const {
  throw std::logic_error("this backend's KV blocks cannot be exported");
}

void ModelRunner::import_block(int, int, std::span<const std::byte>) {
  throw std::logic_error("this backend's KV blocks cannot be imported");
}

void ModelRunner::export_state(int, std::size_t, std::span<std::byte>) const {
  throw std::logic_error("this backend's states cannot be exported");
}

void ModelRunner::import_state(int, std::size_t, std::span<const std::byte>) {
  throw std::logic_error("this backend's states cannot be imported");
}

}  // namespace mlxd
