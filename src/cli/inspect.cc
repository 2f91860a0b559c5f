#include <algorithm>
#include <cstdio>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/hub_models.h"
#include "cli/version.h"
#include "http/server.h"
#include "model/summary.h"
#include "models/local_models.h"

namespace mlxd {
namespace {

std::string mebibytes(std::size_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

// Of the file what is read where it lies, as tokens ask for it.
std::size_t mapped(const ModelFiles& files) {
  const auto& inputs = files.plan.layer_inputs;
  return inputs ? inputs->table.byte_size() : 0;
}

// With one sequence of so many tokens.
std::size_t needed(const ModelMemory& memory, int tokens) {
  return memory.weights + memory.buffers + memory.sequence(static_cast<std::size_t>(tokens));
}

// "24576 bytes a token" or "24576 bytes a token, and 24576 of each of the last 128".
std::string kv_in_words(const ModelMemory& memory) {
  std::string words;
  for (int windowed = 0; windowed < 2; ++windowed) {
    for (const KvGroup& group : memory.kv) {
      if ((group.window > 0) != (windowed == 1)) continue;
      const std::size_t bytes = group.block_bytes / static_cast<std::size_t>(memory.block_tokens);
      if (!words.empty()) words += ", and ";
      words += group.window == 0
                   ? fmt::format("{} bytes a token", bytes)
                   : fmt::format("{} bytes {} of the last {} tokens", bytes,
                                 words.empty() ? "for each" : "more for each", group.window);
    }
  }
  return words.empty() ? "none" : words;
}

boost::json::array windows_of(const ModelMemory& memory) {
  boost::json::array windows;
  for (const KvGroup& group : memory.kv) {
    if (group.window == 0) continue;
    windows.push_back({{"tokens", group.window},
                       {"kv_bytes_per_token",
                        group.block_bytes / static_cast<std::size_t>(memory.block_tokens)}});
  }
  return windows;
}

boost::json::object as_json(const ModelSummary& summary, const ModelFiles& files,
                            const ModelMemory& memory, const MemoryPlan& plan,
                            const EngineSettings& settings, std::size_t connections) {
  boost::json::array formats;
  for (const ModelSummary::Format& format : summary.formats) {
    formats.push_back(
        {{"name", format.name}, {"tensors", format.tensors}, {"bytes", format.bytes}});
  }
  boost::json::array warnings(plan.warnings.begin(), plan.warnings.end());
  return {{"path", files.path.string()},
          {"name", summary.name},
          {"architecture", summary.architecture},
          {"file_format", summary.file_format},
          {"fingerprint", summary.fingerprint},
          {"parameters", summary.parameters},
          {"layers", summary.layers},
          {"hidden_size", summary.hidden_size},
          {"heads", summary.heads},
          {"kv_heads", summary.kv_heads},
          {"head_dim", summary.head_dim},
          {"context_length", summary.context_length},
          {"vocab_size", summary.vocab_size},
          {"chat_template", summary.has_chat_template},
          {"formats", std::move(formats)},
          {"weight_bytes", memory.weights},
          {"mapped_bytes", mapped(files)},
          {"buffer_bytes", memory.buffers},
          {"kv_bytes_per_token", memory.kv_token()},
          {"kv_windows", windows_of(memory)},
          {"kv_cache_bytes", memory.kv_cache},
          {"kv_cache_tokens", kv_tokens(memory, settings)},
          {"state_bytes", memory.state},
          {"memory_bytes_full_context", needed(memory, summary.context_length)},
          {"available_bytes", plan.available},
          {"connection_bytes", connections},
          {"warnings", std::move(warnings)},
          {"refusal", plan.refusal}};
}

void print_line(const char* name, const std::string& value) {
  std::printf("%-18s %s\n", name, value.c_str());
}

void print_model(const ModelSummary& summary, const ModelFiles& files, const ModelMemory& memory,
                 const EngineSettings& settings) {
  print_line("file", files.path.string());
  if (!summary.name.empty()) print_line("name", summary.name);
  print_line("architecture", fmt::format("{} ({})", summary.architecture, summary.file_format));
  print_line("parameters",
             fmt::format("{:.1f} million", static_cast<double>(summary.parameters) / 1e6));
  print_line("shape",
             fmt::format("{} layers, hidden {}, {} heads over {} KV heads of {}", summary.layers,
                         summary.hidden_size, summary.heads, summary.kv_heads, summary.head_dim));
  print_line("context", fmt::format("{} tokens", summary.context_length));
  print_line("vocabulary", fmt::format("{} tokens", summary.vocab_size));
  print_line("chat template", summary.has_chat_template ? "yes"
                              : files.plan.encoder      ? "no: it generates no text"
                                                        : "no: /v1/completions only");
  if (const auto& pooled = files.plan.pooled) {
    print_line("whole texts", pooled->is_score ? "scores of pairs: /v1/rerank, /v1/score"
                                               : "embeddings: /v1/embeddings");
  }
  const char* label = "weights";
  for (const ModelSummary::Format& format : summary.formats) {
    print_line(label, fmt::format("{:<28} {:>4} tensors {:>12}", format.name, format.tensors,
                                  mebibytes(format.bytes)));
    label = "";
  }
  if (memory.kv_block == 0) {
    print_line("memory needed",
               fmt::format("{}: weights {}, buffers of steps at most {}; there is no KV cache",
                           mebibytes(needed(memory, 0)), mebibytes(memory.weights),
                           mebibytes(memory.buffers)));
    return;
  }
  print_line("memory needed", fmt::format("{} with 4,096 tokens of context, {} with all {}",
                                          mebibytes(needed(memory, 4096)),
                                          mebibytes(needed(memory, summary.context_length)),
                                          summary.context_length));
  print_line("", fmt::format("of it weights {}, buffers of steps at most {}",
                             mebibytes(memory.weights), mebibytes(memory.buffers)));
  if (mapped(files) > 0) {
    print_line("", fmt::format("{} more stay in the file, a row read for a token: the system keeps "
                               "in memory what it has room for",
                               mebibytes(mapped(files))));
  }
  print_line("KV cache", kv_in_words(memory));
  const std::size_t tokens = kv_tokens(memory, settings);
  print_line("",
             fmt::format("here it would get {}{}", mebibytes(memory.kv_cache),
                         tokens == 0 ? "" : fmt::format(", {} tokens of all sequences", tokens)));
  if (memory.state == 0) return;
  print_line("recurrent state", fmt::format("{} a sequence, and as much for each snapshot that the "
                                            "prefix cache keeps: half of the KV cache at most",
                                            mebibytes(memory.state)));
}

void print_plan(const MemoryPlan& plan, std::size_t connections) {
  print_line("available here",
             fmt::format("{}; weights and buffers would take {}, the KV cache up to {}",
                         mebibytes(plan.available), mebibytes(plan.weights_and_buffers()),
                         mebibytes(plan.kv_cache())));
  print_line("connections", fmt::format("at the very most {}, when all send what they may and wait",
                                        mebibytes(connections)));
  for (const std::string& warning : plan.warnings) print_line("warning", warning);
  if (!plan.refusal.empty()) print_line("would not start", plan.refusal);
}

}  // namespace

int run_inspect(const InspectSettings& settings) {
  std::vector<ModelSetting> names = listed_models(settings.models);
  if (names.empty()) throw StartupError(no_model_is_named("inspect"));
  locate_models(names, Missing::refuse);
  const LocalModels models(names, settings.engine, kVersion);
  const MemoryPlan& plan = models.memory();
  http::ServerOptions server;
  server.max_connections = settings.max_connections;
  const std::size_t connections = http::most_connection_bytes(server);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const ModelFiles& files = models.files(i);
    const ModelSummary summary = summarize(files);
    if (settings.json) {
      const auto object =
          as_json(summary, files, plan.models[i], plan, settings.engine, connections);
      std::printf("%s\n", boost::json::serialize(object).c_str());
    } else {
      print_model(summary, files, plan.models[i], settings.engine);
      std::printf("\n");
    }
  }
  if (!settings.json) print_plan(plan, connections);
  return 0;
}

}  // namespace mlxd
