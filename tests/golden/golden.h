// golden: logits that something else computed (the scripts beside this file), and the comparison of
// any ModelRunner with them. A test compiles golden.cc into itself.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/model_runner.h"

namespace mlxd::golden {

// What is known of one row of a prompt: the most likely tokens and the log-sum-exp of its logits.
struct Row {
  int row = 0;  // index of the token after which the logits were taken
  double logsumexp = 0;
  std::vector<int> ids;          // most likely first
  std::vector<double> logprobs;  // of ids, under the full softmax
};

struct Prompt {
  std::vector<int> tokens;
  std::vector<Row> rows;  // ascending
};

struct Fixture {
  std::string name;
  std::filesystem::path model;  // the .gguf file or the folder
  std::vector<Prompt> prompts;
};

// "smollm2", "smollm2-4bit", "smollm2-8bit", "qwen2", "gemma3": models of MLXD_TEST_MODELS.
Fixture load_real(const std::string& name);
// A committed tiny model: one of the folders or .gguf files below.
Fixture load_tiny(const std::string& name);

// Every architecture and what it can differ in, in floats.
inline constexpr const char* kTinyFloats[] = {"dots1",          "gemma3",
                                              "gemma4",         "gemma4-moe",
                                              "gemma4-shared",  "glm4-moe",
                                              "granite",        "llama3",
                                              "minimax-m2",     "ministral3",
                                              "mistral",        "mixtral",
                                              "olmo2",          "olmo3",
                                              "olmoe",          "phi3",
                                              "phi3-longrope",  "qwen2",
                                              "qwen3",          "qwen3-5",
                                              "qwen3-5-moe",    "qwen3-moe",
                                              "seed-oss",       "smollm3",
                                              "gpt-oss",        "granitemoe",
                                              "ernie4-5",       "ernie4-5-moe",
                                              "exaone4",        "exaone4-windows",
                                              "glm4-moe-lite",  "deepseek-v2",
                                              "deepseek-v3",    "mistral4",
                                              "lfm2",           "lfm2-moe",
                                              "granite-hybrid", "granite-hybrid-dense",
                                              "nemotron-h",     "nemotron-h-moe",
                                              "qwen3-next",     "gemma2",
                                              "glm4",           "qwen2-moe"};
// The same weights as llama.cpp names and orders them.
inline constexpr const char* kTinyGguf[] = {"dots1.gguf",
                                            "gemma4.gguf",
                                            "gemma4-moe.gguf",
                                            "gemma4-shared.gguf",
                                            "glm4-moe.gguf",
                                            "granite.gguf",
                                            "minimax-m2.gguf",
                                            "ministral3.gguf",
                                            "mixtral.gguf",
                                            "olmo2.gguf",
                                            "olmo3.gguf",
                                            "olmoe.gguf",
                                            "phi3-longrope.gguf",
                                            "phi3.gguf",
                                            "qwen3-5-moe.gguf",
                                            "qwen3-5.gguf",
                                            "qwen3-moe.gguf",
                                            "seed-oss.gguf",
                                            "smollm3.gguf",
                                            "gpt-oss.gguf",
                                            "granitemoe.gguf",
                                            "ernie4-5.gguf",
                                            "ernie4-5-moe.gguf",
                                            "exaone4.gguf",
                                            "glm4-moe-lite.gguf",
                                            "deepseek-v3.gguf",
                                            "mistral4.gguf",
                                            "lfm2.gguf",
                                            "lfm2-moe.gguf",
                                            "granite-hybrid.gguf",
                                            "granite-hybrid-dense.gguf",
                                            "nemotron-h.gguf",
                                            "nemotron-h-moe.gguf",
                                            "qwen3-next.gguf",
                                            "gemma2.gguf",
                                            "glm4.gguf",
                                            "qwen2-moe.gguf"};
// Those in MLX's quantised form whose logits a small difference of activations changes little.
inline constexpr const char* kTinyAffine[] = {"gemma4-4bit", "llama-4bit",     "phi3-4bit",
                                              "qwen3-mixed", "qwen3-moe-4bit", "kimi-4bit"};

// And those whose recurrent layers make much of it: a delta net's heads are normed, so that what a
// head holds of a text's first tokens, nearly nothing, becomes as large as any other.
inline constexpr const char* kTinyAffineRecurrent[] = {"qwen3-5-4bit", "lfm2-4bit",
                                                       "granite-hybrid-4bit", "qwen3-next-4bit"};

// MLX's modes of small floats.
inline constexpr const char* kTinySmallFloats[] = {"llama-small-floats", "gpt-oss-mxfp4",
                                                   "gpt-oss-openai"};
// A Llama whose matrices are of many GGUF types.
inline constexpr const char* kTinyTypes[] = {"gguf-types.gguf"};

// A name of those as GoogleTest allows it.
std::string test_name(const char* model);

// How prompts are cut into steps; a ModelRunner's logits must not depend on it.
struct Schedule {
  int together = 1;               // sequences in a batch
  int chunk = 512;                // rows of one sequence in a step
  bool scattered_blocks = false;  // block tables that jump about instead of running on
};

// Logits of the fixture's rows of each prompt: [prompts][rows of the prompt * vocab_size].
std::vector<std::vector<float>> run(ModelRunner& runner, std::span<const Prompt> prompts,
                                    const Schedule& schedule = {});

// How far a runner is from the fixture. The divergence KL(golden || runner) is taken over the
// listed tokens and one more event for all others, so it is a close lower bound of the true one.
struct Difference {
  int rows = 0;
  int same_top = 0;            // rows with the same most likely token
  double largest_logprob = 0;  // largest |difference| at a listed token
  double largest_logsumexp = 0;
  double mean_divergence = 0, median_divergence = 0, largest_divergence = 0;  // nats
};

Difference compare(std::span<const Prompt> prompts, std::span<const std::vector<float>> logits,
                   int vocab_size);
Difference compare(ModelRunner& runner, std::span<const Prompt> prompts,
                   const Schedule& schedule = {});

// The largest |a - b|; shapes must agree.
double largest_difference(std::span<const std::vector<float>> a,
                          std::span<const std::vector<float>> b);

std::ostream& operator<<(std::ostream& out, const Difference& difference);

}  // namespace mlxd::golden
