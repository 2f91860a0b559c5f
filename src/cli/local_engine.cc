#include "cli/local_engine.h"

#include <cstdio>

#include <unistd.h>

#include "backend/backends.h"
#include "cli/memory_plan.h"

namespace mlxd {
namespace {

void show_progress(double done) {
  std::fprintf(stderr, "\rloading weights %3.0f%%%s", done * 100, done >= 1 ? "\r\x1b[K" : "");
  std::fflush(stderr);
}

}  // namespace

std::unique_ptr<Engine> start_engine(const ModelFiles& files, const EngineSettings& settings,
                                     EngineObserver* observer) {
  EngineOptions options;
  options.kv_bytes = plan_memory(files, settings).kv_cache;
  options.max_running_sequences = settings.max_running;
  options.max_queued_requests = settings.max_queued;
  options.max_queued_tokens = settings.max_queued_tokens;
  options.max_step_tokens = settings.step_tokens;
  options.hang_seconds = settings.hang_timeout;
  options.prefix_cache = settings.prefix_cache;
  options.max_draft_tokens = settings.max_draft_tokens;
  const auto progress = ::isatty(STDERR_FILENO) ? &show_progress : nullptr;
  return std::make_unique<Engine>(
      options, [&] { return make_runner(files.plan, settings.backend, progress); }, observer);
}

}  // namespace mlxd
