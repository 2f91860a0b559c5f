// Hostile model files: thousands of seeded mutations, each of which must load or be refused with a
// LoadError. MLXD_FUZZ_RUNS sets how many runs each test makes; a sanitizer build is the judge.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/architectures/registry.h"
#include "model/config_reader.h"
#include "model/model_files.h"
#include "model/sample_models.h"
#include "model/summary.h"
#include "model/vocabulary_reader.h"
#include "model/weights/gguf_weights.h"

namespace mlxd {
namespace {

int runs(int usual) {
  const char* setting = std::getenv("MLXD_FUZZ_RUNS");
  return setting == nullptr ? usual : std::atoi(setting);
}

using Bytes = std::vector<std::byte>;

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }

  // One to four changes within the first `reach` bytes, and at times a change of length.
  void mutate(Bytes& bytes, std::size_t reach) {
    for (std::size_t left = 1 + below(4); left > 0 && !bytes.empty(); --left) {
      change(bytes, std::min(reach, bytes.size()));
    }
  }

  // Overwrites in place, so that a large file need not be copied.
  void overwrite(std::span<std::byte> bytes) {
    const std::size_t at = below(bytes.size());
    switch (below(5)) {
      case 0:
        bytes[at] ^= static_cast<std::byte>(1u << below(8));
        break;
      case 1:
        bytes[at] = static_cast<std::byte>(random_());
        break;
      case 2:
        put(bytes, at, interesting());
        break;
      case 3:
        put(bytes, at, static_cast<std::uint32_t>(below(44)));  // a type id
        break;
      default:
        put(bytes, at, static_cast<std::uint32_t>(interesting()));
    }
  }

 private:
  template <class T>
  static void put(std::span<std::byte> bytes, std::size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, std::min(sizeof value, bytes.size() - at));
  }

  std::uint64_t interesting() {
    static constexpr std::uint64_t kValues[] = {0,
                                                1,
                                                31,
                                                255,
                                                0x7fffffff,
                                                0x80000000,
                                                0xffffffff,
                                                std::uint64_t{1} << 32,
                                                std::uint64_t{1} << 48,
                                                std::uint64_t{1} << 61,
                                                std::uint64_t{1} << 63,
                                                ~std::uint64_t{0},
                                                ~std::uint64_t{0} - 31,
                                                ~std::uint64_t{0} >> 1};
    return kValues[below(std::size(kValues))];
  }

  void change(Bytes& bytes, std::size_t reach) {
    const auto position = [&](std::size_t at) {
      return bytes.begin() + static_cast<std::ptrdiff_t>(at);
    };
    switch (below(8)) {
      case 0:
        bytes.resize(below(bytes.size()));
        break;
      case 1: {
        const std::size_t from = below(reach),
                          count = below(std::min<std::size_t>(reach - from, 64));
        bytes.erase(position(from), position(from + count));
        break;
      }
      case 2: {  // a stretch copied elsewhere: swapped fields, repeated entries
        const std::size_t from = below(reach),
                          count = below(std::min<std::size_t>(reach - from, 96));
        const Bytes part(position(from), position(from + count));
        bytes.insert(position(below(reach)), part.begin(), part.end());
        break;
      }
      default:
        overwrite(std::span(bytes).first(reach));
    }
  }

  std::mt19937 random_;
};

// Everything a GGUF header is used for, and the first row of every tensor.
void use_gguf(std::span<const std::byte> bytes) {
  const auto file = GgufFile::parse(bytes, "mutated.gguf");
  const auto weights = gguf_weights({file});
  for (const Tensor& tensor : weights->all()) {
    if (tensor.columns > 1 << 20) continue;
    std::vector<float> row(static_cast<std::size_t>(tensor.columns));
    dequantize_rows(tensor, tensor.rows - 1, 1, row);
  }
  make_plan(read_gguf_config(*file, *weights), weights);
  read_gguf_vocabulary(*file);
}

// Runs it, and says whether it loaded; anything but a LoadError is the test's failure.
bool loads(const std::function<void()>& load) {
  try {
    load();
    return true;
  } catch (const LoadError&) {
    return false;
  }
}

TEST(ModelFuzz, MutatedGgufLoadsOrIsRefused) {
  const Bytes whole = test::small_gguf().bytes();
  const std::size_t header = GgufFile::parse(whole, "small.gguf")->header().size();
  Mutator mutator(1);
  int loaded = 0, refused = 0;
  for (int run = 0; run < runs(5000); ++run) {
    Bytes mutated = whole;
    mutator.mutate(mutated, header);
    mutated.shrink_to_fit();  // so that a read past the end is one past the allocation
    loads([&] { use_gguf(mutated); }) ? ++loaded : ++refused;
  }
  RecordProperty("loaded", loaded);
  RecordProperty("refused", refused);
  EXPECT_GT(refused, loaded);
}

TEST(ModelFuzz, MutatedRealHeaderLoadsOrIsRefused) {
  const auto path = std::filesystem::path(MLXD_TEST_MODELS) / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const auto mapped = MappedFile::open(path);
  Bytes bytes(mapped->bytes().begin(), mapped->bytes().end());
  const std::size_t header = GgufFile::parse(bytes, "real.gguf")->header().size();
  const Bytes original(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(header));
  Mutator mutator(2);
  for (int run = 0; run < runs(100); ++run) {
    // Most of the header is token strings; the rest is what decides.
    const auto whole = std::span(bytes).first(header);
    const auto parts = {whole, whole.first(1200), whole.last(20000)};
    mutator.overwrite(parts.begin()[mutator.below(parts.size())]);
    loads([&] {
      const auto file = GgufFile::parse(bytes, "real.gguf");
      const auto weights = gguf_weights({file});
      make_plan(read_gguf_config(*file, *weights), weights);
      if (run % 8 == 0) read_gguf_vocabulary(*file);  // copies 100,000 strings: not every time
    });
    std::copy(original.begin(), original.end(), bytes.begin());
  }
}

// Half of the runs change the first of these files, the others any.
void fuzz_folder(const test::TemporaryFolder& folder, std::span<const char* const> names,
                 unsigned seed, int usual_runs = 500) {
  std::vector<Bytes> originals;
  for (const char* name : names) {
    const auto mapped = MappedFile::open(folder.path() / name);
    originals.emplace_back(mapped->bytes().begin(), mapped->bytes().end());
  }
  const auto write = [&](std::size_t index, const Bytes& bytes) {
    folder.write(names[index],
                 std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  };
  const auto load = [&] { return loads([&] { summarize(open_model(folder.path())); }); };
  ASSERT_TRUE(load());
  Mutator mutator(seed);
  int refused = 0;
  for (int run = 0; run < runs(usual_runs); ++run) {
    const std::size_t index = mutator.below(2) == 0 ? 0 : mutator.below(names.size());
    Bytes mutated = originals[index];
    mutator.mutate(mutated, 7000);  // the header of safetensors, the whole of the others
    write(index, mutated);
    refused += !load();
    write(index, originals[index]);
  }
  EXPECT_GT(refused, 0);
}

TEST(ModelFuzz, MutatedFolderLoadsOrIsRefused) {
  test::TemporaryFolder folder;
  test::write_small_folder(folder);
  const char* const kFiles[] = {"model.safetensors", "config.json", "tokenizer_config.json",
                                "generation_config.json", "tokenizer.json"};
  fuzz_folder(folder, kFiles, 3);
}

// What each architecture's own file reads.
TEST(ModelFuzz, MutatedConfigOfEveryArchitectureLoadsOrIsRefused) {
  const std::filesystem::path tiny = std::filesystem::path(MLXD_TEST_DATA) / "golden/tiny";
  for (const char* name :
       {"gemma3",         "gemma4-moe",     "gemma4-shared",  "granite",
        "ministral3",     "olmo2",          "olmo3",          "phi3",
        "phi3-longrope",  "qwen2",          "smollm3",        "llama-small-floats",
        "gpt-oss-openai", "granitemoe",     "ernie4-5-moe",   "exaone4-windows",
        "lfm2-moe",       "granite-hybrid", "nemotron-h-moe", "qwen3-next",
        "deepseek-v2",    "glm4-moe-lite",  "mistral4"}) {
    SCOPED_TRACE(name);
    test::TemporaryFolder folder;
    std::filesystem::copy(tiny / name, folder.path());
    const char* const kFiles[] = {"config.json"};
    fuzz_folder(folder, kFiles, 5, 100);
  }
}

TEST(ModelFuzz, MutatedGgufOfEveryArchitectureLoadsOrIsRefused) {
  const std::filesystem::path tiny = std::filesystem::path(MLXD_TEST_DATA) / "golden/tiny";
  for (const char* name :
       {"granite.gguf",        "ministral3.gguf", "olmo3.gguf",         "phi3-longrope.gguf",
        "smollm3.gguf",        "bert.gguf",       "bert-cross.gguf",    "gguf-types.gguf",
        "qwen3-5-moe.gguf",    "glm4-moe.gguf",   "gemma4-shared.gguf", "gemma4-moe.gguf",
        "gpt-oss.gguf",        "exaone4.gguf",    "lfm2-moe.gguf",      "granite-hybrid.gguf",
        "nemotron-h-moe.gguf", "qwen3-next.gguf", "deepseek-v3.gguf",   "nomic-bert.gguf",
        "modernbert.gguf",     "xlm-roberta.gguf"}) {
    SCOPED_TRACE(name);
    const auto mapped = MappedFile::open(tiny / name);
    const Bytes whole(mapped->bytes().begin(), mapped->bytes().end());
    // Numbers come first; the rest of the header is the vocabulary and names.
    const std::size_t numbers = 1500;
    Mutator mutator(6);
    int refused = 0;
    for (int run = 0; run < runs(500); ++run) {
      Bytes mutated = whole;
      mutator.mutate(mutated, numbers);
      mutated.shrink_to_fit();
      refused += !loads([&] { use_gguf(mutated); });
    }
    EXPECT_GT(refused, 0);
  }
}

TEST(ModelFuzz, MutatedFilesOfModelsThatEmbedLoadOrAreRefused) {
  const std::filesystem::path tiny = std::filesystem::path(MLXD_TEST_DATA) / "golden/tiny";
  for (const char* name :
       {"bert", "bert-cross", "xlm-roberta", "qwen3-embed", "nomic-bert", "modernbert"}) {
    SCOPED_TRACE(name);
    test::TemporaryFolder folder;
    std::filesystem::copy(tiny / name, folder.path(), std::filesystem::copy_options::recursive);
    std::vector<const char*> files = {"config.json"};
    if (std::filesystem::exists(tiny / name / "modules.json")) {
      files.insert(files.end(), {"modules.json", "1_Pooling/config.json"});
    }
    fuzz_folder(folder, files, 8, 200);
  }
}

TEST(ModelFuzz, MutatedIndexAndShardsLoadOrAreRefused) {
  test::TemporaryFolder folder;
  test::write_small_sharded_folder(folder);
  const char* const kFiles[] = {"model.safetensors.index.json", "one.safetensors",
                                "two.safetensors", "config.json"};
  fuzz_folder(folder, kFiles, 4);
}

TEST(ModelFuzz, MutatedPartsLoadOrAreRefused) {
  test::TemporaryFolder folder;
  const auto paths = test::write_parts(folder, "small", test::small_gguf().split(3));
  std::vector<Bytes> originals;
  for (const auto& path : paths) {
    const auto mapped = MappedFile::open(path);
    originals.emplace_back(mapped->bytes().begin(), mapped->bytes().end());
  }
  const auto write = [&](std::size_t index, const Bytes& bytes) {
    folder.write(paths[index].filename().string(),
                 std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  };
  const auto load = [&] { return loads([&] { summarize(open_model(paths[0])); }); };
  ASSERT_TRUE(load());
  Mutator mutator(5);
  int refused = 0;
  for (int run = 0; run < runs(500); ++run) {
    const std::size_t index = mutator.below(paths.size());
    Bytes mutated = originals[index];
    mutator.mutate(mutated, 1200);  // the header of the later parts, the settings of the first
    write(index, mutated);
    refused += !load();
    write(index, originals[index]);
  }
  EXPECT_GT(refused, 0);
}

// The files that name tokens beside tokenizer.json, with one that knows them all.
TEST(ModelFuzz, MutatedTokenFilesLoadOrAreRefused) {
  test::TemporaryFolder folder;
  test::write_small_folder(folder);
  folder.write("added_tokens.json", R"({"<x>": 7, "<y>": 6})");
  folder.write("special_tokens_map.json",
               R"({"eos_token": {"content": "<x>", "lstrip": false}, "pad_token": "<y>",
                   "additional_special_tokens": ["<z>", {"content": "<w>"}]})");
  const char* const kLegacy[] = {"added_tokens.json", "special_tokens_map.json",
                                 "tokenizer_config.json"};
  fuzz_folder(folder, kLegacy, 6);
  folder.write("tokenizer_config.json",
               R"({"added_tokens_decoder": {"7": {"content": "<|end|>", "special": true,
                   "rstrip": true, "normalized": false}}, "eos_token": "<|end|>",
                   "extra_special_tokens": {"image_token": "<i>"}, "unk_token": null})");
  const char* const kListed[] = {"tokenizer_config.json"};
  fuzz_folder(folder, kListed, 7);
}

}  // namespace
}  // namespace mlxd
