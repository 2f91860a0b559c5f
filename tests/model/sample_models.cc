#include "model/sample_models.h"

#include <atomic>
#include <cstring>
#include <fstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

namespace mlxd::test {
namespace {

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

void put_text(std::string& out, const std::string& text) {
  put<std::uint64_t>(out, text.size());
  out += text;
}

constexpr std::size_t kAlignment = 32;

std::size_t padded(std::size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

GgufWriter& GgufWriter::number(const std::string& key, std::uint32_t value) {
  put_text(metadata_, key);
  put<std::uint32_t>(metadata_, 4);
  put(metadata_, value);
  ++metadata_count_;
  return *this;
}

GgufWriter& GgufWriter::real(const std::string& key, float value) {
  put_text(metadata_, key);
  put<std::uint32_t>(metadata_, 6);
  put(metadata_, value);
  ++metadata_count_;
  return *this;
}

GgufWriter& GgufWriter::text(const std::string& key, const std::string& value) {
  put_text(metadata_, key);
  put<std::uint32_t>(metadata_, 8);
  put_text(metadata_, value);
  ++metadata_count_;
  return *this;
}

GgufWriter& GgufWriter::boolean(const std::string& key, bool value) {
  put_text(metadata_, key);
  put<std::uint32_t>(metadata_, 7);
  put<std::uint8_t>(metadata_, value ? 1 : 0);
  ++metadata_count_;
  return *this;
}

GgufWriter& GgufWriter::integers(const std::string& key, const std::vector<std::int32_t>& values) {
  put_text(metadata_, key);
  put<std::uint32_t>(metadata_, 9);
  put<std::uint32_t>(metadata_, 5);
  put<std::uint64_t>(metadata_, values.size());
  for (const std::int32_t value : values) put(metadata_, value);
  ++metadata_count_;
  return *this;
}

GgufWriter& GgufWriter::texts(const std::string& key, const std::vector<std::string>& values) {
  put_text(metadata_, key);
  put<std::uint32_t>(metadata_, 9);
  put<std::uint32_t>(metadata_, 8);
  put<std::uint64_t>(metadata_, values.size());
  for (const std::string& value : values) put_text(metadata_, value);
  ++metadata_count_;
  return *this;
}

GgufWriter& GgufWriter::tensor(const std::string& name, std::uint32_t type,
                               const std::vector<std::uint64_t>& dimensions, std::size_t bytes) {
  tensors_.push_back({name, type, dimensions, bytes});
  return *this;
}

std::vector<std::byte> GgufWriter::bytes() const {
  std::string out = "GGUF";
  put<std::uint32_t>(out, 3);
  put<std::uint64_t>(out, tensors_.size());
  put<std::uint64_t>(out, metadata_count_);
  out += metadata_;
  std::size_t offset = 0;
  for (const Entry& each : tensors_) {
    put_text(out, each.name);
    put(out, static_cast<std::uint32_t>(each.dimensions.size()));
    for (const std::uint64_t extent : each.dimensions) put(out, extent);
    put(out, each.type);
    put<std::uint64_t>(out, offset);
    offset += padded(each.bytes);
  }
  out.resize(padded(out.size()) + offset);
  const auto* data = reinterpret_cast<const std::byte*>(out.data());
  return {data, data + out.size()};
}

std::vector<GgufWriter> GgufWriter::split(std::size_t count) const {
  std::vector<GgufWriter> parts(count);
  parts[0].metadata_ = metadata_;
  parts[0].metadata_count_ = metadata_count_;
  for (std::size_t part = 0; part < count; ++part) {
    parts[part]
        .number("split.no", static_cast<std::uint32_t>(part))
        .number("split.count", static_cast<std::uint32_t>(count))
        .number("split.tensors.count", static_cast<std::uint32_t>(tensors_.size()));
  }
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    parts[i * count / tensors_.size()].tensors_.push_back(tensors_[i]);
  }
  return parts;
}

std::vector<std::filesystem::path> write_parts(const TemporaryFolder& folder,
                                               const std::string& stem,
                                               const std::vector<GgufWriter>& parts) {
  std::vector<std::filesystem::path> paths;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto bytes = parts[i].bytes();
    paths.push_back(folder.write(fmt::format("{}-{:05}-of-{:05}.gguf", stem, i + 1, parts.size()),
                                 {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  return paths;
}

GgufWriter small_gguf() {
  constexpr std::uint32_t kF32 = 0, kQ4_0 = 2, kQ8_0 = 8;
  GgufWriter writer;
  writer.text("general.architecture", "llama")
      .text("general.name", "Small")
      .number("llama.block_count", 2)
      .number("llama.context_length", 128)
      .number("llama.embedding_length", 64)
      .number("llama.feed_forward_length", 96)
      .number("llama.attention.head_count", 4)
      .number("llama.attention.head_count_kv", 2)
      .real("llama.rope.freq_base", 10000)
      .real("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", "smollm")
      .texts("tokenizer.ggml.tokens", {"<s>", "</s>", "a", "b", "c", "ab", "bc", "abc"})
      .texts("tokenizer.ggml.merges", {"a b", "b c", "ab c"})
      .number("tokenizer.ggml.bos_token_id", 0)
      .number("tokenizer.ggml.eos_token_id", 1)
      .number("tokenizer.ggml.eot_token_id", 7)
      .tensor("token_embd.weight", kQ8_0, {64, 8}, 8 * 68)
      .tensor("output_norm.weight", kF32, {64}, 256);
  for (int layer = 0; layer < 2; ++layer) {
    const auto name = [layer](const char* part) { return fmt::format("blk.{}.{}", layer, part); };
    writer.tensor(name("attn_norm.weight"), kF32, {64}, 256)
        .tensor(name("attn_q.weight"), kQ4_0, {64, 64}, 64 * 36)
        .tensor(name("attn_k.weight"), kQ4_0, {64, 32}, 32 * 36)
        .tensor(name("attn_v.weight"), kQ4_0, {64, 32}, 32 * 36)
        .tensor(name("attn_output.weight"), kQ4_0, {64, 64}, 64 * 36)
        .tensor(name("ffn_norm.weight"), kF32, {64}, 256)
        .tensor(name("ffn_gate.weight"), kQ4_0, {64, 96}, 96 * 36)
        .tensor(name("ffn_up.weight"), kQ4_0, {64, 96}, 96 * 36)
        .tensor(name("ffn_down.weight"), kQ4_0, {96, 64}, 64 * 54);
  }
  return writer;
}

std::string safetensors_bytes(const std::vector<StoredTensor>& tensors) {
  std::string header = R"({"__metadata__":{"format":"mlx"})";
  std::size_t offset = 0;
  for (const StoredTensor& each : tensors) {
    std::size_t size = each.dtype == "U8" ? 1 : each.dtype == "F16" || each.dtype == "BF16" ? 2 : 4;
    for (const std::int64_t extent : each.shape) size *= static_cast<std::size_t>(extent);
    header += fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                          each.name, each.dtype, fmt::join(each.shape, ","), offset, offset + size);
    offset += size;
  }
  header += "}";
  std::string out;
  put<std::uint64_t>(out, header.size());
  out += header;
  out.resize(out.size() + offset);
  return out;
}

std::vector<StoredTensor> small_mlx_tensors() {
  std::vector<StoredTensor> tensors;
  const auto norm = [&](const std::string& name) {
    tensors.push_back({name + ".weight", "BF16", {64}});
  };
  const auto matrix = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    tensors.push_back({name + ".weight", "U32", {rows, columns / 8}});
    tensors.push_back({name + ".scales", "BF16", {rows, columns / 32}});
    tensors.push_back({name + ".biases", "BF16", {rows, columns / 32}});
  };
  matrix("model.embed_tokens", 8, 64);
  norm("model.norm");
  for (int layer = 0; layer < 2; ++layer) {
    const auto name = [layer](const char* part) {
      return fmt::format("model.layers.{}.{}", layer, part);
    };
    norm(name("input_layernorm"));
    matrix(name("self_attn.q_proj"), 64, 64);
    matrix(name("self_attn.k_proj"), 32, 64);
    matrix(name("self_attn.v_proj"), 32, 64);
    matrix(name("self_attn.o_proj"), 64, 64);
    norm(name("post_attention_layernorm"));
    matrix(name("mlp.gate_proj"), 96, 64);
    matrix(name("mlp.up_proj"), 96, 64);
    matrix(name("mlp.down_proj"), 64, 96);
  }
  return tensors;
}

std::string small_mlx_config() {
  return R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
    "vocab_size": 8, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "tie_word_embeddings": true, "eos_token_id": 1, "bos_token_id": 0,
    "quantization": {"group_size": 32, "bits": 4}})";
}

TemporaryFolder::TemporaryFolder() {
  static std::atomic<int> count = 0;
  path_ = std::filesystem::temp_directory_path() /
          fmt::format("mlxd-model-test-{}-{}", ::getpid(), count++);
  std::filesystem::create_directories(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::filesystem::path TemporaryFolder::write(const std::string& name,
                                             const std::string& contents) const {
  const auto path = path_ / name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << contents;
  return path;
}

void write_small_folder(const TemporaryFolder& folder) {
  folder.write("config.json", small_mlx_config());
  folder.write("model.safetensors", safetensors_bytes(small_mlx_tensors()));
  folder.write("tokenizer.json",
               R"({"added_tokens": [{"id": 7, "content": "<|end|>"}], "model": {"type": "BPE"}})");
  folder.write(
      "tokenizer_config.json",
      R"({"eos_token": {"content": "<|end|>"}, "bos_token": "<s>", "chat_template": "T"})");
  folder.write("generation_config.json", R"({"eos_token_id": [1, 6]})");
}

void write_small_sharded_folder(const TemporaryFolder& folder) {
  write_small_folder(folder);
  std::filesystem::remove(folder.path() / "model.safetensors");
  const auto tensors = small_mlx_tensors();
  const auto middle = tensors.begin() + 7;
  folder.write("one.safetensors", safetensors_bytes({tensors.begin(), middle}));
  folder.write("two.safetensors", safetensors_bytes({middle, tensors.end()}));
  std::string map;
  for (auto each = tensors.begin(); each != tensors.end(); ++each) {
    map += (map.empty() ? "\"" : ",\"") + each->name + "\":\"" + (each < middle ? "one" : "two") +
           ".safetensors\"";
  }
  folder.write("model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
}

}  // namespace mlxd::test
