#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backend/cuda/packed.h"
#include "model/tensor.h"

namespace mlxd::cuda_backend {

// Row `row` of a tensor as one of a packed matrix; no tensor: zeros.
struct SourceRow {
  const Tensor* tensor = nullptr;
  std::int64_t row = 0;
};

// How a tensor is packed for a model of these Elements, its own rows. Throws LoadError, with its
// name, for numbers that would not stay the same.
PackedShape packed_shape(const Tensor& tensor, Element element);

// A packing that both tensors' rows fit into; nothing for plain numbers beside codes.
std::optional<PackedShape> common_shape(const PackedShape& a, const PackedShape& b);

struct PackedMatrix {
  PackedShape shape;
  std::vector<std::byte> codes, scales;
};

// Packs these rows, on several threads. Throws LoadError, with the tensor's name, where a plain
// number is not the same as an Element.
PackedMatrix pack(std::span<const SourceRow> rows, const PackedShape& shape, Element element);

}  // namespace mlxd::cuda_backend
