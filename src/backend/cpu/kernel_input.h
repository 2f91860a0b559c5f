#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels.h"

namespace mlxd::cpu {

// One group of one input row as the dot products read it.
struct InputGroup {
  std::int8_t quantized[kGroupColumns];
  float scale;
  float sum;
  // What an integer dot product over the group (bias[0]) or over its halves starts from: minus the
  // zero point times the sum of the quantised. Not set where the zero point is 0. For scales with
  // minima of halves (ScaleKind::k_half_scale_and_min) the sums of the halves, as floats.
  std::int32_t bias[2];
};
static_assert(sizeof(InputGroup) == 48);

// Rows interleaved by blocks, as many rows together as an inner kernel takes at once:
// [block][columns / 32][row of the block]. So what a kernel reads for a group lies together. Keeps
// its memory from use to use.
class PreparedInput {
 public:
  PreparedInput() = default;
  PreparedInput(const PreparedInput&) = delete;
  PreparedInput& operator=(const PreparedInput&) = delete;
  ~PreparedInput();

  const InputRows& rows() const { return rows_; }
  const InputGroup* groups() const { return groups_; }
  std::size_t bytes() const { return capacity_ * sizeof(InputGroup); }

  // Room for the groups of `rows`, 64-byte aligned; none where the products read plain floats.
  InputGroup* begin(const InputRows& rows, bool quantized);

 private:
  InputRows rows_;
  InputGroup* groups_ = nullptr;  // owned
  std::size_t capacity_ = 0;
};

}  // namespace mlxd::cpu
