// Encoders on MLX on the CPU, in float32, against transformers.
#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "backend/mlx/mlx_backend.h"
#include "golden/encoders.h"
#include "model/model_files.h"

namespace mlxd::mlx_backend {
namespace {

TEST(MlxEncoder, AgreesWithTransformers) {
  for (const char* name : golden::kTinyEncoders) {
    SCOPED_TRACE(name);
    const auto texts = golden::encoded_texts(name);
    const auto runner =
        make_mlx_runner(open_model(golden::tiny_model(name)).plan, {.device = "cpu"});
    const auto pooled = golden::pool_together(*runner, texts);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto& expected = texts[i].expected;
      ASSERT_EQ(pooled[i].size(), expected.size());
      if (expected.size() == 1) {
        EXPECT_NEAR(1 / (1 + std::exp(-pooled[i][0])), expected[0], 1e-5) << i;
      } else {
        EXPECT_GT(golden::cosine(pooled[i], expected), 1 - 1e-6) << i;
      }
    }
  }
}

}  // namespace
}  // namespace mlxd::mlx_backend
