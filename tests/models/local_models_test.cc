#include "models/local_models.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "backend/backends.h"
#include "base/error.h"
#include "models/pool_fixture.h"

namespace mlxd {
namespace {

using ::testing::AllOf;
using testing::answers;
using testing::ask;
using ::testing::Contains;
using ::testing::HasSubstr;

const std::filesystem::path kTiny = std::filesystem::path(MLXD_TEST_DATA) / "golden/tiny";

EngineSettings small_settings() {
  EngineSettings settings;
  settings.backend.name = "cpu";
  settings.backend.threads = 1;
  settings.kv_cache_gb = 0.001;
  settings.max_running = 2;
  settings.step_tokens = 16;
  return settings;
}

std::vector<PooledModel> take_all(LocalModels& local, std::size_t count) {
  std::vector<PooledModel> models;
  for (std::size_t i = 0; i < count; ++i) models.push_back(local.take(i));
  return models;
}

TEST(LocalModels, GoForEachOtherAndComeAgain) {
  LocalModels local({{"one", kTiny / "llama3"}, {"two", kTiny / "qwen3"}}, small_settings(), "1");
  admit(local.memory());
  std::vector<PooledModel> models = take_all(local, 2);
  for (PooledModel& model : models) model.pinned = false;
  const std::size_t one = std::max(models[0].bytes, models[1].bytes);
  ModelPool pool;
  pool.start(std::move(models), one);  // there is memory for one at a time
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"one", "two"}) {
      Result<ModelLease> lease = ask(pool, name).get();
      ASSERT_TRUE(lease) << lease.error().message;
      EXPECT_TRUE(answers(*lease));
      EXPECT_EQ(pool.ready().size(), 1u);
      EXPECT_LE(pool.memory_reserved(), one);
    }
  }
}

TEST(LocalModels, TellHowFarALoadHasComeOnEveryBackend) {
  for (const std::string backend : {"cpu", "mlx"}) {
    if (available_backends().find(backend) == std::string::npos) continue;
    SCOPED_TRACE(backend);
    EngineSettings settings = small_settings();
    settings.backend.name = backend;
    LocalModels local({{"one", kTiny / "llama3"}}, settings, "1");
    std::vector<double> told;
    local.load(0, [&](double done) { told.push_back(done); });
    ASSERT_GT(told.size(), 2U);
    EXPECT_GT(told.front(), 0);
    EXPECT_LT(told.front(), 1);
    EXPECT_TRUE(std::ranges::is_sorted(told));
    EXPECT_EQ(told.back(), 1);
  }
}

TEST(LocalModels, AFileThatHasBecomeAnotherIsNotLoadedAgain) {
  const auto folder = std::filesystem::path(::testing::TempDir()) /
                      ("local_models_test." + std::to_string(::getpid()));
  std::filesystem::copy(kTiny / "llama3", folder);
  LocalModels local({{"one", folder}}, small_settings(), "1");
  PooledModel model = local.take(0);
  EXPECT_NE(model.load({}), nullptr);
  std::ofstream(folder / "config.json", std::ios::app) << "\n";
  EXPECT_THROW(model.load({}), LoadError);
  std::filesystem::remove_all(folder);
}

TEST(LocalModels, AContextThatIsAskedForCapsTheModels) {
  EngineSettings settings = small_settings();
  settings.context = 32;
  LocalModels local({{"one", kTiny / "llama3"}}, settings, "1");
  EXPECT_EQ(local.files(0).plan.config.context_length, 32);
  const auto model = local.load(0);
  EXPECT_EQ(model->engine->info().context_length, 32);

  settings.context = 1 << 20;
  const LocalModels more({{"one", kTiny / "llama3"}}, settings, "1");
  EXPECT_LT(more.files(0).plan.config.context_length, 1 << 20);
  EXPECT_THAT(more.memory().warnings,
              Contains(AllOf(HasSubstr("--context asks for 1048576"), HasSubstr("one has"))));
}

TEST(LocalModels, AMachineThatIsTooSmallForWhatIsAskedIsWarnedOf) {
  EngineSettings settings = small_settings();
  settings.backend.threads = 1000;
  const LocalModels local({{"one", kTiny / "llama3"}}, settings, "1");
  EXPECT_THAT(local.memory().warnings, Contains(HasSubstr("--threads asks for 1000")));
}

}  // namespace
}  // namespace mlxd
