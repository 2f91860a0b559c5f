// The cpu backend's kernels against what the machine can do: matrix products in each format, for
// each number of input rows, in the shapes of SmolLM2-135M and Qwen2.5-1.5B, and attention
// (attention.cc). Every figure is that of the fastest pass, the one that was least disturbed.
//
//   bench_kernels [--threads=N] [--isa=NAME] [Google Benchmark's options]
#include "backend/cpu/kernels.h"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "attention.h"
#include "backend/cpu/huge_pages.h"
#include "backend/cpu/kernel_input.h"
#include "backend/cpu/prompt_kernels.h"
#include "machine.h"

namespace mlxd::cpu {
namespace {

Machine machine;

struct Format {
  const char* name;
  Quantization quantization;
};

struct Shape {
  const char* name;
  int rows;
  int columns;
};

// As many copies of one matrix as do not fit into cache, so that one input row streams from memory.
std::vector<std::unique_ptr<PackedMatrix>> make_matrices(const Format& format, const Shape& shape) {
  std::mt19937 random(1);
  std::vector<std::byte> bytes(static_cast<std::size_t>(shape.rows) *
                               row_bytes(format.quantization, shape.columns));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0x3b);  // no NaN
  // Scales that are 8-bit floats as models have them: the least would be subnormal.
  const std::size_t block_bytes =
      row_bytes(format.quantization, block_columns(format.quantization));
  for (std::size_t at = 0; at < bytes.size(); at += block_bytes) {
    if (format.quantization.encoding == Encoding::mxfp4) bytes[at] |= std::byte{0x40};
    if (format.quantization.encoding != Encoding::nvfp4) continue;
    for (std::size_t i = 0; i < 4; ++i) bytes[at + i] |= std::byte{0x10};
  }
  std::vector<std::byte> scales;
  Tensor tensor;
  tensor.quantization = format.quantization;
  tensor.rows = shape.rows;
  tensor.columns = shape.columns;
  tensor.data = bytes;
  if (format.quantization.encoding == Encoding::mlx_affine) {
    scales.resize(static_cast<std::size_t>(shape.rows) * 2 *
                  static_cast<std::size_t>(shape.columns / format.quantization.group_size));
    tensor.scales = tensor.biases = scales;
  }
  std::vector<std::unique_ptr<PackedMatrix>> matrices;
  std::size_t total = 0;
  while (total < kStreamBytes) {
    matrices.push_back(machine.kernels->pack(tensor));
    total += matrices.back()->bytes();
  }
  return matrices;
}

template <class T>
T* allocate(std::vector<std::shared_ptr<std::uint8_t>>& memory, std::size_t count) {
  memory.push_back(allocate_huge(count * sizeof(T)));
  return reinterpret_cast<T*>(memory.back().get());
}

// `prompts`: of rows of prompts, on the matrix unit.
void run(benchmark::State& state, const Format& format, const Shape& shape, int rows,
         bool prompts) {
  const auto matrices = make_matrices(format, shape);
  std::vector<std::shared_ptr<std::uint8_t>> memory;
  const std::size_t stride = static_cast<std::size_t>(shape.columns + 63) / 64 * 64;
  const auto row_count = static_cast<std::size_t>(rows);
  auto* values = allocate<float>(memory, row_count * stride);
  auto* quantized = allocate<std::int8_t>(memory, row_count * stride);
  auto* scales = allocate<float>(memory, row_count * stride);
  auto* sums = allocate<float>(memory, row_count * stride);
  auto* out = allocate<float>(memory, row_count * static_cast<std::size_t>(shape.rows));
  InputRows input{.rows = rows,
                  .columns = shape.columns,
                  .values = values,
                  .quantized = quantized,
                  .scales = scales,
                  .sums = sums};
  input.value_stride = input.quantized_stride = input.group_stride =
      static_cast<std::ptrdiff_t>(stride);
  std::fill_n(out, row_count * static_cast<std::size_t>(shape.rows), 0.0f);  // its pages are there
  std::mt19937 random(2);
  for (std::size_t row = 0; row < row_count; ++row) {
    float* from = values + row * stride;
    for (int c = 0; c < shape.columns; ++c) from[c] = static_cast<float>(random() % 255) - 127;
    machine.kernels->quantize(from, shape.columns, quantized + row * stride, scales + row * stride,
                              sums + row * stride);
  }

  const PromptKernels* const unit = machine.kernels->prompts;
  const std::size_t padded_rows = (row_count + kPromptRows - 1) / kPromptRows * kPromptRows;
  PromptInput prompt_input{.rows = rows, .columns = shape.columns};
  if (prompts) {
    auto* tiles =
        allocate<std::uint16_t>(memory, padded_rows * static_cast<std::size_t>(shape.columns));
    for (int row = 0; row < rows; ++row) {
      unit->round(values + static_cast<std::size_t>(row) * stride, shape.columns,
                  tiles + PromptInput::place(row, shape.columns));
    }
    prompt_input.tiles = tiles;
  }

  std::vector<PreparedInput> prepared(static_cast<std::size_t>(machine.threads));
  std::vector<std::unique_ptr<PromptScratch>> scratch(static_cast<std::size_t>(machine.threads));
  for (auto& of_thread : scratch) of_thread = std::make_unique<PromptScratch>();

  // A pass is long enough to time, and short enough to find a quiet moment for.
  const double operations = 2.0 * rows * shape.rows * shape.columns;
  const auto wanted = static_cast<std::size_t>(std::max(1.0, 1e9 / operations));
  const std::size_t count = std::min(matrices.size(), wanted);
  std::size_t next = 0;
  double best = 1e9;
  for (auto _ : state) {
    const std::size_t first = next;
    const double seconds = seconds_of(machine.threads, [&](int index) {
      for (std::size_t i = 0; i < count; ++i) {
        const PackedMatrix& matrix = *matrices[(first + i) % matrices.size()];
        const int begin = matrix.tiles() * index / machine.threads;
        const int end = matrix.tiles() * (index + 1) / machine.threads;
        if (prompts) {
          unit->multiply(matrix, prompt_input, begin, end, {out, shape.rows},
                         *scratch[static_cast<std::size_t>(index)]);
          continue;
        }
        machine.kernels->prepare(matrix, input, prepared[static_cast<std::size_t>(index)]);
        machine.kernels->multiply(matrix, prepared[static_cast<std::size_t>(index)], 0, rows, begin,
                                  end, out, shape.rows);
      }
    });
    next = (first + count) % matrices.size();
    best = std::min(best, seconds / static_cast<double>(count));
    state.SetIterationTime(seconds);
  }
  const double bytes = static_cast<double>(matrices[0]->bytes());
  state.counters["us"] = best * 1e6;
  state.counters["GB/s"] = bytes / best / 1e9;
  state.counters["of_read%"] = 100 * bytes / best / machine.read_bytes_per_second;
  state.counters["GOPS"] = operations / best / 1e9;
  if (machine.int8_operations_per_second > 0) {
    state.counters["of_dot%"] = 100 * operations / best / machine.int8_operations_per_second;
  }
}

void register_products() {
  static const Format kFormats[] = {
      {"Q4_0", {.encoding = Encoding::q4_0}},
      {"Q4_1", {.encoding = Encoding::q4_1}},
      {"Q4_K", {.encoding = Encoding::q4_k}},
      {"Q5_0", {.encoding = Encoding::q5_0}},
      {"Q5_K", {.encoding = Encoding::q5_k}},
      {"Q6_K", {.encoding = Encoding::q6_k}},
      {"Q8_0", {.encoding = Encoding::q8_0}},
      {"Q2_K", {.encoding = Encoding::q2_k}},
      {"Q3_K", {.encoding = Encoding::q3_k}},
      {"IQ4_NL", {.encoding = Encoding::iq4_nl}},
      {"IQ4_XS", {.encoding = Encoding::iq4_xs}},
      {"IQ3_XXS", {.encoding = Encoding::iq3_xxs}},
      {"IQ3_S", {.encoding = Encoding::iq3_s}},
      {"IQ2_XXS", {.encoding = Encoding::iq2_xxs}},
      {"IQ2_S", {.encoding = Encoding::iq2_s}},
      {"TQ2_0", {.encoding = Encoding::tq2_0}},
      {"Q1_0", {.encoding = Encoding::q1_0}},
      {"MXFP4", {.encoding = Encoding::mxfp4}},
      {"NVFP4", {.encoding = Encoding::nvfp4}},
      {"MLX4g64", {Encoding::mlx_affine, 4, 64, Encoding::f16}},
      {"MLX8g64", {Encoding::mlx_affine, 8, 64, Encoding::bf16}},
      {"BF16", {.encoding = Encoding::bf16}},
  };
  static const Shape kShapes[] = {{"smollm2_gate", 1536, 576},
                                  {"smollm2_down", 576, 1536},
                                  {"smollm2_head", 49152, 576},
                                  {"qwen_gate", 8960, 1536},
                                  {"qwen_down", 1536, 8960}};
  for (const Format& format : kFormats) {
    for (const Shape& shape : kShapes) {
      if (shape.columns % block_columns(format.quantization) != 0) continue;
      for (const int rows : {1, 4, 16, 512}) {
        const std::string name = fmt::format("{}/{}/{}", format.name, shape.name, rows);
        benchmark::RegisterBenchmark(name.c_str(),
                                     [&format, &shape, rows](benchmark::State& state) {
                                       run(state, format, shape, rows, /*prompts=*/false);
                                     })
            ->UseManualTime()
            ->MinTime(0.1);
      }
      if (machine.kernels->prompts == nullptr || format.quantization.encoding == Encoding::bf16) {
        continue;
      }
      for (const int rows : {1, 16, 64, 512}) {
        const std::string name = fmt::format("{}/{}/prompt_{}", format.name, shape.name, rows);
        benchmark::RegisterBenchmark(name.c_str(),
                                     [&format, &shape, rows](benchmark::State& state) {
                                       run(state, format, shape, rows, /*prompts=*/true);
                                     })
            ->UseManualTime()
            ->MinTime(0.1);
      }
    }
  }
}

// Takes `--name=value` out of the arguments; empty when it is not there.
std::string take_option(int& argc, char** argv, std::string_view name) {
  const std::string prefix = fmt::format("--{}=", name);
  for (int i = 1; i < argc; ++i) {
    if (!std::string_view(argv[i]).starts_with(prefix)) continue;
    const std::string value = argv[i] + prefix.size();
    std::copy(argv + i + 1, argv + argc, argv + i);
    --argc;
    return value;
  }
  return "";
}

int main(int argc, char** argv) {
  const std::string threads = take_option(argc, argv, "threads");
  const Kernels* kernels = find_kernels(take_option(argc, argv, "isa"));
  if (kernels == nullptr) {
    fmt::print(stderr, "this processor has no such instruction set\n");
    return 1;
  }
  machine = measure_machine(kernels, threads.empty() ? 1 : std::max(1, std::atoi(threads.c_str())));
  fmt::print(
      "{}, {} thread(s): reads {:.1f} GB/s, dot products {:.0f} GOPS, multiply-adds {:.0f} "
      "GFLOPS\n",
      kernels->name, machine.threads, machine.read_bytes_per_second / 1e9,
      machine.int8_operations_per_second / 1e9, machine.float_operations_per_second / 1e9);
  register_products();
  register_attention(machine);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace mlxd::cpu

int main(int argc, char** argv) { return mlxd::cpu::main(argc, argv); }
