#include "backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/vector_ops.h"
#include "model/tensor.h"

namespace mlxd::cpu {
namespace {

std::vector<const VectorOps*> all_ops() {
  std::vector<const VectorOps*> ops;
  for (const char* name : {"portable", "avx2", "avx512_vnni", "neon"}) {
    if (find_kernels(name)) ops.push_back(&find_vector_ops(name));
  }
  return ops;
}

std::vector<float> random_floats(std::size_t count, float largest, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-largest, largest);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

TEST(VectorOps, GatesAgreeWithTheirDefinitions) {
  const std::vector<float> x = random_floats(4096, 30, 1), up = random_floats(4096, 2, 2);
  for (const VectorOps* ops : all_ops()) {
    std::vector<float> silu = x, gelu = x, clamped = x;
    const std::vector<float> wide_up = random_floats(4096, 30, 3);
    ops->clamped_gate(clamped.data(), wide_up.data(), 4096);
    ops->silu_gate(silu.data(), up.data(), 4096);
    ops->gelu_gate(gelu.data(), up.data(), 4096);
    for (int i = 0; i < 4096; ++i) {
      const double v = x[i];
      const double u = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
      const double tolerance = 1e-6 * std::max(1.0, std::abs(v));
      EXPECT_NEAR(silu[i], v / (1 + std::exp(-v)) * up[i], 2 * tolerance) << ops->name;
      EXPECT_NEAR(gelu[i], 0.5 * v * (1 + std::tanh(u)) * up[i], 2 * tolerance) << ops->name;
      const double g = std::min(v, 7.0), other = std::clamp(wide_up[i], -7.0f, 7.0f) + 1.0;
      EXPECT_NEAR(clamped[i], g / (1 + std::exp(-1.702 * g)) * other, 8e-6) << ops->name;
    }
  }
}

TEST(VectorOps, SoftcapAndAddTakeAnyCount) {
  for (const VectorOps* ops : all_ops()) {
    for (const int count : {1, 15, 16, 37, 64}) {
      const std::vector<float> values = random_floats(count + 1, 100, count);
      std::vector<float> capped = values, doubled = values;
      ops->softcap(capped.data(), 30, count);
      ops->add(doubled.data(), values.data(), count);
      for (int i = 0; i < count; ++i) {
        EXPECT_NEAR(capped[i], 30 * std::tanh(values[i] / 30.0), 1e-5) << ops->name;
        EXPECT_EQ(doubled[i], 2 * values[i]) << ops->name;
      }
      EXPECT_EQ(capped[count], values[count]) << ops->name;
      EXPECT_EQ(doubled[count], values[count]) << ops->name;
    }
  }
}

TEST(VectorOps, RmsNormDividesByTheRootOfTheMeanSquare) {
  for (const VectorOps* ops : all_ops()) {
    for (const int count : {16, 48, 576}) {
      const std::vector<float> x = random_floats(count, 5, 1), weight = random_floats(count, 2, 2);
      double squares = 0;
      for (const float value : x) squares += static_cast<double>(value) * value;
      std::vector<float> out(count);
      ops->rms_norm(x.data(), weight.data(), 1e-5f, count, out.data());
      for (int i = 0; i < count; ++i) {
        EXPECT_NEAR(out[i], x[i] / std::sqrt(squares / count + 1e-5) * weight[i], 1e-5)
            << ops->name;
      }
    }
  }
}

TEST(VectorOps, RotateTurnsHalvesOfAnyWidth) {
  for (const VectorOps* ops : all_ops()) {
    for (const int half : {4, 8, 16, 20, 64}) {
      const std::vector<float> before = random_floats(2 * half, 1, half);
      std::vector<float> x = before, cosines(half), sines(half);
      for (int i = 0; i < half; ++i) {
        cosines[i] = std::cos(0.1f * i);
        sines[i] = std::sin(0.1f * i);
      }
      ops->rotate(x.data(), cosines.data(), sines.data(), half);
      for (int i = 0; i < half; ++i) {
        const float a = before[i], b = before[i + half];
        EXPECT_NEAR(x[i], a * cosines[i] - b * sines[i], 1e-6) << ops->name;
        EXPECT_NEAR(x[i + half], a * sines[i] + b * cosines[i], 1e-6) << ops->name;
      }
    }
  }
}

template <class T>
std::uint8_t* bytes_of(std::vector<T>& values) {
  return reinterpret_cast<std::uint8_t*>(values.data());
}

TEST(VectorOps, TheCacheHoldsFiniteNumbersOnly) {
  std::vector<float> values(16, 1);
  values[3] = INFINITY;
  values[4] = -1e9f;
  values[5] = NAN;
  for (const VectorOps* ops : all_ops()) {
    std::vector<std::uint16_t> keys(16 * 16), rows(16 * 16);
    ops->half.store_key(values.data(), 16, bytes_of(keys), 2);
    ops->half.store_value(values.data(), 16, bytes_of(rows), 2);
    for (int i = 0; i < 16; ++i) {
      EXPECT_TRUE(std::isfinite(half_to_float(keys[i * 16 + 2]))) << ops->name;
      EXPECT_EQ(keys[i * 16 + 2], rows[2 * 16 + i]) << ops->name;
    }
    EXPECT_EQ(half_to_float(rows[2 * 16 + 3]), 65504);
    EXPECT_EQ(half_to_float(rows[2 * 16 + 4]), -65504);
    EXPECT_EQ(half_to_float(rows[2 * 16]), 1);
    std::vector<float> tile(16 * 16 / 4 + 16);  // 256 bytes of numbers and 16 scales
    ops->int8.store_key(values.data(), 16, bytes_of(tile), 2);
    EXPECT_EQ(tile[16 * 16 / 4 + 2], 65504.0f / 127) << ops->name;
    EXPECT_EQ(static_cast<std::int8_t>(bytes_of(tile)[3 * 16 + 2]), 127) << ops->name;
    EXPECT_EQ(static_cast<std::int8_t>(bytes_of(tile)[4 * 16 + 2]), -127) << ops->name;
  }
}

// One sequence whose keys and values lie in shuffled blocks, and queries for all its positions.
struct Context {
  Context(const AttentionShape& attention_shape, bool has_sinks, int length,
          const VectorOps& vector_ops, KvFormat format)
      : shape(attention_shape),
        sinks(has_sinks ? random_floats(attention_shape.heads, 6, 5) : std::vector<float>()),
        ops(vector_ops),
        cache({{.kv_heads = shape.kv_heads,
                .head_dim = shape.head_dim,
                .values_in_keys = shape.latent > 0}},
              16, format) {
    const int count = (length + 15) / 16;
    cache.resize(std::vector<int>{count});
    for (int i = 0; i < count; ++i) blocks.push_back(i);
    std::shuffle(blocks.begin(), blocks.end(), std::mt19937(1));
    const std::size_t columns = shape.kv_heads * static_cast<std::size_t>(shape.head_dim);
    keys = random_floats(length * columns, 1, 2);
    values = random_floats(length * columns, 1, 3);
    for (int p = 0; p < length; ++p) {
      for (int h = 0; h < shape.kv_heads; ++h) {
        const std::size_t at = p * columns + h * shape.head_dim;
        const KvOps& kv = ops.kv(format);
        std::uint8_t* const key_tile = cache.keys(0, blocks[p / 16], h, 0);
        if (shape.latent > 0) {
          kv.store_value(&keys[at], shape.head_dim, key_tile, p % 16);
          std::copy_n(&keys[at], shape.head_dim, &values[at]);
        } else {
          kv.store_key(&keys[at], shape.head_dim, key_tile, p % 16);
          kv.store_value(&values[at], shape.head_dim, cache.values(0, blocks[p / 16], h, 0),
                         p % 16);
        }
        round(&keys[at]);
        round(&values[at]);
      }
    }
    batch.sequences = {{0, length, length, blocks}};
    query.reserve(length, shape.heads * shape.head_dim);
    const auto numbers = random_floats(shape.heads * shape.head_dim * length, 0.7f, 4);
    for (int p = 0; p < length; ++p) {
      std::copy_n(&numbers[p * shape.heads * shape.head_dim], shape.heads * shape.head_dim,
                  query.row(p));
    }
  }

  // Attention of the rows at positions [first, end), planned for `workers`; [row][columns].
  std::vector<float> attend(int first, int end, int workers) {
    RowBuffer part;
    const int columns = shape.heads * shape.head_dim;
    part.reserve(end - first, columns);
    std::vector<int> positions;
    for (int p = first; p < end; ++p) {
      std::copy_n(query.row(p), columns, part.row(p - first));
      positions.push_back(p);
    }
    RowBuffer out;
    out.reserve(end - first, out_columns());
    AttentionWork work;
    const std::vector<QueryRows> queries = {{0, 0, end - first}};
    work.plan(shape, queries, positions, workers);
    split = work.folds() > 0;
    AttentionWork::Scratch scratch;
    const AttentionWork::Data data{.cache = &cache,
                                   .batch = &batch,
                                   .query = &part,
                                   .out = out.row(0),
                                   .row_stride = out.stride(),
                                   .head_stride = shape.value_dim(),
                                   .sinks = sinks};
    for (int i = work.tasks() - 1; i >= 0; --i) work.run(i, ops, data, scratch);
    for (int i = 0; i < work.folds(); ++i) work.fold(i, ops, data, scratch);
    std::vector<float> result;
    for (int row = 0; row < end - first; ++row) {
      result.insert(result.end(), out.row(row), out.row(row) + out_columns());
    }
    return result;
  }

  int out_columns() const { return shape.heads * shape.value_dim(); }

  double expected(int position, int head, int d) const {
    const int columns = shape.kv_heads * shape.head_dim;
    const int kv = head / shape.group() * shape.head_dim;
    const int first = shape.window == 0 ? 0 : std::max(0, position - shape.window + 1);
    double sum = sinks.empty() ? 0 : std::exp(static_cast<double>(sinks[head])), weighed = 0;
    for (int p = first; p <= position; ++p) {
      double score = 0;
      for (int i = 0; i < shape.head_dim; ++i) {
        score += static_cast<double>(query.row(position)[head * shape.head_dim + i]) *
                 keys[p * columns + kv + i];
      }
      if (shape.softcap != 0) score = shape.softcap * std::tanh(score / shape.softcap);
      sum += std::exp(score);
      weighed += std::exp(score) * values[p * columns + kv + d];
    }
    return weighed / sum;
  }

  // A head's numbers as the cache keeps them.
  void round(float* numbers) const {
    for (int first = 0; first < shape.head_dim; first += kKvGroup) {
      const int end = std::min(first + kKvGroup, shape.head_dim);
      float maximum = 0;
      for (int d = first; d < end; ++d) maximum = std::max(maximum, std::abs(numbers[d]));
      for (int d = first; d < end; ++d) {
        numbers[d] = cache.format() == KvFormat::f16
                         ? half_to_float(float_to_half(numbers[d]))
                         : std::nearbyint(numbers[d] * (127 / maximum)) * (maximum / 127);
      }
    }
  }

  AttentionShape shape;
  std::vector<float> sinks;
  const VectorOps& ops;
  KvCache cache;
  std::vector<int> blocks;
  std::vector<float> keys, values;
  RowBuffer query;
  Batch batch;
  bool split = false;
};

const AttentionShape kShapes[] = {
    {9, 3, 64, 0, 0},       {12, 2, 128, 0, 0},   {4, 1, 256, 50, 0},   {4, 1, 256, 0, 100},
    {2, 2, 80, 0, 16},      {4, 4, 16, 0, 1},     {14, 2, 32, 0, 64},   {7, 1, 96, 3, 65},
    {7, 1, 144, 0, 0, 128}, {5, 1, 48, 0, 0, 32}, {3, 1, 80, 0, 0, 48},
};

struct Case {
  AttentionShape shape;
  KvFormat format;
  bool sinks;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const AttentionShape& shape : kShapes) {
    cases.push_back({shape, KvFormat::f16, false});
    cases.push_back({shape, KvFormat::int8, false});
  }
  // Beside all keys, and beside those of a window.
  cases.push_back({kShapes[0], KvFormat::f16, true});
  cases.push_back({kShapes[7], KvFormat::int8, true});
  return cases;
}

TEST(Attention, AgreesWithSoftmaxInDoublePrecision) {
  for (const VectorOps* ops : all_ops()) {
    for (const auto& [shape, format, sinks] : all_cases()) {
      Context context(shape, sinks, 300, *ops, format);
      const std::vector<float> out = context.attend(0, 300, 1);
      for (const int position : {0, 1, 15, 16, 63, 64, 65, 128, 200, 299}) {
        for (int head = 0; head < shape.heads; ++head) {
          for (int d = 0; d < shape.value_dim(); d += 7) {
            const float value = out[(position * shape.heads + head) * shape.value_dim() + d];
            ASSERT_NEAR(value, context.expected(position, head, d), 1e-5)
                << ops->name << " head_dim " << shape.head_dim << " position " << position;
          }
        }
      }
    }
  }
}

TEST(Attention, ASinkFarAboveAllScoresLeavesNothingOfTheValues) {
  Context context({2, 1, 16, 0, 0}, false, 100, portable_vector_ops(), KvFormat::f16);
  context.sinks = {1e30f, -1e30f};
  const std::vector<float> with = context.attend(99, 100, 1);
  context.sinks.clear();
  const std::vector<float> without = context.attend(99, 100, 1);
  for (int d = 0; d < 16; ++d) {
    EXPECT_EQ(with[d], 0);
    EXPECT_EQ(with[16 + d], without[16 + d]);
  }
}

TEST(Attention, ARowIsTheSameBitsHoweverRowsAndContextAreDealtOut) {
  std::mt19937 random(5);
  for (const VectorOps* ops : all_ops()) {
    for (const auto& [shape, format, sinks] : all_cases()) {
      Context context(shape, sinks, 400, *ops, format);
      const std::vector<float> whole = context.attend(0, 400, 1);
      EXPECT_FALSE(context.split);
      const int columns = context.out_columns();
      bool was_split = false;
      for (int i = 0; i < 40; ++i) {
        const int first = static_cast<int>(random() % 400);
        const int end = std::min<int>(400, first + 1 + random() % (i % 2 == 0 ? 3 : 90));
        const std::vector<float> part = context.attend(first, end, i % 3 == 0 ? 1 : 64);
        was_split |= context.split;
        ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + first * columns))
            << ops->name << " head_dim " << shape.head_dim << " rows " << first << ".." << end;
      }
      EXPECT_TRUE(was_split || shape.window > 0);
    }
  }
}

}  // namespace
}  // namespace mlxd::cpu
