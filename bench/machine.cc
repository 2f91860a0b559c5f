#include "machine.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <memory>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "backend/cpu/huge_pages.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mlxd::cpu {
namespace {

constexpr int kPeakRuns = 12;

double thread_seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double best_of(int runs, int threads, const std::function<void(int)>& work) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) best = std::min(best, seconds_of(threads, work));
  return best;
}

double measure_read_bandwidth(int threads) {
  const std::shared_ptr<std::uint8_t> memory = allocate_huge(kStreamBytes);
  std::memset(memory.get(), 1, kStreamBytes);
  std::atomic<std::uint64_t> sink{0};
  const std::size_t share = kStreamBytes / static_cast<std::size_t>(threads);
  const double seconds = best_of(kPeakRuns, threads, [&](int index) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(
        memory.get() + static_cast<std::size_t>(index) * share);
    std::uint64_t sums[8] = {};
    for (std::size_t i = 0; i < share / 8; i += 8) {
      for (int k = 0; k < 8; ++k) sums[k] ^= words[i + static_cast<std::size_t>(k)];
      __builtin_prefetch(words + i + 512);
    }
    for (const std::uint64_t sum : sums) sink += sum;
  });
  benchmark::DoNotOptimize(sink.load());
  return static_cast<double>(share * static_cast<std::size_t>(threads)) / seconds;
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512vnni"))) void dot_products(long count) {
  __m512i sums[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) sums[i] = _mm512_setzero_si512();
  const __m512i ones = _mm512_set1_epi8(1);
  for (long n = 0; n < count; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      sums[i] = _mm512_dpbusd_epi32(sums[i], ones, ones);
      asm volatile("" : "+v"(sums[i]));  // or the compiler would fold the loop
    }
  }
}

__attribute__((target("avx512f"))) void multiply_adds(long count) {
  __m512 sums[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) sums[i] = _mm512_setzero_ps();
  const __m512 half = _mm512_set1_ps(0.5f);
  for (long n = 0; n < count; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      sums[i] = _mm512_fmadd_ps(sums[i], half, half);
      asm volatile("" : "+v"(sums[i]));
    }
  }
}
#endif

// Of 16 instructions a turn, each of so many operations.
double measure_operations(int threads, void (*turns)(long), double operations) {
  constexpr long kCount = 100'000;
  const double seconds = best_of(4 * kPeakRuns, threads, [turns](int) { turns(kCount); });
  return threads * kCount * 16 * operations / seconds;
}

}  // namespace

double seconds_of(int threads, const std::function<void(int)>& work) {
  std::atomic<int> ready{0};
  std::vector<double> seconds(static_cast<std::size_t>(threads));
  const auto take_part = [&](int index) {
    ready.fetch_add(1);
    while (ready.load() < threads) {
    }
    const double start = thread_seconds();
    work(index);
    seconds[static_cast<std::size_t>(index)] = thread_seconds() - start;
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(take_part, i);
  take_part(0);
  for (std::thread& thread : others) thread.join();
  return *std::max_element(seconds.begin(), seconds.end());
}

Machine measure_machine(const Kernels* kernels, int threads) {
  Machine machine{.kernels = kernels, .threads = threads};
  machine.read_bytes_per_second = measure_read_bandwidth(threads);
#if defined(__x86_64__)
  if (kernels->name == "avx512_vnni" || kernels->prompts != nullptr) {
    machine.int8_operations_per_second = measure_operations(threads, dot_products, 128);
    machine.float_operations_per_second = measure_operations(threads, multiply_adds, 32);
  }
#endif
  return machine;
}

}  // namespace mlxd::cpu
