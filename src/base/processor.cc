#include "base/processor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <cstddef>

#include <sys/sysctl.h>
#include <sys/types.h>
#endif

namespace mlxd {
namespace {

#if defined(__x86_64__)
// Of the registers that the system keeps for a program: those of SSE and AVX, and of AVX-512.
constexpr unsigned kAvxState = 0x6, kAvx512State = 0xe6;

unsigned kept_state() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool has(unsigned bits, int bit) { return (bits >> bit & 1) != 0; }
#elif defined(__aarch64__) && defined(__APPLE__)
bool has(const char* feature) {
  int value = 0;
  std::size_t bytes = sizeof value;
  return sysctlbyname(feature, &value, &bytes, nullptr, 0) == 0 && value != 0;
}
#endif

ProcessorFeatures ask_processor() {
  ProcessorFeatures found;
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !has(c, 27)) return found;  // no xgetbv
  const unsigned state = kept_state();
  if ((state & kAvxState) != kAvxState || !has(c, 28)) return found;
  found.fma = has(c, 12);
  found.f16c = has(c, 29);
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return found;
  found.avx2 = has(b, 5);
  if ((state & kAvx512State) != kAvx512State) return found;
  found.avx512f = has(b, 16);
  found.avx512dq = has(b, 17);
  found.avx512bw = has(b, 30);
  found.avx512vl = has(b, 31);
  found.avx512vnni = has(c, 11);
  found.amx_bf16 = has(d, 22);
  found.amx_tile = has(d, 24);
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) found.avx512bf16 = has(a, 5);
#elif defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long kDotprod = 1ul << 20, kI8mm = 1ul << 13;  // asimddp, i8mm (asm/hwcap.h)
  found.dotprod = (getauxval(AT_HWCAP) & kDotprod) != 0;
  found.i8mm = (getauxval(AT_HWCAP2) & kI8mm) != 0;
#elif defined(__aarch64__) && defined(__APPLE__)
  found.dotprod = has("hw.optional.arm.FEAT_DotProd");
  found.i8mm = has("hw.optional.arm.FEAT_I8MM");
#endif
  return found;
}

}  // namespace

const ProcessorFeatures& processor_features() {
  static const ProcessorFeatures found = ask_processor();
  return found;
}

}  // namespace mlxd
