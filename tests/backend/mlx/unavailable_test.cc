#include <gtest/gtest.h>

#include "backend/mlx/mlx_backend.h"
#include "base/error.h"

namespace mlxd::mlx_backend {
namespace {

TEST(MlxBackend, SaysWhatToDoWhereTheBuildLacksIt) {
  EXPECT_FALSE(available());
  try {
    make_mlx_runner(ModelPlan{}, {});
    FAIL() << "no StartupError";
  } catch (const StartupError& error) {
    EXPECT_NE(std::string(error.what()).find("--backend cpu"), std::string::npos);
  }
}

}  // namespace
}  // namespace mlxd::mlx_backend
