#include "backend/cpu/kernel_input.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace mlxd::cpu {
namespace {

std::int32_t sum_of(const std::int8_t* values, int count) {
  std::int32_t sum = 0;
  for (int i = 0; i < count; ++i) sum += values[i];
  return sum;
}

struct Free {
  void operator()(InputGroup* memory) const { std::free(memory); }
};

}  // namespace

void interleave(const InputRows& input, int first, int count, int zero_point, bool halves,
                InputGroup* out) {
  constexpr int kHalf = kGroupColumns / 2;
  const int groups = input.columns / kGroupColumns;
  for (int row = 0; row < count; ++row) {
    const std::int8_t* quantized = input.quantized + (first + row) * input.quantized_stride;
    const float* scales = input.scales + (first + row) * input.group_stride;
    const float* sums = input.sums + (first + row) * input.group_stride;
    for (int g = 0; g < groups; ++g, quantized += kGroupColumns) {
      InputGroup& to = out[g * count + row];
      std::memcpy(to.quantized, quantized, kGroupColumns);
      to.scale = scales[g];
      to.sum = sums[g];
      if (zero_point == 0) continue;  // the kernels of such a format read no bias
      const std::int32_t low = -zero_point * sum_of(quantized, kHalf);
      const std::int32_t high = -zero_point * sum_of(quantized + kHalf, kHalf);
      to.bias[0] = halves ? low : low + high;
      to.bias[1] = halves ? high : 0;
    }
  }
}

InputGroup* input_scratch(std::size_t groups) {
  thread_local std::unique_ptr<InputGroup, Free> memory;
  thread_local std::size_t capacity = 0;
  if (groups > capacity) {
    memory.reset();
    capacity = 0;
    const std::size_t bytes = (groups * sizeof(InputGroup) + 63) / 64 * 64;
    memory.reset(static_cast<InputGroup*>(std::aligned_alloc(64, bytes)));
    if (!memory) throw std::bad_alloc();
    capacity = groups;
  }
  return memory.get();
}

}  // namespace mlxd::cpu
