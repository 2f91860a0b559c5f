#include <algorithm>
#include <cstdio>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "cli/cli.h"
#include "cli/memory_plan.h"
#include "model/model_files.h"
#include "model/model_lookup.h"
#include "model/summary.h"

namespace mlxd {
namespace {

std::string mebibytes(std::size_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

boost::json::object as_json(const ModelSummary& summary, const ModelFiles& files,
                            const MemoryPlan& plan) {
  boost::json::array formats;
  for (const ModelSummary::Format& format : summary.formats) {
    formats.push_back(
        {{"name", format.name}, {"tensors", format.tensors}, {"bytes", format.bytes}});
  }
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
          {"weight_bytes", summary.weight_bytes},
          {"kv_bytes_per_token", summary.kv_bytes_per_token},
          {"memory_bytes_full_context", summary.memory_for(summary.context_length)},
          {"buffer_bytes", plan.buffers},
          {"available_bytes", plan.available},
          {"kv_cache_bytes", plan.kv_cache}};
}

void print(const ModelSummary& summary, const ModelFiles& files, const MemoryPlan& plan) {
  const auto line = [](const char* name, const std::string& value) {
    std::printf("%-18s %s\n", name, value.c_str());
  };
  line("file", files.path.string());
  if (!summary.name.empty()) line("name", summary.name);
  line("architecture", fmt::format("{} ({})", summary.architecture, summary.file_format));
  line("parameters", fmt::format("{:.1f} million", static_cast<double>(summary.parameters) / 1e6));
  line("shape",
       fmt::format("{} layers, hidden {}, {} heads over {} KV heads of {}", summary.layers,
                   summary.hidden_size, summary.heads, summary.kv_heads, summary.head_dim));
  line("context", fmt::format("{} tokens", summary.context_length));
  line("vocabulary", fmt::format("{} tokens", summary.vocab_size));
  line("chat template", summary.has_chat_template ? "yes" : "no: /v1/completions only");
  const char* label = "weights";
  for (const ModelSummary::Format& format : summary.formats) {
    line(label, fmt::format("{:<28} {:>4} tensors {:>12}", format.name, format.tensors,
                            mebibytes(format.bytes)));
    label = "";
  }
  line("KV cache", fmt::format("{} bytes a token at 16 bits", summary.kv_bytes_per_token));
  const auto needed = [&](int tokens) {
    return mebibytes(summary.memory_for(tokens) + plan.buffers);
  };
  line("memory needed", fmt::format("{} with 4,096 tokens of context, {} with all {}",
                                    needed(std::min(4096, summary.context_length)),
                                    needed(summary.context_length), summary.context_length));
  line("", fmt::format("of it weights {}, buffers of steps at most {}", mebibytes(plan.weights),
                       mebibytes(plan.buffers)));
  line("available here",
       fmt::format("{}; the KV cache would get {}, {} tokens", mebibytes(plan.available),
                   mebibytes(plan.kv_cache),
                   plan.kv_cache / std::max<std::size_t>(1, summary.kv_bytes_per_token)));
}

}  // namespace

int run_inspect(const InspectSettings& settings) {
  const ModelFiles files = open_model(find_model(settings.model));
  const ModelSummary summary = summarize(files);
  const MemoryPlan plan = plan_memory(files, EngineSettings());
  if (settings.json) {
    std::printf("%s\n", boost::json::serialize(as_json(summary, files, plan)).c_str());
  } else {
    print(summary, files, plan);
  }
  return 0;
}

}  // namespace mlxd
