#include "http/refusal_log.h"

#include <algorithm>
#include <exception>
#include <string>

#include <spdlog/spdlog.h>

#include "http/ascii.h"

namespace mlxd::http {
namespace {

constexpr std::size_t kMostBytes = 200;  // of each part that a client chose

std::string printable(std::string_view text) {
  std::string result;
  for (const char c : text.substr(0, kMostBytes)) {
    const bool plain = !is_ascii_control(c) && static_cast<unsigned char>(c) < 0x80;
    result += plain && c != '"' && c != '\\' ? c : '?';
  }
  if (text.size() > kMostBytes) result += "...";
  return result;
}

}  // namespace

RefusalLog::~RefusalLog() { tell_of_unwritten(); }

void RefusalLog::write(const Error& error, std::string_view id, std::string_view request,
                       TimePoint now) {
  if (counted_at_ != TimePoint{}) {
    const double passed = std::max(0.0, seconds_between(counted_at_, now));
    lines_ = std::min(kMostAtOnce, lines_ + passed * kLinesPerSecond);
  }
  counted_at_ = now;
  if (lines_ < 1) {
    ++unwritten_;
    return;
  }
  lines_ -= 1;
  tell_of_unwritten();
  try {
    spdlog::log(error.status < 500 ? spdlog::level::info : spdlog::level::warn,
                "{} {} status={} outcome=refused finish={}: {}", id,
                request.empty() ? "-" : printable(request), error.status, error.code,
                printable(error.message));
  } catch (const std::exception&) {  // no memory for the line: the answer matters more
    ++unwritten_;
  }
}

void RefusalLog::tell_of_unwritten() {
  if (unwritten_ == 0) return;
  spdlog::warn("{} refused requests have no line of their own: there were too many at once",
               unwritten_);
  unwritten_ = 0;
}

}  // namespace mlxd::http
