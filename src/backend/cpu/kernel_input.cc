#include "backend/cpu/kernel_input.h"

#include <cstdlib>
#include <new>

namespace mlxd::cpu {

PreparedInput::~PreparedInput() { std::free(groups_); }

InputGroup* PreparedInput::begin(const InputRows& rows, bool quantized) {
  rows_ = rows;
  const std::size_t count = quantized ? static_cast<std::size_t>(rows.rows) *
                                            static_cast<std::size_t>(rows.columns / kGroupColumns)
                                      : 0;
  if (count > capacity_) {
    std::free(groups_);
    capacity_ = 0;
    const std::size_t bytes = (count * sizeof(InputGroup) + 63) / 64 * 64;
    groups_ = static_cast<InputGroup*>(std::aligned_alloc(64, bytes));
    if (!groups_) throw std::bad_alloc();
    capacity_ = count;
  }
  return groups_;
}

}  // namespace mlxd::cpu
