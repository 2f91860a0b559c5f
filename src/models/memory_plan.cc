#include "models/memory_plan.h"

#include <algorithm>
#include <limits>
#include <ranges>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "backend/backends.h"
#include "base/error.h"
#include "engine/cache_plan.h"
#include "engine/engine.h"
#include "engine/ngram_drafter.h"
#include "prefix_store/prefix_store.h"

namespace mlxd {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

// Of what is left when the weights are loaded, the rest being for others: the cache fills up over
// time, and memory that a server does not need at once is better left to the page cache.
constexpr std::size_t kShareOfRest = 4;

// What the engine keeps of sequences beside their KV: the tokens, which a vector that grows may
// hold twice, and the drafters' tables of them.
std::size_t sequence_bytes(std::size_t context, bool drafts, const EngineSettings& settings) {
  std::size_t each = 2 * context * sizeof(int);
  if (drafts && settings.max_draft_tokens > 0) each += NgramIndex::kMostSlots * sizeof(int);
  return static_cast<std::size_t>(settings.max_running) * each +
         static_cast<std::size_t>(settings.max_queued_tokens) * sizeof(int);
}

// Slots that plan_cache gives a running sequence at most, one of them for a snapshot.
constexpr std::size_t kStatesOfSequence = 4;

std::size_t to_bytes(double gib) { return static_cast<std::size_t>(gib * kGiB); }

std::string in_gib(std::size_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / kGiB);
}

// Those that are always there, whose memory is planned together.
auto kept(auto& models) {
  return models | std::views::filter([](const ModelMemory& model) { return !model.on_demand; });
}

// Of those.
template <class Part>
std::size_t sum(const std::vector<ModelMemory>& models, Part part) {
  std::size_t total = 0;
  for (const ModelMemory& model : kept(models)) total += part(model);
  return total;
}

// "a takes 1.00 GiB of weights and 0.10 GiB of buffers, b takes ..."
std::string list_weights_and_buffers(const std::vector<ModelMemory>& models) {
  std::string text;
  for (const ModelMemory& model : kept(models)) {
    text += fmt::format("{}{} takes {} of weights and {} of buffers", text.empty() ? "" : ", ",
                        model.name, in_gib(model.weights), in_gib(model.buffers));
  }
  return text;
}

std::string refuse_what_cannot_fit(const MemoryPlan& plan, const EngineSettings& settings,
                                   const SystemMemory& system) {
  const std::size_t limit = to_bytes(settings.max_memory_gb);
  if (limit > 0 && plan.weights_and_buffers() >= limit) {
    return fmt::format(
        "{}, but --max-memory-gb allows {} for all that is served; raise it, serve smaller or "
        "fewer models, or lower --step-tokens and --max-running",
        list_weights_and_buffers(plan.models), in_gib(limit));
  }
  // Buffers are an upper bound, the weights are not.
  if (sum(plan.models, [](const auto& model) { return model.weights; }) >= system.most) {
    return fmt::format(
        "{}, but this process can never have more than {}, swap included; serve smaller or fewer "
        "models, or raise the limit of its container or service",
        list_weights_and_buffers(plan.models), in_gib(system.most));
  }
  return {};
}

bool has_models_on_demand(const MemoryPlan& plan) {
  return std::ranges::any_of(plan.models, &ModelMemory::on_demand);
}

// For all models that are always there. Others are to have room beside them.
std::size_t kv_budget(const MemoryPlan& plan, const EngineSettings& settings) {
  const std::size_t taken = plan.weights_and_buffers();
  // Where nothing is left there is a small cache all the same, and a warning.
  const std::size_t rest =
      plan.available > taken ? plan.available - taken : plan.available / kShareOfRest;
  const std::size_t budget =
      settings.kv_cache_gb > 0 ? std::numeric_limits<std::size_t>::max() : rest / kShareOfRest;
  if (settings.max_memory_gb == 0) return budget;
  const std::size_t left = to_bytes(settings.max_memory_gb) - taken;
  return std::min(budget, has_models_on_demand(plan) ? left / kShareOfRest : left);
}

// What a model's cache would be if there were memory for all.
std::size_t wanted_kv(const ModelMemory& model, const EngineSettings& settings) {
  if (model.kv_block == 0) return 0;
  const std::size_t asked_for = to_bytes(settings.kv_cache_gb);
  const std::size_t wanted = asked_for > 0 ? std::min(asked_for, model.kv_most) : model.kv_most;
  return wanted / model.kv_block * model.kv_block;
}

// Blocks are of as many tokens for each model, so each gets as many of them, except those that want
// fewer: what these leave goes to the others.
void share_kv(std::vector<ModelMemory>& models, std::size_t budget,
              const EngineSettings& settings) {
  std::vector<ModelMemory*> modest_first;
  for (ModelMemory& model : kept(models)) modest_first.push_back(&model);
  const auto wanted_blocks = [&](const ModelMemory* model) {
    return model->kv_block == 0 ? 0 : wanted_kv(*model, settings) / model->kv_block;
  };
  std::sort(modest_first.begin(), modest_first.end(),
            [&](auto* a, auto* b) { return wanted_blocks(a) < wanted_blocks(b); });
  std::size_t block_of_each = sum(models, [](const auto& model) { return model.kv_block; });
  for (ModelMemory* model : modest_first) {
    if (model->kv_block == 0) continue;
    model->kv_cache = std::min(wanted_blocks(model), budget / block_of_each) * model->kv_block;
    budget -= model->kv_cache;
    block_of_each -= model->kv_block;
  }
}

// Each as though it were alone in the room.
void give_kv_on_demand(MemoryPlan& plan, const EngineSettings& settings) {
  for (ModelMemory& model : plan.models) {
    if (!model.on_demand) continue;
    const std::size_t taken = model.weights + model.buffers;
    const std::size_t rest = plan.room > taken ? plan.room - taken : 0;
    const std::size_t budget = settings.kv_cache_gb > 0 ? rest : rest / kShareOfRest;
    if (model.kv_block > 0) {
      const std::size_t cache = std::min(wanted_kv(model, settings), budget);
      model.kv_cache = std::max<std::size_t>(cache / model.kv_block, 1) * model.kv_block;
    }
    if (model.total() <= plan.room) continue;
    plan.warnings.push_back(fmt::format(
        "{} takes {}, but {} are left for models that are loaded on demand: it is refused when it "
        "is asked for; raise --max-memory-gb, free memory or preload less",
        model.name, in_gib(model.total()), in_gib(plan.room)));
  }
}

// What is left for those on demand, if there are any.
std::size_t room_on_demand(const MemoryPlan& plan, const EngineSettings& settings) {
  if (!has_models_on_demand(plan)) return 0;
  const std::size_t taken = plan.weights_and_buffers() + plan.kv_cache();
  const std::size_t all =
      settings.max_memory_gb > 0 ? to_bytes(settings.max_memory_gb) : plan.available;
  return all > taken ? all - taken : 0;
}

std::string refuse_empty_caches(const std::vector<ModelMemory>& models) {
  for (const ModelMemory& model : kept(models)) {
    if (model.kv_cache > 0 || model.kv_block == 0) continue;
    return fmt::format(
        "{} is left without a KV cache, of which a block takes {} bytes: raise --kv-cache-gb or "
        "--max-memory-gb, or serve smaller or fewer models",
        model.name, model.kv_block);
  }
  return {};
}

std::vector<std::string> list_warnings(const MemoryPlan& plan, const EngineSettings& settings) {
  std::vector<std::string> warnings;
  for (const ModelMemory& model : kept(plan.models)) {
    const std::size_t wanted = wanted_kv(model, settings);
    if (settings.kv_cache_gb == 0 || model.kv_cache == wanted) continue;
    warnings.push_back(
        fmt::format("--kv-cache-gb asks for a KV cache of {} for {}, but --max-memory-gb leaves "
                    "{}: raise the one or lower the other",
                    in_gib(wanted), model.name, in_gib(model.kv_cache)));
  }
  const std::size_t taken = plan.weights_and_buffers();
  if (taken > plan.available) {
    warnings.push_back(fmt::format(
        "{}, together {}, but {} are available now: the system may swap, or end this process. "
        "Free memory, serve smaller or fewer models, or lower --step-tokens and --max-running",
        list_weights_and_buffers(plan.models), in_gib(taken), in_gib(plan.available)));
  } else if (taken + plan.kv_cache() > plan.available) {
    warnings.push_back(fmt::format(
        "the KV cache may grow to {}, but beside weights and buffers of {} only {} are available "
        "now: the system may then swap, or end this process. Free memory, or lower --kv-cache-gb",
        in_gib(plan.kv_cache()), in_gib(taken), in_gib(plan.available - taken)));
  }
  return warnings;
}

}  // namespace

std::size_t MemoryPlan::weights_and_buffers() const {
  return sum(models, [](const auto& model) { return model.weights + model.buffers; });
}

std::size_t MemoryPlan::kv_cache() const {
  return sum(models, [](const auto& model) { return model.kv_cache; });
}

ModelMemory memory_of(std::string name, const ModelFiles& files, const EngineSettings& settings) {
  const int rows = std::max(settings.step_tokens, settings.max_running);
  const auto vocabulary = static_cast<std::size_t>(files.plan.head.weight.weight.rows);
  // An encoder makes no logits.
  const std::size_t prompt_rows =
      files.plan.encoder
          ? 1
          : std::max(kPromptLogitBytes / (vocabulary * sizeof(float)), std::size_t{1});
  const RunnerMemory runner = foresee_memory(
      files.plan, settings.backend,
      {.rows = rows, .wanted_rows = settings.max_running + static_cast<int>(prompt_rows)});
  const auto block_tokens = static_cast<std::size_t>(runner.block_size);
  const auto context = static_cast<std::size_t>(files.plan.config.context_length);
  ModelMemory memory;
  memory.name = std::move(name);
  memory.weights = runner.weight_bytes;
  memory.buffers = runner.step_bytes + sequence_bytes(context, !files.plan.encoder, settings);
  if (!settings.prefix_cache_dir.empty()) memory.buffers += kPrefixStoreBufferBytes;
  for (const KvGroup& group : runner.kv) memory.kv_block += group.block_bytes;
  memory.block_tokens = runner.block_size;
  memory.kv = runner.kv;
  memory.context = files.plan.config.context_length;
  const auto sequences = static_cast<std::size_t>(settings.max_running);
  const auto blocks = [&](std::size_t tokens) {
    return (tokens + block_tokens - 1) / block_tokens;
  };
  for (const KvGroup& group : runner.kv) {
    std::size_t most = sequences * blocks(context);
    if (group.window > 0) {  // as plan_cache has it
      const std::size_t each = blocks(static_cast<std::size_t>(group.window)) + 3;
      most = std::min(most, 2 * sequences * each + blocks(static_cast<std::size_t>(rows)));
    }
    memory.kv_most += most * group.block_bytes;
  }
  if (runner.state_bytes > 0) {
    // Snapshots in the prefix cache take no more than its KV.
    memory.kv_most = 2 * memory.kv_most + kStatesOfSequence * sequences * runner.state_bytes;
    memory.state = runner.state_bytes;
    if (memory.kv_block == 0) {
      memory.kv_block = runner.state_bytes;
      memory.block_tokens = static_cast<int>(context);
    }
  }
  return memory;
}

std::size_t ModelMemory::sequence(std::size_t tokens) const {
  if (kv.empty()) return kv_block == 0 ? 0 : state;
  const auto block = static_cast<std::size_t>(block_tokens);
  std::size_t bytes = state;
  for (const KvGroup& group : kv) {
    const auto window = static_cast<std::size_t>(group.window);
    // A window may begin and end within a block.
    const std::size_t kept = window == 0 ? tokens : std::min(tokens, window + 2 * block);
    bytes += (kept + block - 1) / block * group.block_bytes;
  }
  return bytes;
}

std::size_t kv_tokens(const ModelMemory& memory, const EngineSettings& settings) {
  const auto full = std::ranges::find(memory.kv, 0, &KvGroup::window);
  if (full == memory.kv.end()) return 0;
  RunnerInfo info;
  info.context_length = memory.context;
  info.block_size = memory.block_tokens;
  info.kv = memory.kv;
  info.state_bytes = memory.state;
  EngineOptions options;
  options.max_running_sequences = settings.max_running;
  options.max_step_tokens = settings.step_tokens;
  options.kv_bytes = memory.kv_cache;
  try {
    const CachePlan plan = plan_cache(options, info);
    const auto blocks = plan.size.blocks[static_cast<std::size_t>(full - memory.kv.begin())];
    return static_cast<std::size_t>(blocks) * static_cast<std::size_t>(memory.block_tokens);
  } catch (const StartupError&) {
    return 0;  // which the engine will say
  }
}

MemoryPlan plan_memory(std::vector<ModelMemory> models, const EngineSettings& settings,
                       const SystemMemory& system) {
  MemoryPlan plan;
  plan.available = system.available;
  plan.models = std::move(models);
  plan.refusal = refuse_what_cannot_fit(plan, settings, system);
  if (!plan.refusal.empty()) return plan;
  share_kv(plan.models, kv_budget(plan, settings), settings);
  plan.refusal = refuse_empty_caches(plan.models);
  plan.warnings = list_warnings(plan, settings);
  plan.room = room_on_demand(plan, settings);
  give_kv_on_demand(plan, settings);
  return plan;
}

std::string out_of_memory(const ModelMemory& model) {
  return fmt::format(
      "{} takes {} of weights, up to {} of buffers and {} of KV cache, and the system does not "
      "give "
      "that much to this process; lower --kv-cache-gb, serve a smaller model, or raise the limit "
      "of "
      "its container, service or shell",
      model.name, in_gib(model.weights), in_gib(model.buffers), in_gib(model.kv_cache));
}

void admit(const MemoryPlan& plan) {
  if (!plan.refusal.empty()) throw StartupError(plan.refusal);
}

}  // namespace mlxd
