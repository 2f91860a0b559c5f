#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "api/generation/record.h"

namespace spdlog {
class logger;
}

namespace mlxd::api {

std::string_view outcome_name(Outcome outcome);

// One line a request. Any thread.
class RequestLog {
 public:
  // `json`: each line is one JSON object and nothing else, else words on `logger`'s own pattern.
  RequestLog(std::shared_ptr<spdlog::logger> logger, bool json);
  // From destructors, too: where there is no memory for the line, it says so instead.
  void write(const RequestRecord& record) const noexcept;
  static std::string text_line(const RequestRecord& record);
  static std::string json_line(const RequestRecord& record);

 private:
  std::shared_ptr<spdlog::logger> logger_;
  const bool json_;
};

// The logger that ApiOptions ask for: the program's own, or one of bare lines on standard error.
RequestLog make_request_log(bool json);

}  // namespace mlxd::api
