#include "backend/cpu/kernel_input.h"

#include <cstdlib>
#include <memory>
#include <new>

namespace mlxd::cpu {
namespace {

struct Free {
  void operator()(InputGroup* memory) const { std::free(memory); }
};

}  // namespace

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
