#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace spdlog {
class logger;
}

namespace mlxd::api {

enum class Outcome { completed, refused, cancelled, timeout, error };
std::string_view outcome_name(Outcome outcome);

// What is remembered of one generation request: never its prompt, its output or its key.
struct RequestRecord {
  std::string id;
  std::string_view endpoint;  // "chat" or "completions"
  std::string model;          // the served id; "" when none was found
  bool stream = false;
  int status = 499;  // as sent; 499: the client left first
  Outcome outcome = Outcome::cancelled;
  std::string finish;  // finish reasons of the choices, "stop,length"; or the error's code
  int prompt_tokens = 0;
  int completion_tokens = 0;
  int cached_tokens = 0;
  double queue_seconds = 0;
  double first_token_seconds = -1;  // -1: none came
  double total_seconds = 0;
};

// One line a request. Any thread.
class RequestLog {
 public:
  // `json`: each line is one JSON object and nothing else, else words on `logger`'s own pattern.
  RequestLog(std::shared_ptr<spdlog::logger> logger, bool json);
  void write(const RequestRecord& record) const;
  static std::string text_line(const RequestRecord& record);
  static std::string json_line(const RequestRecord& record);

 private:
  std::shared_ptr<spdlog::logger> logger_;
  const bool json_;
};

// The logger that ApiOptions ask for: the program's own, or one of bare lines on standard error.
RequestLog make_request_log(bool json);

}  // namespace mlxd::api
