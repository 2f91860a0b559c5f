#include "api/ollama/times.h"

#include <chrono>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace mlxd::api::ollama {

std::string time_now() {
  using namespace std::chrono;
  const auto now = system_clock::now().time_since_epoch();
  const auto second = duration_cast<seconds>(now);
  const auto part = duration_cast<microseconds>(now - second);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(second.count()), part.count());
}

std::string time_of(long seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

}  // namespace mlxd::api::ollama
