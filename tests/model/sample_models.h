#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace mlxd::test {

// Writes a GGUF file into memory, entry by entry; nothing is checked, so that a test can be wrong.
class GgufWriter {
 public:
  GgufWriter& number(const std::string& key, std::uint32_t value);
  GgufWriter& real(const std::string& key, float value);
  GgufWriter& text(const std::string& key, const std::string& value);
  GgufWriter& boolean(const std::string& key, bool value);
  GgufWriter& integers(const std::string& key, const std::vector<std::int32_t>& values);
  GgufWriter& texts(const std::string& key, const std::vector<std::string>& values);
  // Dimensions innermost first, as the format has them. The data is zeros.
  GgufWriter& tensor(const std::string& name, std::uint32_t type,
                     const std::vector<std::uint64_t>& dimensions, std::size_t bytes);
  std::vector<std::byte> bytes() const;
  // The same model in `count` parts, as llama-gguf-split writes them.
  std::vector<GgufWriter> split(std::size_t count) const;

 private:
  struct Entry {
    std::string name;
    std::uint32_t type;
    std::vector<std::uint64_t> dimensions;
    std::size_t bytes;
  };
  std::string metadata_;
  std::uint64_t metadata_count_ = 0;
  std::vector<Entry> tensors_;
};

// A Llama of two layers, hidden size 64, vocabulary of 8, in F32, Q8_0 and Q4_0.
GgufWriter small_gguf();

// Writes the parts as <stem>-00001-of-0000N.gguf; the paths.
class TemporaryFolder;
std::vector<std::filesystem::path> write_parts(const TemporaryFolder& folder,
                                               const std::string& stem,
                                               const std::vector<GgufWriter>& parts);

// A safetensors file of tensors (name, dtype, shape, bytes of data), zeros inside.
struct StoredTensor {
  std::string name, dtype;
  std::vector<std::int64_t> shape;
};
std::string safetensors_bytes(const std::vector<StoredTensor>& tensors);

// The tensors of a Llama of two layers as mlx-lm writes them: 4-bit matrices in groups of 32.
std::vector<StoredTensor> small_mlx_tensors();
// Its config.json.
std::string small_mlx_config();

// A folder of its own below the system's temporary folder, removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& contents) const;

 private:
  std::filesystem::path path_;
};

// The small MLX model as a folder: config.json, model.safetensors, tokenizer.json and its config.
void write_small_folder(const TemporaryFolder& folder);
// The same with its weights in one.safetensors and two.safetensors, and their index.
void write_small_sharded_folder(const TemporaryFolder& folder);

}  // namespace mlxd::test
