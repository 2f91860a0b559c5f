// One line for each request that is refused before a handler sees it. Private to http.
#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace mlxd::http {

// Bounded in its rate, since who floods the server with requests that it refuses would flood the
// log as well: what goes beyond is counted, and the next line says how many there were. I/O thread.
class RefusalLog {
 public:
  static constexpr double kLinesPerSecond = 10;
  static constexpr double kMostAtOnce = 50;

  ~RefusalLog();
  // `request` is "METHOD /path", or empty where the header could not be read. It and the error's
  // message may hold what a client chose: only printable ASCII goes to the log.
  void write(const Error& error, std::string_view id, std::string_view request,
             TimePoint now = Clock::now());

 private:
  void tell_of_unwritten();

  double lines_ = kMostAtOnce;  // that may be written now
  TimePoint counted_at_{};
  long unwritten_ = 0;
};

}  // namespace mlxd::http
