#include "hub/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace mlxd::hub {
namespace {

constexpr double kMemorySeconds = 4;  // what lies longer back counts little
constexpr int kNarrowestBar = 8, kWidestBar = 40;

double share(const Progress& progress) {
  return progress.bytes > 0 ? std::clamp(static_cast<double>(progress.bytes_done) /
                                             static_cast<double>(progress.bytes),
                                         0.0, 1.0)
                            : 1;
}

int percent(const Progress& progress) {  // 100 only when all is there
  return static_cast<int>(std::floor(share(progress) * 100));
}

std::string remaining(const Progress& progress, double speed) {
  if (progress.bytes_done >= progress.bytes) return "checking";
  if (speed < 1) return "";
  return fmt::format("{} left",
                     time_text(static_cast<double>(progress.bytes - progress.bytes_done) / speed));
}

}  // namespace

std::string size_text(std::int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"kB", "MB", "GB", "TB", "PB"};
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  // 999.95 would be written as 1000.0.
  for (; value >= 999.5 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return value < 9.95 ? fmt::format("{:.1f} {}", value, kUnits[unit])
                      : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

std::string time_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::ceil(std::clamp(seconds, 0.0, 360'000.0)));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

void Speed::add(std::int64_t bytes, TimePoint now) {
  if (!std::exchange(begun_, true)) {
    last_ = now;
    bytes_ = bytes;
    return;
  }
  const double seconds = seconds_between(last_, now);
  if (seconds < 0.2) return;  // too short to tell a speed by
  const double current = static_cast<double>(std::max<std::int64_t>(bytes - bytes_, 0)) / seconds;
  const double weight = speed_ == 0 ? 1 : 1 - std::exp(-seconds / kMemorySeconds);
  speed_ += weight * (current - speed_);
  last_ = now;
  bytes_ = bytes;
}

std::string progress_bar(std::string_view name, const Progress& progress, double speed,
                         int columns) {
  const auto width = static_cast<std::size_t>(std::max(columns, 0));
  const std::string done = fmt::format("{:3} %", percent(progress));
  std::string rest =
      fmt::format("{}  {} of {}", done, size_text(progress.bytes_done), size_text(progress.bytes));
  if (speed >= 1 && progress.bytes_done < progress.bytes) {
    rest += fmt::format("  {}/s", size_text(static_cast<std::int64_t>(speed)));
  }
  if (const std::string left = remaining(progress, speed); !left.empty()) rest += "  " + left;
  // What a narrow terminal has no room for is left out from the left, the name and the bar first.
  std::string line = rest;
  const std::size_t taken = name.size() + 2 + rest.size() + 4;
  if (taken + kNarrowestBar <= width) {
    const std::size_t cells = std::min<std::size_t>(width - taken, kWidestBar);
    const auto filled =
        static_cast<std::size_t>(std::floor(share(progress) * static_cast<double>(cells)));
    line = fmt::format("{}  [{}{}]  {}", name, std::string(filled, '#'),
                       std::string(cells - filled, '-'), rest);
  } else if (name.size() + 2 + rest.size() <= width) {
    line = fmt::format("{}  {}", name, rest);
  }
  if (line.size() > width) line = done.substr(0, width);
  return line;
}

std::string progress_line(std::string_view name, const Progress& progress, double speed) {
  std::string line = fmt::format("{}: {} %, {} of {}", name, percent(progress),
                                 size_text(progress.bytes_done), size_text(progress.bytes));
  if (speed >= 1 && progress.bytes_done < progress.bytes) {
    line += fmt::format(", {}/s", size_text(static_cast<std::int64_t>(speed)));
  }
  if (const std::string left = remaining(progress, speed); !left.empty()) line += ", " + left;
  return line;
}

}  // namespace mlxd::hub
