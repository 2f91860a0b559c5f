// What the files of encoders say, and what of it is refused.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/model_files.h"
#include "model/sample_models.h"

namespace mlxd {
namespace {

using ::testing::HasSubstr;

std::filesystem::path tiny(const std::string& name) {
  return std::filesystem::path(MLXD_TEST_DATA) / "golden/tiny" / name;
}

// A tiny model whose config.json has a field more, which comes before its own.
class Encoders : public ::testing::Test {
 protected:
  void copy(const char* name) {
    std::filesystem::copy(tiny(name), folder_.path(),
                          std::filesystem::copy_options::recursive |
                              std::filesystem::copy_options::overwrite_existing);
    std::ifstream stream(folder_.path() / "config.json");
    config_ = {std::istreambuf_iterator<char>(stream), {}};
  }
  void write_with(const std::string& from, const std::string& to) {
    std::string text = config_;
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    folder_.write("config.json", text.replace(at, from.size(), to));
  }
  ModelPlan plan_with(const std::string& from, const std::string& to) {
    write_with(from, to);
    return open_model(folder_.path()).plan;
  }
  std::string refusal_with(const std::string& from, const std::string& to) {
    write_with(from, to);
    try {
      open_model(folder_.path());
    } catch (const LoadError& error) {
      return error.what();
    }
    return "none";
  }

  test::TemporaryFolder folder_;
  std::string config_;
};

std::vector<int> windows(const EncoderPlan& encoder) {
  std::vector<int> windows;
  for (const EncoderLayer& layer : encoder.layers) windows.push_back(layer.window);
  return windows;
}

std::vector<float> second_frequencies(const EncoderPlan& encoder) {
  std::vector<float> frequencies;
  for (const EncoderLayer& layer : encoder.layers) {
    frequencies.push_back(layer.rope->inverse_frequencies.at(1));
  }
  return frequencies;
}

TEST_F(Encoders, SayTheSameInAFolderAndInAGgufFile) {
  for (const std::string name : {"bert", "xlm-roberta", "nomic-bert", "modernbert"}) {
    SCOPED_TRACE(name);
    const ModelFiles folder = open_model(tiny(name)), file = open_model(tiny(name + ".gguf"));
    const EncoderPlan &a = *folder.plan.encoder, &b = *file.plan.encoder;
    EXPECT_EQ(folder.plan.config.context_length, file.plan.config.context_length);
    EXPECT_EQ(a.positions.has_value(), b.positions.has_value());
    EXPECT_EQ(a.norms, b.norms);
    EXPECT_EQ(windows(a), windows(b));
    ASSERT_EQ(a.layers.size(), b.layers.size());
    for (std::size_t i = 0; i < a.layers.size(); ++i) {
      EXPECT_EQ(a.layers[i].rope.has_value(), b.layers[i].rope.has_value());
      EXPECT_EQ(a.layers[i].gate.has_value(), b.layers[i].gate.has_value());
      EXPECT_EQ(a.layers[i].activation, b.layers[i].activation);
    }
    EXPECT_EQ(folder.plan.pooled->pooling, file.plan.pooled->pooling);
  }
}

TEST_F(Encoders, XlmRobertasFirstRowsOfPositionsAreInItsFolderAlone) {
  const ModelPlan folder = open_model(tiny("xlm-roberta")).plan;
  const ModelPlan file = open_model(tiny("xlm-roberta.gguf")).plan;
  EXPECT_EQ(folder.encoder->first_position, 2);
  EXPECT_EQ(file.encoder->first_position, 0);
  EXPECT_EQ(folder.encoder->positions->rows, 200);
  EXPECT_EQ(file.encoder->positions->rows, 198);
  EXPECT_EQ(file.config.context_length, 198);
}

TEST_F(Encoders, NomicsTwoFormsOfConfigAreOne) {
  copy("nomic-bert");
  const auto own = second_frequencies(*plan_with("{", "{").encoder);
  // As transformers writes it.
  const ModelPlan plan = plan_with(
      R"("rotary_emb_base": 1000)",
      R"("rope_parameters": {"rope_type": "default", "rope_theta": 1000}, "hidden_act": "silu")");
  EXPECT_EQ(second_frequencies(*plan.encoder), own);
  EXPECT_NE(second_frequencies(
                *plan_with(R"("rotary_emb_base": 1000)", R"("rotary_emb_base": 2000)").encoder),
            own);
}

TEST_F(Encoders, NomicsTextsOfWhichItsAnglesWouldDependOnTheLengthAreTooLong) {
  copy("nomic-bert");
  const ModelPlan plan = plan_with(R"("rotary_scaling_factor": null)",
                                   R"("rotary_scaling_factor": 2, "max_trained_positions": 64)");
  EXPECT_EQ(plan.config.context_length, 64);
}

TEST_F(Encoders, OfNomicWhatIsNotComputedIsRefused) {
  copy("nomic-bert");
  const auto refusal = [&](const char* field) {
    return refusal_with("{", std::string("{") + field + ",");
  };
  EXPECT_THAT(refusal(R"("moe_every_n_layers": 2)"), HasSubstr("without experts"));
  EXPECT_THAT(refusal_with(R"("prenorm": false)", R"("prenorm": true)"), HasSubstr("\"prenorm\""));
  EXPECT_THAT(refusal_with(R"("swiglu")", R"("geglu")"), HasSubstr("activation_function"));
  EXPECT_THAT(refusal_with(R"("rotary_emb_scale_base": null)", R"("rotary_emb_scale_base": 512)"),
              HasSubstr("rotary_emb_scale_base"));
  EXPECT_THAT(refusal_with(R"("rotary_emb_fraction": 1.0)", R"("rotary_emb_fraction": 0)"),
              HasSubstr("rotary embeddings turn 0"));
  EXPECT_THAT(refusal(R"("head_dim": 8)"), HasSubstr("\"head_dim\""));
  EXPECT_THAT(refusal(R"("rope_parameters": {"rope_type": "dynamic"})"), HasSubstr("rope_type"));
  EXPECT_THAT(refusal_with("NomicBertModel", "NomicBertForSequenceClassification"),
              HasSubstr("architectures"));
}

TEST_F(Encoders, OfModernBertEveryThirdLayerFromTheFirstSeesAll) {
  const EncoderPlan encoder = *open_model(tiny("modernbert")).plan.encoder;
  EXPECT_EQ(windows(encoder), (std::vector<int>{0, 12, 12, 0}));
  const auto frequencies = second_frequencies(encoder);
  EXPECT_EQ(frequencies[0], frequencies[3]);
  EXPECT_GT(frequencies[1], frequencies[0]);
  EXPECT_EQ(encoder.norms, EncoderNorms::beside_stream);
}

TEST_F(Encoders, ModernBertsOlderConfigsStateAPatternAndThetas) {
  copy("modernbert");
  write_with(R"("layer_types")", R"("ignored")");
  config_ = [&] {
    std::ifstream stream(folder_.path() / "config.json");
    return std::string{std::istreambuf_iterator<char>(stream), {}};
  }();
  const ModelPlan plan = plan_with(R"("rope_parameters")",
                                   R"("global_attn_every_n_layers": 2, "global_rope_theta": 400.0,
                                      "local_rope_theta": 100.0, "also_ignored")");
  EXPECT_EQ(windows(*plan.encoder), (std::vector<int>{0, 12, 0, 12}));
  const auto frequencies = second_frequencies(*plan.encoder);
  EXPECT_NEAR(frequencies[0], std::pow(400.0, -2.0 / 16), 1e-6);
  EXPECT_NEAR(frequencies[1], std::pow(100.0, -2.0 / 16), 1e-6);
}

TEST_F(Encoders, OfModernBertWhatIsNotComputedIsRefused) {
  copy("modernbert");
  EXPECT_THAT(refusal_with(R"("hidden_activation": "gelu")", R"("hidden_activation": "relu")"),
              HasSubstr("hidden_activation"));
  EXPECT_THAT(refusal_with(R"("full_attention",)", R"("some_attention",)"),
              HasSubstr("layer_types"));
  EXPECT_THAT(refusal_with(R"("local_attention": 24)", R"("local_attention": 1)"),
              HasSubstr("local_attention"));
  EXPECT_THAT(refusal_with("{", R"({"rope_scaling": {"factor": 2},)"), HasSubstr("rope_scaling"));
  EXPECT_THAT(refusal_with("ModernBertModel", "ModernBertForSequenceClassification"),
              HasSubstr("architectures"));
}

}  // namespace
}  // namespace mlxd
