// What the files beside a model say of whole texts.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/model_files.h"
#include "model/sample_models.h"

namespace mlxd {
namespace {

using ::testing::HasSubstr;

constexpr const char* kModules =
    R"([{"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])";

class PoolingFiles : public ::testing::Test {
 protected:
  void copy(const char* name) {
    std::filesystem::copy(std::filesystem::path(MLXD_TEST_DATA) / "golden/tiny" / name,
                          folder_.path(), std::filesystem::copy_options::recursive);
  }
  ModelPlan plan() const { return open_model(folder_.path()).plan; }
  std::string refusal() const {
    try {
      open_model(folder_.path());
    } catch (const LoadError& error) {
      return error.what();
    }
    return "none";
  }
  void pool_by(const std::string& config) {
    folder_.write("modules.json", kModules);
    folder_.write("1_Pooling/config.json", config);
  }
  void replace(const char* file, const std::string& from, const std::string& to) {
    std::ifstream stream(folder_.path() / file);
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    folder_.write(file, text.replace(at, from.size(), to));
  }

  test::TemporaryFolder folder_;
};

TEST_F(PoolingFiles, SayHowAnEncoderPools) {
  copy("bert");
  EXPECT_EQ(plan().pooled->pooling, Pooling::mean);
  EXPECT_TRUE(plan().pooled->normalizes);
  pool_by(R"({"pooling_mode_cls_token": true})");
  EXPECT_EQ(plan().pooled->pooling, Pooling::first);
  EXPECT_FALSE(plan().pooled->normalizes);
  pool_by(R"({"pooling_mode": "lasttoken"})");  // as newer files have it
  EXPECT_EQ(plan().pooled->pooling, Pooling::last);
  std::filesystem::remove(folder_.path() / "modules.json");
  EXPECT_EQ(plan().pooled->pooling, Pooling::mean);
}

TEST_F(PoolingFiles, BoundTheLengthOfATextWithThePositions) {
  copy("bert");
  EXPECT_EQ(plan().config.context_length, 200);
  folder_.write("sentence_bert_config.json", R"({"max_seq_length": 64})");
  EXPECT_EQ(plan().config.context_length, 64);
  folder_.write("sentence_bert_config.json", R"({"max_seq_length": 512})");
  EXPECT_EQ(plan().config.context_length, 200);
}

TEST_F(PoolingFiles, OfWhatIsNotComputedAreRefused) {
  copy("bert");
  pool_by(R"({"pooling_mode_max_tokens": true})");
  EXPECT_THAT(refusal(), HasSubstr("mean, the first or the last"));
  pool_by(R"({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true})");
  EXPECT_THAT(refusal(), HasSubstr("pooling_mode"));
  folder_.write("modules.json",
                R"([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])");
  EXPECT_THAT(refusal(), HasSubstr("\"Dense\""));
  folder_.write("modules.json", R"([{"path": "../x", "type": "m.Pooling"}])");
  EXPECT_THAT(refusal(), HasSubstr("no folder of the model"));
  folder_.write("modules.json", "[]");
  EXPECT_THAT(refusal(), HasSubstr("lists no Pooling"));
}

TEST_F(PoolingFiles, MakeADecoderOneThatEmbedsByItsLastToken) {
  copy("qwen3-embed");
  EXPECT_EQ(plan().pooled->pooling, Pooling::last);
  pool_by(R"({"pooling_mode_mean_tokens": true})");
  EXPECT_THAT(refusal(), HasSubstr("the rows of a decoder"));
  std::filesystem::remove(folder_.path() / "modules.json");
  EXPECT_FALSE(plan().pooled);
}

TEST_F(PoolingFiles, SayWhetherAScoreIsSquashed) {
  copy("bert-cross");
  EXPECT_TRUE(plan().pooled->is_score);
  EXPECT_TRUE(plan().pooled->squashes);
  replace("config.json", "{", R"({"sentence_transformers":
      {"activation_fn": "torch.nn.modules.linear.Identity"},)");
  EXPECT_FALSE(plan().pooled->squashes);
}

TEST_F(PoolingFiles, AClassifierOfSeveralClassesIsRefused) {
  copy("bert-cross");
  replace("config.json", R"("0": "LABEL_0")", R"("0": "A", "1": "B")");
  EXPECT_THAT(refusal(), HasSubstr("tells 2 classes apart"));
}

}  // namespace
}  // namespace mlxd
