#include "model/weights/safetensors.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/architectures/registry.h"
#include "model/model_files.h"
#include "model/model_plan.h"
#include "model/sample_models.h"
#include "model/summary.h"
#include "model/weights/safetensors_weights.h"

namespace mlxd {
namespace {

using test::safetensors_bytes;
using test::small_mlx_config;
using test::small_mlx_tensors;
using test::StoredTensor;
using test::TemporaryFolder;
using testing::HasSubstr;

std::string complaint(const std::string& bytes) {
  try {
    SafetensorsFile::parse(std::as_bytes(std::span(bytes)), "small.safetensors");
    return "";
  } catch (const LoadError& error) {
    return error.what();
  }
}

// A file of that JSON header and that many bytes of data.
std::string file_of(const std::string& header, std::size_t data) {
  const std::uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + header + std::string(data, '\0');
}

std::string folder_complaint(const TemporaryFolder& folder) {
  try {
    open_model(folder.path());
    return "";
  } catch (const LoadError& error) {
    return error.what();
  }
}

TEST(Safetensors, ReadsEntriesInTheOrderOfTheirData) {
  const std::string bytes = safetensors_bytes({{"a", "F32", {2, 3}}, {"b", "BF16", {4}}});
  const auto file = SafetensorsFile::parse(std::as_bytes(std::span(bytes)), "small.safetensors");
  ASSERT_EQ(file->entries().size(), 2u);
  EXPECT_EQ(file->entries()[0].name, "a");
  EXPECT_EQ(file->entries()[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file->entries()[1].data.size(), 8u);
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string bytes = safetensors_bytes({{"a", "F32", {2, 3}}, {"b", "BF16", {4}}});
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(complaint(bytes.substr(0, size)), "") << size;
  }
}

TEST(Safetensors, RefusesHeadersThatSayImpossibleThings) {
  EXPECT_THAT(complaint(std::string(16, '\xff')), HasSubstr("header length is"));
  EXPECT_THAT(complaint(file_of("[]", 0)), HasSubstr("is not a JSON object"));
  EXPECT_THAT(complaint(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", 8)),
              HasSubstr("\"a.data_offsets\" spans 8 bytes; the type and shape say 4"));
  EXPECT_THAT(complaint(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8)),
              HasSubstr("not a pair [begin, end]"));
  EXPECT_THAT(complaint(file_of(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("\"a.shape\" is -2"));
  EXPECT_THAT(complaint(file_of(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("\"a.dtype\" is \"F31\""));
  EXPECT_THAT(
      complaint(file_of(
          R"({"a":{"dtype":"F32","shape":[281474976710656,65536],"data_offsets":[0,8]}})", 8)),
      HasSubstr("\"a.shape\" holds more than"));
}

TEST(Safetensors, RefusesGapsOverlapsAndNamesThatComeTwice) {
  const std::string first = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)";
  EXPECT_THAT(
      complaint(file_of(first + R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})", 12)),
      HasSubstr("\"b\" begins at byte 8 of the data; the one before it ends at 4"));
  EXPECT_THAT(
      complaint(file_of(first + R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4)),
      HasSubstr("begins at byte 0"));
  EXPECT_THAT(
      complaint(file_of(first + R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4)),
      HasSubstr("\"a\" is in the header twice"));
  EXPECT_THAT(complaint(file_of("{}", 4)), HasSubstr("has 4 bytes, and its tensors take 0"));
}

TEST(SafetensorsFolder, OpensAQuantisedModel) {
  TemporaryFolder folder;
  write_small_folder(folder);
  const ModelFiles model = open_model(folder.path());
  EXPECT_EQ(model.format, "safetensors");
  const auto& attention = std::get<AttentionBlock>(model.plan.blocks.at(0));
  EXPECT_EQ(attention.query.weight.quantization,
            (Quantization{Encoding::mlx_affine, 4, 32, Encoding::bf16}));
  EXPECT_EQ(attention.query.weight.rows, 64);
  EXPECT_EQ(attention.query.weight.columns, 64);
  EXPECT_FALSE(attention.rope->interleaved);
  EXPECT_EQ(dequantize(attention.query.weight).size(), 64u * 64u);
  EXPECT_EQ(model.plan.head.weight.weight.name, "model.embed_tokens.weight");

  // The tokeniser's own end, then those of generation_config.json and config.json, each once.
  EXPECT_EQ(model.vocabulary.stop_ids, (std::vector<int>{7, 1, 6}));
  EXPECT_EQ(model.vocabulary.eos, 7);
  EXPECT_EQ(model.vocabulary.bos, 0);
  EXPECT_EQ(model.vocabulary.chat_template, "T");

  const ModelSummary summary = summarize(model);
  EXPECT_EQ(summary.formats.at(0).name, "affine 4-bit, group 32");
}

TEST(SafetensorsFolder, ReadsShardsThroughTheIndex) {
  TemporaryFolder folder;
  write_small_sharded_folder(folder);
  EXPECT_EQ(folder_complaint(folder), "");

  const auto tensors = small_mlx_tensors();
  folder.write("two.safetensors", safetensors_bytes({tensors.begin() + 7, tensors.end() - 1}));
  EXPECT_THAT(folder_complaint(folder), HasSubstr("is missing, and the index says"));
}

TEST(SafetensorsFolder, RefusesShardsOutsideTheFolder) {
  TemporaryFolder folder;
  write_small_folder(folder);
  std::filesystem::remove(folder.path() / "model.safetensors");
  for (const char* name : {"../other.safetensors", "/etc/passwd", "..", "", "a/b.safetensors"}) {
    folder.write("model.safetensors.index.json",
                 std::string(R"({"weight_map":{"a":")") + name + R"("}})");
    EXPECT_THAT(folder_complaint(folder), HasSubstr("not the name of a .safetensors file")) << name;
  }
}

TEST(SafetensorsFolder, ReadsAModulesOwnQuantisation) {
  TemporaryFolder folder;
  write_small_folder(folder);
  std::string config = small_mlx_config();
  const std::string stated = R"("bits": 4})";
  config.replace(config.find(stated), stated.size(),
                 R"("bits": 8, "lm_head": false, "model.layers.0.mlp.up_proj": {"bits": 4}})");
  folder.write("config.json", config);
  // Only that module is as its own entry says; the next one does not fit eight bits.
  EXPECT_THAT(folder_complaint(folder), HasSubstr("does not fit affine 8-bit, group 32"));
}

// The small model with its matrices in another of MLX's modes.
std::vector<StoredTensor> small_tensors_as(int bits, int group_size) {
  std::vector<StoredTensor> tensors;
  for (StoredTensor tensor : small_mlx_tensors()) {  // 4 bits in groups of 32
    if (tensor.name.ends_with(".biases")) continue;
    if (tensor.dtype == "U32") tensor.shape.back() = tensor.shape.back() * bits / 4;
    if (tensor.name.ends_with(".scales")) {
      tensor.dtype = "U8";
      tensor.shape.back() = tensor.shape.back() * 32 / group_size;
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

std::string config_with(const std::string& quantization) {
  std::string config = small_mlx_config();
  const std::string stated = R"({"group_size": 32, "bits": 4})";
  config.replace(config.find(stated), stated.size(), quantization);
  return config;
}

TEST(SafetensorsFolder, OpensModelsOfSmallFloats) {
  const Quantization forms[] = {
      {Encoding::mlx_mxfp4, 4, 32}, {Encoding::mlx_nvfp4, 4, 16}, {Encoding::mlx_mxfp8, 8, 32}};
  for (const Quantization& form : forms) {
    SCOPED_TRACE(to_string(form));
    TemporaryFolder folder;
    write_small_folder(folder);
    folder.write("model.safetensors",
                 safetensors_bytes(small_tensors_as(form.bits, form.group_size)));
    folder.write("config.json", config_with(R"({"mode": ")" + to_string(form) + R"("})"));
    const ModelFiles model = open_model(folder.path());
    const Tensor& query = std::get<AttentionBlock>(model.plan.blocks.at(0)).query.weight;
    EXPECT_EQ(query.quantization, form);
    EXPECT_EQ(query.columns, 64);
    EXPECT_EQ(dequantize(query).size(), 64u * 64u);
    EXPECT_EQ(summarize(model).formats.at(0).name, to_string(form));
  }
}

// As in mlx-community's MXFP4-Q8 models: experts in mxfp4, all else affine with entries of its own.
TEST(SafetensorsFolder, AModulesOwnQuantisationWithoutAModeIsAffine) {
  TemporaryFolder folder;
  write_small_folder(folder);
  auto tensors = small_tensors_as(4, 32);
  const auto affine = small_mlx_tensors();
  const std::string module = "model.layers.0.mlp.up_proj";
  std::erase_if(tensors, [&](const StoredTensor& t) { return t.name.starts_with(module); });
  for (const StoredTensor& t : affine) {
    if (t.name.starts_with(module)) tensors.push_back(t);
  }
  folder.write("model.safetensors", safetensors_bytes(tensors));
  folder.write("config.json", config_with(R"({"mode": "mxfp4", "bits": 4, "group_size": 32, ")" +
                                          module + R"(": {"bits": 4, "group_size": 32}})"));
  const auto model = open_model(folder.path());
  const auto& mlp = std::get<FeedForwardBlock>(model.plan.blocks.at(1));
  EXPECT_EQ(to_string(mlp.up.weight.quantization), "affine 4-bit, group 32");
  EXPECT_EQ(to_string(mlp.gate->weight.quantization), "mxfp4");
  // Without its own entry its scales are of the wrong kind.
  folder.write("config.json", config_with(R"({"mode": "mxfp4"})"));
  EXPECT_THAT(folder_complaint(folder),
              HasSubstr("is mxfp4 by config.json, whose scales are U8, and has scales of BF16"));
}

TEST(SafetensorsFolder, RefusesModesAndWidthsThatMlxDoesNotHave) {
  TemporaryFolder folder;
  write_small_folder(folder);
  folder.write("config.json", config_with(R"({"mode": "mxfp6"})"));
  EXPECT_THAT(folder_complaint(folder),
              HasSubstr("\"mxfp6\"; mlxd reads affine, mxfp4, nvfp4 and mxfp8"));
  folder.write("config.json", config_with(R"({"mode": "nvfp4", "group_size": 32})"));
  EXPECT_THAT(folder_complaint(folder), HasSubstr("group_size\" is 32; nvfp4 has 16"));
  folder.write("config.json", config_with(R"({"mode": "mxfp4"})"));
  auto tensors = small_tensors_as(8, 64);
  folder.write("model.safetensors", safetensors_bytes(tensors));
  EXPECT_THAT(folder_complaint(folder), HasSubstr("fits none of mxfp4, nvfp4 and mxfp8"));
  tensors = small_tensors_as(4, 32);
  tensors.push_back({"model.layers.0.mlp.up_proj.global_scale", "F32", {1}});
  folder.write("model.safetensors", safetensors_bytes(tensors));
  EXPECT_THAT(folder_complaint(folder), HasSubstr("has a scale for the whole tensor"));
}

TEST(SafetensorsFolder, RefusesOtherToolsQuantisation) {
  TemporaryFolder folder;
  write_small_folder(folder);
  std::string config = small_mlx_config();
  const std::string stated = R"("quantization": {"group_size": 32, "bits": 4})";
  config.replace(config.find(stated), stated.size(),
                 R"("quantization_config": {"quant_method": "awq", "bits": 4})");
  folder.write("config.json", config);
  EXPECT_THAT(folder_complaint(folder), HasSubstr("quant_method\" is \"awq\""));
}

TEST(SafetensorsFolder, RefusesBlocksThatDoNotFitTheirScales) {
  TemporaryFolder folder;
  write_small_folder(folder);
  const auto complaint = [&](std::vector<std::int64_t> blocks, std::vector<std::int64_t> scales,
                             const std::string& scale_type = "U8") {
    auto tensors = small_mlx_tensors();
    tensors.push_back({"model.experts.down_proj_blocks", "U8", std::move(blocks)});
    tensors.push_back({"model.experts.down_proj_scales", scale_type, std::move(scales)});
    folder.write("model.safetensors", safetensors_bytes(tensors));
    return folder_complaint(folder);
  };
  EXPECT_EQ(complaint({2, 3, 5, 16}, {2, 3, 5}), "");
  for (const std::string& wrong :
       {complaint({2, 3, 5, 16}, {2, 3, 4}), complaint({2, 3, 5, 16}, {2, 5, 3}),
        complaint({2, 3, 10, 8}, {2, 3, 5}), complaint({30, 16}, {6, 5}),
        complaint({2, 0, 5, 16}, {2, 0, 5})}) {
    EXPECT_THAT(wrong, HasSubstr("down_proj_blocks\" has blocks of"));
  }
  EXPECT_THAT(complaint({2, 3, 5, 16}, {2, 3, 5}, "F32"), HasSubstr("has no scales of 8 bits"));
}

TEST(SafetensorsFolder, NamesWhatItDoesNotRun) {
  TemporaryFolder folder;
  EXPECT_THAT(folder_complaint(folder), HasSubstr("needs config.json"));
  folder.write("config.json", R"({"model_type": "rwkv"})");
  const std::string text = folder_complaint(folder);
  EXPECT_THAT(text, HasSubstr("\"model_type\" is \"rwkv\"; mlxd runs bert, roberta, "));
  for (const Architecture& each : architectures()) {
    for (const std::string_view type : each.model_types) {
      EXPECT_THAT(text, HasSubstr(std::string(type)));
    }
  }
}

TEST(SafetensorsFolder, AWholeFileCountsBeforeAnIndexThatIsLeftOver) {
  TemporaryFolder folder;
  write_small_folder(folder);
  folder.write("model.safetensors.index.json",
               R"({"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}})");
  EXPECT_EQ(folder_complaint(folder), "");
}

TEST(SafetensorsFolder, TheFirstFileOfOneNeedsNoIndex) {
  TemporaryFolder folder;
  write_small_folder(folder);
  std::filesystem::rename(folder.path() / "model.safetensors",
                          folder.path() / "model-00001-of-00001.safetensors");
  EXPECT_EQ(folder_complaint(folder), "");
}

TEST(SafetensorsFolder, NumberedFilesNeedNoIndexIfAllAreThere) {
  TemporaryFolder folder;
  write_small_sharded_folder(folder);
  std::filesystem::remove(folder.path() / "model.safetensors.index.json");
  const auto name = [&](const char* file) { return folder.path() / file; };
  std::filesystem::rename(name("one.safetensors"), name("model-00001-of-00002.safetensors"));
  EXPECT_THAT(folder_complaint(folder), HasSubstr("the model has 2 files, of which 1 are missing: "
                                                  "model-00002-of-00002.safetensors"));
  std::filesystem::copy(name("two.safetensors"), name("model-00002-of-00003.safetensors"));
  EXPECT_THAT(folder_complaint(folder), HasSubstr("holds parts of models of 2 and 3 files"));
  std::filesystem::rename(name("model-00002-of-00003.safetensors"),
                          name("model-00002-of-00002.safetensors"));
  EXPECT_EQ(folder_complaint(folder), "");
}

TEST(SafetensorsFolder, NamesEveryShardThatIsMissing) {
  TemporaryFolder folder;
  write_small_sharded_folder(folder);
  std::filesystem::remove(folder.path() / "two.safetensors");
  EXPECT_THAT(folder_complaint(folder),
              HasSubstr("names 2 files, of which 1 are missing: \"two.safetensors\""));
}

TEST(SafetensorsFolder, AnIndexMayNameATiedHeadThatIsNotStored) {
  TemporaryFolder folder;
  write_small_sharded_folder(folder);
  const auto map = [&](const char* name) {
    folder.write("model.safetensors.index.json",
                 std::string(R"({"weight_map": {")") + name +
                     R"(": "one.safetensors", "model.norm.weight": "two.safetensors",
                     "model.embed_tokens.weight": "one.safetensors"}})");
  };
  const auto tensors = small_mlx_tensors();
  folder.write("one.safetensors", safetensors_bytes({tensors.begin(), tensors.begin() + 3}));
  folder.write("two.safetensors", safetensors_bytes({tensors.begin() + 3, tensors.end()}));
  map("lm_head.weight");
  EXPECT_EQ(folder_complaint(folder), "");
  map("model.layers.9.mlp.up_proj.weight");
  EXPECT_THAT(folder_complaint(folder), HasSubstr("is missing, and the index says"));
  // Untied, the plan misses it.
  map("lm_head.weight");
  std::string config = small_mlx_config();
  const std::string tied = R"("tie_word_embeddings": true)";
  config.replace(config.find(tied), tied.size(), R"("tie_word_embeddings": false)");
  folder.write("config.json", config);
  EXPECT_THAT(folder_complaint(folder), HasSubstr("tensor \"lm_head.weight\" is missing"));
}

}  // namespace
}  // namespace mlxd
