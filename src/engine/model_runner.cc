#include "engine/model_runner.h"

#include <stdexcept>

namespace mlxd {

void ModelRunner::export_block(int, std::span<std::byte>) const {
  throw std::logic_error("this backend's KV blocks cannot be exported");
}

void ModelRunner::import_block(int, std::span<const std::byte>) {
  throw std::logic_error("this backend's KV blocks cannot be imported");
}

}  // namespace mlxd
