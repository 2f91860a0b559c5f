#include "model/model_files.h"

#include <string>
#include <variant>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

const std::string kModels = MLXD_TEST_MODELS;

TEST(ModelFiles, OpensSmolLM2) {
  const ModelFiles model = open_model(kModels + "/SmolLM2-135M-Instruct.Q4_1.gguf");
  const ModelConfig& config = model.plan.config;
  EXPECT_EQ(model.format, "gguf");
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.layers, 30);
  EXPECT_EQ(config.hidden_size, 576);
  EXPECT_EQ(config.heads, 9);
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.intermediate_size, 1536);
  EXPECT_EQ(config.vocab_size, 49152);
  EXPECT_EQ(config.context_length, 8192);
  EXPECT_FLOAT_EQ(config.rope_theta, 100000);
  EXPECT_TRUE(config.rope_interleaved);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_EQ(model.plan.kv_layers, 30);
  ASSERT_EQ(model.plan.blocks.size(), 60u);
  EXPECT_EQ(model.plan.head.weight.weight.quantization.encoding, Encoding::q8_0);

  EXPECT_EQ(model.vocabulary.model, "gpt2");
  EXPECT_EQ(model.vocabulary.pre_tokenizer, "smollm");
  EXPECT_EQ(model.vocabulary.stop_ids, std::vector<int>{2});
  EXPECT_EQ(model.vocabulary.bos_token, "<|im_start|>");
  EXPECT_EQ(model.vocabulary.eos_token, "<|im_end|>");
  EXPECT_FALSE(model.vocabulary.add_bos);
  EXPECT_NE(model.vocabulary.chat_template.find("<|im_start|>"), std::string::npos);
}

}  // namespace
}  // namespace mlxd
