#include "model/model_files.h"

#include <string>
#include <variant>

#include <gtest/gtest.h>

#include "model/summary.h"

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
  EXPECT_FLOAT_EQ(config.rope.theta, 100000);
  EXPECT_TRUE(config.rope.interleaved);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_EQ(model.plan.kv_layers, 30);
  ASSERT_EQ(model.plan.blocks.size(), 60u);
  EXPECT_EQ(model.plan.head.weight.weight.quantization.encoding, Encoding::q8_0);

  EXPECT_EQ(model.vocabulary.model, "gpt2");
  EXPECT_EQ(model.vocabulary.pre_tokenizer, "smollm");
  EXPECT_EQ(model.vocabulary.stop_ids, (std::vector<int>{2, 4, 0}));
  EXPECT_EQ(model.vocabulary.bos_token, "<|im_start|>");
  EXPECT_EQ(model.vocabulary.eos_token, "<|im_end|>");
  EXPECT_FALSE(model.vocabulary.add_bos);
  EXPECT_NE(model.vocabulary.chat_template.find("<|im_start|>"), std::string::npos);
}

TEST(ModelFiles, OpensQwen25Coder) {
  const ModelFiles model = open_model(kModels + "/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf");
  const ModelConfig& config = model.plan.config;
  EXPECT_EQ(config.architecture, "qwen2");
  EXPECT_EQ(config.layers, 28);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.vocab_size, 151936);
  EXPECT_FALSE(config.rope.interleaved);
  EXPECT_FALSE(config.tied_embeddings);
  const auto& attention = std::get<AttentionBlock>(model.plan.blocks.at(0));
  EXPECT_EQ(attention.query.bias.size(), 1536u);
  EXPECT_EQ(attention.key.bias.size(), 256u);
  EXPECT_TRUE(attention.output.bias.empty());
  EXPECT_EQ(attention.query.weight.quantization.encoding, Encoding::q4_k);
  EXPECT_EQ(model.plan.head.weight.weight.quantization.encoding, Encoding::q6_k);
  EXPECT_EQ(model.vocabulary.stop_ids, (std::vector<int>{151645, 151662, 151663, 151664, 151643}));
  EXPECT_EQ(summarize(model).parameters, 1777088000);  // 1.54 billion and the file's own head
}

TEST(ModelFiles, OpensGemma3) {
  const ModelFiles model = open_model(kModels + "/gemma-3-270m-q4_k_m.gguf");
  const ModelConfig& config = model.plan.config;
  EXPECT_EQ(config.architecture, "gemma3_text");
  EXPECT_EQ(config.layers, 18);
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_EQ(config.vocab_size, 262144);
  EXPECT_FLOAT_EQ(config.norm_weight_offset, 0);
  EXPECT_FLOAT_EQ(config.embedding_scale, 25.298221f);
  EXPECT_TRUE(config.tied_embeddings);

  const auto& local = std::get<AttentionBlock>(model.plan.blocks.at(0));
  const auto& global = std::get<AttentionBlock>(model.plan.blocks.at(10));
  EXPECT_EQ(global.layer, 5);
  EXPECT_EQ(local.window, 512);
  EXPECT_EQ(global.window, 0);
  EXPECT_FLOAT_EQ(local.rope->inverse_frequencies[64], 0.01f);    // theta 10,000
  EXPECT_FLOAT_EQ(global.rope->inverse_frequencies[64], 0.001f);  // theta 1,000,000
  EXPECT_FLOAT_EQ(local.scale, 1.0f / 16);
  EXPECT_TRUE(local.query_norm && local.key_norm && local.post_norm);
  const auto& feed_forward = std::get<FeedForwardBlock>(model.plan.blocks.at(1));
  EXPECT_EQ(feed_forward.activation, Activation::gelu_tanh);
  EXPECT_TRUE(feed_forward.post_norm);

  EXPECT_EQ(model.vocabulary.model, "llama");
  EXPECT_TRUE(model.vocabulary.add_bos);
  EXPECT_FALSE(model.vocabulary.add_space_prefix);
  EXPECT_EQ(model.vocabulary.stop_ids, (std::vector<int>{1, 106}));
  EXPECT_EQ(model.vocabulary.chat_template, "");
}

}  // namespace
}  // namespace mlxd
