#include "model/weights/gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/architectures/registry.h"
#include "model/config_reader.h"
#include "model/sample_models.h"
#include "model/vocabulary_reader.h"
#include "model/weights/gguf_weights.h"

namespace mlxd {
namespace {

using test::GgufWriter;
using test::small_gguf;
using testing::HasSubstr;

// What reading those bytes as a whole model complains of; "" when it does not.
std::string complaint(const std::vector<std::byte>& bytes) {
  try {
    const auto file = GgufFile::parse(bytes, "small.gguf");
    const auto weights = gguf_weights({file});
    make_plan(read_gguf_config(*file, *weights), weights);
    read_gguf_vocabulary(*file);
    return "";
  } catch (const LoadError& error) {
    return error.what();
  }
}

std::string complaint(const GgufWriter& writer) { return complaint(writer.bytes()); }

// The small model with the eight bytes behind `marker` (a name) plus `distance` replaced.
std::vector<std::byte> patched(const std::string& marker, std::size_t distance,
                               std::uint64_t value) {
  auto bytes = small_gguf().bytes();
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t at = text.find(marker) + marker.size() + distance;
  std::memcpy(bytes.data() + at, &value, sizeof value);
  return bytes;
}

TEST(Gguf, ReadsASmallModel) {
  const auto bytes = small_gguf().bytes();
  const auto file = GgufFile::parse(bytes, "small.gguf");
  EXPECT_EQ(file->tensors().size(), 20u);
  EXPECT_EQ(file->string("general.name"), "Small");
  EXPECT_EQ(file->integer("llama.block_count", 1, 10), 2);
  EXPECT_EQ(file->strings("tokenizer.ggml.merges")->at(2), "ab c");
  EXPECT_EQ(file->integer("absent", 1, 10), std::nullopt);
  EXPECT_EQ(complaint(bytes), "");
}

TEST(Gguf, MapsItsNamesToHuggingFaceNames) {
  EXPECT_EQ(hugging_face_name("token_embd.weight", {}), "model.embed_tokens.weight");
  EXPECT_EQ(hugging_face_name("blk.12.attn_q.bias", {}), "model.layers.12.self_attn.q_proj.bias");
  EXPECT_EQ(hugging_face_name("blk.0.ffn_norm.weight", {}),
            "model.layers.0.post_attention_layernorm.weight");
  EXPECT_EQ(hugging_face_name("rope_freqs.weight", {}), "rope_freqs.weight");
  EXPECT_EQ(hugging_face_name("blk.01.attn_q.weight", {}), "blk.01.attn_q.weight");
  EXPECT_EQ(hugging_face_name("blk.x", {}), "blk.x");
}

TEST(Gguf, AnArchitecturesOwnNamesGoBeforeTheUsualOnes) {
  EXPECT_EQ(hugging_face_name("blk.0.ffn_norm.weight", gguf_names_of("gemma3")),
            "model.layers.0.pre_feedforward_layernorm.weight");
  EXPECT_EQ(hugging_face_name("blk.0.attn_q.weight", gguf_names_of("gemma3")),
            "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(hugging_face_name("blk.0.attn_q_norm.weight", gguf_names_of("llama")),
            "blk.0.attn_q_norm.weight");
  EXPECT_TRUE(gguf_names_of("unheard of").empty());
}

TEST(Gguf, EveryTruncationIsRefused) {
  const auto bytes = small_gguf().bytes();
  // The last tensor ends 24 bytes before its padding does; what is cut off there is not missed.
  for (std::size_t size = 0; size + 32 < bytes.size(); size += size < 4096 ? 1 : 97) {
    EXPECT_NE(complaint({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)}), "")
        << size;
  }
}

TEST(Gguf, RefusesWhatIsNoGguf) {
  std::vector<std::byte> bytes(64, std::byte{'x'});
  EXPECT_THAT(complaint(bytes), HasSubstr("small.gguf: magic is \"xxxx\""));
  auto other = small_gguf().bytes();
  other[4] = std::byte{1};
  EXPECT_THAT(complaint(other), HasSubstr("version is 1; mlxd reads 2 and 3"));
  other[4] = std::byte{0};
  other[7] = std::byte{3};
  EXPECT_THAT(complaint(other), HasSubstr("big-endian"));
}

TEST(Gguf, RefusesCountsThatTheFileCannotHold) {
  auto bytes = small_gguf().bytes();
  const std::uint64_t huge = ~std::uint64_t{0};
  std::memcpy(bytes.data() + 8, &huge, sizeof huge);
  EXPECT_THAT(complaint(bytes), HasSubstr("tensor_count is 18446744073709551615"));
  EXPECT_THAT(complaint(patched("tokenizer.ggml.merges", 8, huge)),
              HasSubstr("\"tokenizer.ggml.merges\" is 18446744073709551615, more than"));
  EXPECT_THAT(complaint(patched("general.name", 4, huge)), HasSubstr("\"general.name\" needs"));
}

TEST(Gguf, RefusesDimensionsWhoseProductOverflows) {
  EXPECT_THAT(complaint(patched("blk.0.attn_q.weight", 4, std::uint64_t{1} << 62)),
              HasSubstr("has dimension 0 of 4611686018427387904"));
  EXPECT_THAT(complaint(patched("blk.0.attn_q.weight", 4, 0)), HasSubstr("dimension 0 of 0"));
}

TEST(Gguf, RefusesRowsThatAreNoWholeNumberOfBlocks) {
  EXPECT_THAT(complaint(patched("blk.0.attn_q.weight", 4, 33)),
              HasSubstr("rows of 33 columns, not a whole number of Q4_0 blocks of 32"));
}

TEST(Gguf, RefusesTensorsOutsideTheFileOrInsideEachOther) {
  const std::size_t offset_of_matrix = 4 + 2 * 8 + 4;  // behind the name
  EXPECT_THAT(complaint(patched("blk.0.attn_q.weight", offset_of_matrix, 1u << 30)),
              HasSubstr("the file is cut short or damaged"));
  EXPECT_THAT(complaint(patched("blk.0.attn_q.weight", offset_of_matrix, 0)),
              HasSubstr("inside the tensor that ends at"));
  EXPECT_THAT(complaint(patched("blk.0.attn_q.weight", offset_of_matrix, 31)),
              HasSubstr("not a multiple of the alignment 32"));
}

// The small model with a matrix of NVFP4 more, and its scale as one number or several.
GgufWriter with_tensor_scale(std::uint64_t numbers) {
  auto writer = small_gguf();
  writer.tensor("extra.weight", 40, {64, 2}, 72);
  writer.tensor("extra.scale", 0, {numbers}, 4 * numbers);
  return writer;
}

TEST(GgufWeights, ReadTheScaleOfAWholeNvfp4Tensor) {
  auto bytes = with_tensor_scale(1).bytes();
  const auto file = GgufFile::parse(bytes, "small.gguf");
  const auto scale = std::ranges::find(file->tensors(), "extra.scale", &Tensor::name);
  const float values[] = {0.25f, 300.0f, 0.0f, std::nanf("")};
  const auto set = [&](float value) {
    const auto at = static_cast<std::size_t>(scale->data.data() - bytes.data());
    std::memcpy(&bytes[at], &value, sizeof value);
  };
  set(values[0]);
  EXPECT_EQ(gguf_weights({file})->find("extra.weight")->scale, 0.25f);
  EXPECT_EQ(gguf_weights({file})->find("model.norm.weight")->scale, 1);
  for (const float value : {values[1], values[2], values[3]}) {
    set(value);
    EXPECT_THROW(gguf_weights({file}), LoadError) << value;
  }
  EXPECT_THROW(gguf_weights({GgufFile::parse(with_tensor_scale(2).bytes(), "small.gguf")}),
               LoadError);
}

TEST(Gguf, RefusesFormatsThatItDoesNotRead) {
  auto writer = small_gguf();
  writer.tensor("extra.weight", 15, {256}, 292);
  EXPECT_THAT(
      complaint(writer),
      HasSubstr("\"extra.weight\" is stored as Q8_K, which mlxd does not read; take a file"));
  auto private_type = small_gguf();
  private_type.tensor("extra.weight", 142, {256}, 292);
  EXPECT_THAT(complaint(private_type),
              HasSubstr("is stored as type 142 (of a fork of llama.cpp, or of a later version)"));
}

TEST(Gguf, RefusesWhatComesTwice) {
  EXPECT_THAT(complaint(small_gguf().text("general.name", "x")),
              HasSubstr("\"general.name\" is there twice"));
  EXPECT_THAT(complaint(small_gguf().tensor("output_norm.weight", 0, {64}, 256)),
              HasSubstr("\"output_norm.weight\" is there twice"));
  EXPECT_THAT(complaint(small_gguf().tensor("model.norm.weight", 0, {64}, 256)),
              HasSubstr("has the same meaning as another one"));
}

TEST(Gguf, RefusesAnAlignmentThatIsNoPowerOfTwo) {
  EXPECT_THAT(complaint(small_gguf().number("general.alignment", 24)),
              HasSubstr("general.alignment is 24, not a power of two"));
}

TEST(GgufConfig, NamesTheArchitecturesThatAreSupported) {
  GgufWriter writer;
  writer.text("general.architecture", "mamba");
  const std::string text = complaint(writer);
  EXPECT_THAT(text,
              HasSubstr("\"general.architecture\" is \"mamba\"; mlxd runs bert, deepseek2, dots1, "
                        "ernie4_5, ernie4_5-moe, exaone4, gemma2, gemma3, "));
  for (const Architecture& each : architectures()) {
    EXPECT_THAT(text, HasSubstr(std::string(each.gguf_name)));
  }
}

TEST(GgufConfig, NamesAMissingFieldAndAnAbsurdOne) {
  GgufWriter writer;
  writer.text("general.architecture", "llama");
  EXPECT_THAT(complaint(writer), HasSubstr("\"llama.block_count\" is missing"));
  writer.number("llama.block_count", 4000000000u);
  EXPECT_THAT(complaint(writer),
              HasSubstr("\"llama.block_count\" is 4000000000, not an integer from 1 to 1024"));
}

TEST(GgufConfig, NamesATensorOfTheWrongShape) {
  EXPECT_THAT(complaint(patched("llama.feed_forward_length", 0, (std::uint64_t{128} << 32) | 4)),
              HasSubstr("tensor \"model.layers.0.mlp.gate_proj.weight\" has shape [96, 64], "
                        "expected [128, 64]"));
}

TEST(GgufVocabulary, TakesEveryIdThatEndsAGeneration) {
  const auto bytes = small_gguf().bytes();
  const Vocabulary vocabulary = read_gguf_vocabulary(*GgufFile::parse(bytes, "small.gguf"));
  EXPECT_EQ(vocabulary.stop_ids, (std::vector<int>{1, 7}));
  EXPECT_EQ(vocabulary.bos, 0);
  EXPECT_EQ(vocabulary.eos_token, "</s>");
}

TEST(GgufVocabulary, RefusesAnIdBeyondTheTokens) {
  EXPECT_THAT(complaint(small_gguf().number("tokenizer.ggml.eom_token_id", 8)),
              HasSubstr("\"tokenizer.ggml.eom_token_id\" is 8, not an integer from 0 to 7"));
}

TEST(GgufVocabulary, RefusesAByteLevelVocabularyWithoutMerges) {
  GgufWriter writer;
  writer.text("general.architecture", "llama")
      .text("tokenizer.ggml.model", "gpt2")
      .texts("tokenizer.ggml.tokens", {"a", "b"});
  try {
    const auto bytes = writer.bytes();
    read_gguf_vocabulary(*GgufFile::parse(bytes, "small.gguf"));
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_THAT(error.what(), HasSubstr("\"tokenizer.ggml.merges\" is missing"));
  }
}

TEST(GgufVocabulary, SentencePieceHasLlamasIdsUnlessItSaysOtherwise) {
  GgufWriter writer;
  writer.text("tokenizer.ggml.model", "llama")
      .texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "a"})
      .integers("tokenizer.ggml.token_type", {2, 3, 3, 1})
      .number("tokenizer.ggml.padding_token_id", 0);
  const auto bytes = writer.bytes();
  const Vocabulary vocabulary = read_gguf_vocabulary(*GgufFile::parse(bytes, "small.gguf"));
  EXPECT_EQ(vocabulary.bos, 1);
  EXPECT_EQ(vocabulary.eos, 2);
  EXPECT_TRUE(vocabulary.add_bos);
  EXPECT_TRUE(vocabulary.add_space_prefix);
  EXPECT_EQ(vocabulary.stop_ids, std::vector<int>{2});
  EXPECT_EQ(vocabulary.special_tokens,
            (std::map<std::string, std::string>{{"bos_token", "<s>"},
                                                {"eos_token", "</s>"},
                                                {"pad_token", "<unk>"},
                                                {"unk_token", "<unk>"}}));
}

TEST(GgufVocabulary, AnHtmlTagThatLooksLikeAnEndIsText) {
  for (const std::int32_t type : {1, 4}) {  // as Qwen has it, and Gemma
    GgufWriter writer;
    writer.text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.tokens", {"a", "</s>", "<eos>"})
        .texts("tokenizer.ggml.merges", {})
        .integers("tokenizer.ggml.token_type", {1, type, 3})
        .number("tokenizer.ggml.eos_token_id", 2);
    const auto bytes = writer.bytes();
    const Vocabulary vocabulary = read_gguf_vocabulary(*GgufFile::parse(bytes, "small.gguf"));
    EXPECT_EQ(vocabulary.stop_ids, std::vector<int>{2});
    EXPECT_EQ(vocabulary.types, (std::vector<std::int32_t>{1, type, 3}));
  }
}

ModelConfig config_of(const GgufWriter& writer) {
  const auto bytes = writer.bytes();
  const auto file = GgufFile::parse(bytes, "small.gguf");
  return read_gguf_config(*file, *gguf_weights({file}));
}

TEST(GgufConfig, ARopeFactorAloneIsLinearUnderEitherOfItsNames) {
  for (const char* key : {"llama.rope.scale_linear", "llama.rope.scaling.factor"}) {
    const RopeScaling scaling = config_of(small_gguf().real(key, 4)).rope.scaling;
    EXPECT_EQ(scaling.kind, RopeScaling::Kind::linear) << key;
    EXPECT_FLOAT_EQ(scaling.factor, 4) << key;
    EXPECT_EQ(config_of(small_gguf().real(key, 0)).rope.scaling.kind, RopeScaling::Kind::none);
    EXPECT_EQ(config_of(small_gguf().real(key, 4).text("llama.rope.scaling.type", "none"))
                  .rope.scaling.kind,
              RopeScaling::Kind::none);
  }
}

TEST(GgufConfig, RefusesAModelWithoutItsEpsilon) {
  auto bytes = small_gguf().bytes();
  const std::string name = "layer_norm_rms_epsilon";
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  bytes[text.find(name)] = std::byte{'x'};
  EXPECT_THAT(complaint(bytes), HasSubstr("\"llama.attention.layer_norm_rms_epsilon\" is missing"));
}

TEST(GgufConfig, RefusesSettingsThatItDoesNotCompute) {
  EXPECT_THAT(complaint(small_gguf().boolean("llama.attention.causal", false)),
              HasSubstr("\"llama.attention.causal\" is false; mlxd's attention looks back alone"));
  EXPECT_EQ(complaint(small_gguf().boolean("llama.attention.causal", true)), "");
  EXPECT_THAT(complaint(small_gguf().text("general.type", "adapter")),
              HasSubstr("\"general.type\" is \"adapter\"; mlxd runs models"));
  EXPECT_THAT(complaint(small_gguf().real("llama.attention.clamp_kqv", 8)),
              HasSubstr("\"llama.attention.clamp_kqv\" is 8"));
  EXPECT_THAT(complaint(small_gguf().number("llama.expert_count", 8)),
              HasSubstr("\"llama.expert_used_count\" is missing"));
}

}  // namespace
}  // namespace mlxd
