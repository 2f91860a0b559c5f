#include "base/processor.h"

#include <gtest/gtest.h>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace mlxd {
namespace {

#if defined(__x86_64__)
TEST(Processor, HasWhatTheCompilersLibraryFinds) {
  const ProcessorFeatures& found = processor_features();
  EXPECT_EQ(found.avx2, __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(found.fma, __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(found.f16c, __builtin_cpu_supports("f16c") != 0);
  EXPECT_EQ(found.avx512f, __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(found.avx512bw, __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ(found.avx512vl, __builtin_cpu_supports("avx512vl") != 0);
  EXPECT_EQ(found.avx512dq, __builtin_cpu_supports("avx512dq") != 0);
  EXPECT_EQ(found.avx512vnni, __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(found.avx512bf16, __builtin_cpu_supports("avx512bf16") != 0);
  EXPECT_FALSE(found.dotprod || found.i8mm);
}
#elif defined(__aarch64__) && defined(__linux__)
TEST(Processor, HasWhatTheSystemTellsOfArm) {
  const ProcessorFeatures& found = processor_features();
  EXPECT_EQ(found.dotprod, (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0);
  EXPECT_EQ(found.i8mm, (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0);
  EXPECT_FALSE(found.avx2 || found.amx_tile);
}
#else
TEST(Processor, HasNothingOfX86Elsewhere) { EXPECT_FALSE(processor_features().avx2); }
#endif

}  // namespace
}  // namespace mlxd
