#pragma once

#include <string>
#include <string_view>

namespace mlxd::api {

enum class Outcome { completed, refused, cancelled, timeout, error };

// What is remembered of one generation request: never its prompt, its output or its key.
struct RequestRecord {
  std::string id;
  std::string_view endpoint;  // Dialect::name
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

// Hears of every generation request. I/O thread; must be quick.
class RequestObserver {
 public:
  virtual ~RequestObserver() = default;
  virtual void first_token(double seconds) = 0;     // since the request arrived
  virtual void between_tokens(double seconds) = 0;  // since the same choice's last piece of text
  virtual void ended(const RequestRecord& record) = 0;
};

}  // namespace mlxd::api
