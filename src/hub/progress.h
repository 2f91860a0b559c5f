#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "hub/download.h"

namespace mlxd::hub {

// "4.1 GB": powers of ten, as the hub and disks count.
std::string size_text(std::int64_t bytes);
// "0:42", "12:05", "1:02:03".
std::string time_text(double seconds);

// How fast bytes have come lately: over some seconds, so that it can be read.
class Speed {
 public:
  // Bytes that are there at a time; the first call begins.
  void add(std::int64_t bytes, TimePoint now);
  double bytes_per_second() const { return speed_; }  // 0 while it is not known

 private:
  bool begun_ = false;
  TimePoint last_{};
  std::int64_t bytes_ = 0;
  double speed_ = 0;
};

// One line of at most `columns` characters, with a bar where there is room for one:
// "Qwen3-8B  [#####-----]  51 %  2.1 of 4.1 GB  38 MB/s  0:52 left".
std::string progress_bar(std::string_view name, const Progress& progress, double speed,
                         int columns);
// The same as a sentence for a log.
std::string progress_line(std::string_view name, const Progress& progress, double speed);

}  // namespace mlxd::hub
