#include "cli/load_report.h"

#include <cstdio>
#include <utility>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include "base/clock.h"

namespace mlxd {
namespace {

constexpr double kLogSeconds = 10;

void show(const std::string& model, double done) {
  std::fprintf(stderr, "\rloading %s %3.0f%%%s", model.c_str(), done * 100,
               done >= 1 ? "\r\x1b[K" : "");
  std::fflush(stderr);
}

}  // namespace

LoadProgress load_report(std::string model) {
  if (::isatty(STDERR_FILENO) != 0) {
    return [model = std::move(model)](double done) { show(model, done); };
  }
  return [model = std::move(model), told = Clock::now()](double done) mutable {
    if (done >= 1 || seconds_between(told, Clock::now()) < kLogSeconds) return;
    told = Clock::now();
    spdlog::info("loading {}: {:.0f}%", model, done * 100);
  };
}

}  // namespace mlxd
