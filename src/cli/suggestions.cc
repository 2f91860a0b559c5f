#include "cli/suggestions.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include <fmt/format.h>

namespace mlxd {
namespace {

// Letters to insert, remove, change or swap with their neighbour to make one of the other (the
// restricted Damerau-Levenshtein distance).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = a[i - 1] == b[j - 1];
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last.back();
}

// What an option of another server is called here. Names are separated by spaces.
struct Synonym {
  std::string_view theirs;
  std::string_view ours;       // the first of these that the command has; or
  std::string_view otherwise;  // what to say where it has none of them
};

constexpr std::string_view kInRequests = "each request says it, as a parameter of the API";
constexpr std::string_view kLeaveOut = "leave it out";

// llama.cpp's, vLLM's, SGLang's, Ollama's and mlx_lm's most common ones.
constexpr Synonym kSynonyms[] = {
    {"-c --ctx-size --ctx --n-ctx --n_ctx --num-ctx --num_ctx --context-length --context-size "
     "--max-model-len --max-seq-len --max-context --max-kv-size",
     "--context", ""},
    {"-t -tb --n-threads --num-threads --threads-batch", "--threads", ""},
    {"-np -npl --parallel --num-parallel --max-num-seqs --max-running-requests --max-batch-size",
     "--batch --max-running", ""},
    {"-b -ub --batch-size --ubatch-size --max-num-batched-tokens --chunked-prefill-size "
     "--prefill-step-size",
     "--step-tokens", ""},
    {"-ctk -ctv --cache-type-k --cache-type-v --kv-cache-dtype --kv-bits", "--kv-cache-type", ""},
    {"--gpu-memory-utilization --mem-fraction-static", "--max-memory-gb", ""},
    {"-hf -hfr -hff --hf-repo --hf-file", "",
     "a model of the hub is named with --model hf:OWNER/NAME:QUANT, which fetches it when it is "
     "not "
     "there"},
    {"--model-path --model_path --model-name --model-dir", "--model", ""},
    {"--models-dir --models --models-path", "--model-folder", ""},
    {"--sleep-idle-seconds --keep-alive --idle-timeout-seconds --ttl", "--model-ttl", ""},
    {"-a --served-model-name --model-id", "",
     "give the name with the model, as in --model NAME=FILE"},
    {"-ngl --n-gpu-layers --gpu-layers --n_gpu_layers -dev --device", "--backend", ""},
    {"--trust-remote-code", "", "leave it out, since a model's code is never run"},
    {"-fa --flash-attn -cb --cont-batching --continuous-batching --jinja --no-mmap --mlock "
     "--no-webui -cnv --conversation -i --interactive --interactive-first",
     "", kLeaveOut},
    {"--chat-template --chat-template-file", "", "the model's own template is used"},
    {"--draft --draft-max --draft-n --num-draft-tokens --speculative-num-draft-tokens",
     "--max-draft-tokens", ""},
    {"--enable-prefix-caching --no-enable-prefix-caching --disable-radix-cache --cache-prompt "
     "--no-cache-prompt",
     "--prefix-cache", kLeaveOut},
    {"--tool-call-parser", "--tool-parser", ""},
    {"--reasoning-format --think-parser", "--reasoning-parser", ""},
    {"--enable-auto-tool-choice --enable-reasoning", "", kLeaveOut},
    {"--slot-save-path --prompt-cache --kv-cache-dir", "--prefix-cache-dir", ""},
    {"-n --n-predict --predict --num-predict --max-new-tokens --max-tokens --n-gen",
     "--max-tokens --gen", kInRequests},
    {"--temp --temperature", "--temperature", kInRequests},
    {"--top-p --top-k --min-p --seed --repeat-penalty --repetition-penalty --presence-penalty "
     "--frequency-penalty --logit-bias",
     "", kInRequests},
    {"-p --prompt --n-prompt -f --file", "--prompt",
     "mlxd chat takes what you type, or standard input: echo Hello | mlxd chat FILE"},
    {"-sys --sys --system-prompt --system-message", "--system", kInRequests},
    {"-d --n-depth", "--depth", ""},
    {"-r --repetitions", "--repeat", ""},
    {"-o --output --output-format", "--json", ""},
    {"-to --timeout --request-timeout", "--timeout-chat", ""},
    {"--bind --listen --address --ip", "--host", ""},
    {"--allowed-origins --cors --cors-allow-origins --cors-origins", "--cors-origin", ""},
    {"--api-keys --api-key-file --token --auth-token", "--api-key", ""},
    {"-v --verbose --verbosity --debug --uvicorn-log-level", "--log-level", ""},
    {"--log-json --structured-logging", "--log-format", ""},
    {"--otlp-traces-endpoint --otlp --otel-endpoint", "--otlp-endpoint", ""},
};

constexpr Synonym kCommands[] = {
    {"generate cli talk repl", "chat", ""},
    {"start server api launch up", "serve", ""},
    {"show info", "inspect", ""},
    {"ls models", "list", ""},
    {"remove delete", "rm", ""},
    {"benchmark perf", "bench", ""},
    {"download fetch get", "pull", ""},
};

bool holds(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    const std::size_t space = std::min(words.find(' '), words.size());
    if (words.substr(0, space) == word) return true;
    words.remove_prefix(std::min(space + 1, words.size()));
  }
  return false;
}

// The first of `words` that is among the names; "" where none is.
std::string first_known(std::string_view words, std::span<const std::string> names) {
  while (!words.empty()) {
    const std::size_t space = std::min(words.find(' '), words.size());
    const std::string_view word = words.substr(0, space);
    if (std::ranges::find(names, word) != names.end()) return std::string(word);
    words.remove_prefix(std::min(space + 1, words.size()));
  }
  return "";
}

std::string hint(std::string_view typed, std::span<const std::string> names,
                 std::span<const Synonym> synonyms) {
  for (const Synonym& synonym : synonyms) {
    if (!holds(synonym.theirs, typed)) continue;
    const std::string ours = first_known(synonym.ours, names);
    if (!ours.empty()) return fmt::format("; here it is {}", ours);
    if (!synonym.otherwise.empty()) return fmt::format(": {}", synonym.otherwise);
  }
  const std::string near = nearest(typed, names);
  return near.empty() ? "" : fmt::format("; did you mean {}?", near);
}

}  // namespace

std::string nearest(std::string_view typed, std::span<const std::string> names) {
  std::string best;
  // A third of the letters may be wrong: beyond that it is another word.
  std::size_t least = typed.size() / 3 + 1;
  for (const std::string& name : names) {
    const std::size_t changes = distance(typed, name);
    if (changes >= least) continue;
    least = changes;
    best = name;
  }
  return best;
}

std::string hint_for_option(std::string_view typed, std::span<const std::string> options) {
  return hint(typed, options, kSynonyms);
}

std::string hint_for_command(std::string_view typed, std::span<const std::string> commands) {
  std::error_code failed;
  if (typed.ends_with(".gguf") || std::filesystem::exists(typed, failed)) {
    return fmt::format(": mlxd serve {0} serves that model, mlxd chat {0} talks to it", typed);
  }
  return hint(typed, commands, kCommands);
}

}  // namespace mlxd
