#include "hub/model_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxd::hub {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Paths = std::vector<std::string>;

std::string chosen(const Paths& paths, std::string_view quant) {
  const auto models = gguf_models(paths);
  const GgufModel* model = choose_gguf(models, quant);
  return model == nullptr ? "" : model->files.front();
}

std::string refusal(const std::string& id, const Paths& paths) {
  try {
    choose_files(parse_hub_id(id), paths);
  } catch (const StartupError& error) {
    return error.what();
  }
  return "";
}

TEST(ModelChoice, TakesTheNamedQuantisationWhateverItsCase) {
  const Paths paths = {"m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m.q8_0.gguf", "m-IQ4_XS.gguf"};
  EXPECT_EQ(chosen(paths, "q4_k_s"), "m-Q4_K_S.gguf");
  EXPECT_EQ(chosen(paths, "Q8_0"), "m.q8_0.gguf");
  EXPECT_EQ(chosen(paths, "iq4_xs"), "m-IQ4_XS.gguf");
  EXPECT_EQ(chosen(paths, "m-q4_k_s.gguf"), "m-Q4_K_S.gguf");
}

TEST(ModelChoice, TakesNoPartOfAWordForIt) {
  const Paths paths = {"m-Q4_K_M.gguf", "m-IQ4_XS.gguf"};
  EXPECT_EQ(chosen(paths, "Q4_K"), "");
  EXPECT_EQ(chosen(paths, "Q4_XS"), "");
  EXPECT_EQ(chosen(paths, "K_M"), "");
}

TEST(ModelChoice, PrefersThePlainOneAmongItsVariants) {
  const Paths paths = {"a-UD-Q4_K_M.gguf", "b-Q4_K_M.gguf"};
  EXPECT_EQ(chosen(paths, "Q4_K_M"), "b-Q4_K_M.gguf");
  EXPECT_EQ(chosen(paths, "UD-Q4_K_M"), "a-UD-Q4_K_M.gguf");
}

TEST(ModelChoice, WithoutAWordTakesQ4KMThenWhatIsNearest) {
  EXPECT_EQ(chosen({"m-BF16.gguf", "m-Q2_K.gguf", "m-Q4_K_M.gguf"}, ""), "m-Q4_K_M.gguf");
  EXPECT_EQ(chosen({"m-BF16.gguf", "m-Q2_K.gguf", "m-Q8_0.gguf"}, ""), "m-Q8_0.gguf");
  EXPECT_EQ(chosen({"other.gguf", "some.gguf"}, ""), "other.gguf");
  EXPECT_EQ(chosen({}, ""), "");
}

TEST(ModelChoice, KeepsThePartsOfAModelTogetherAndLeavesProjectorsOut) {
  const Paths paths = {"Q8_0/m-00002-of-00002.gguf", "mmproj-m-Q8_0.gguf",
                       "Q8_0/m-00001-of-00002.gguf", "imatrix.gguf", "README.md"};
  const auto models = gguf_models(paths);
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].quant, "Q8_0");
  EXPECT_TRUE(models[0].complete);
  EXPECT_THAT(choose_files(parse_hub_id("o/n:q8_0"), paths).files,
              ElementsAre("Q8_0/m-00001-of-00002.gguf", "Q8_0/m-00002-of-00002.gguf"));
  EXPECT_THAT(refusal("o/n", {"m-Q4_0-00001-of-00002.gguf"}), HasSubstr("only some parts"));
}

TEST(ModelChoice, KnowsQuantisationsByTheirNames) {
  const auto quant = [](const std::string& path) { return gguf_models(Paths{path})[0].quant; };
  EXPECT_EQ(quant("Qwen3-8B-UD-Q4_K_XL.gguf"), "UD-Q4_K_XL");
  EXPECT_EQ(quant("qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"), "Q4_K_M");
  EXPECT_EQ(quant("SmolLM2-135M.Q4_1.gguf"), "Q4_1");
  EXPECT_EQ(quant("gpt-oss-20b-MXFP4.gguf"), "MXFP4");
  EXPECT_EQ(quant("m-bf16-00001-of-00003.gguf"), "BF16");
  EXPECT_EQ(quant("Qwen3.gguf"), "Qwen3.gguf");
}

TEST(ModelChoice, OfAFolderTakesWhatIsRead) {
  const Paths paths = {"README.md",
                       "model-00001-of-00002.safetensors",
                       "additional_chat_templates/tool_use.jinja",
                       "config.json",
                       "consolidated.safetensors",
                       "1_Pooling/config.json",
                       "modules.json",
                       "onnx/model.onnx",
                       "picture.png",
                       "tokenizer.json",
                       "vision/config.json"};
  EXPECT_THAT(choose_files(parse_hub_id("o/n"), paths).files,
              ElementsAre("additional_chat_templates/tool_use.jinja", "config.json",
                          "1_Pooling/config.json", "modules.json", "tokenizer.json",
                          "model-00001-of-00002.safetensors"));
  EXPECT_THAT(folder_files(Paths{"config.json", "weights.safetensors"}),
              ElementsAre("config.json", "weights.safetensors"));
}

TEST(ModelChoice, SaysWhatThereIsInstead) {
  EXPECT_THAT(refusal("o/n:Q6_K", {"m-Q4_0.gguf", "m-Q8_0.gguf"}), HasSubstr("Q4_0, Q8_0"));
  EXPECT_THAT(refusal("o/n:Q6_K", {"config.json", "model.safetensors"}), HasSubstr("MLX folder"));
  EXPECT_THAT(refusal("o/n", {"pytorch_model.bin"}), HasSubstr("it has pytorch_model.bin"));
  EXPECT_THAT(refusal("o/n", Paths(20, "x.bin")), HasSubstr("and 8 more"));
  EXPECT_THAT(refusal("o/n", {}), HasSubstr("no files"));
}

}  // namespace
}  // namespace mlxd::hub
