#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "tracing/span.h"

namespace mlxd::api {

enum class Outcome { completed, refused, cancelled, timeout, error };

// A request's model, as it asked for it: told while the body is read, so that it is known of a
// request that was left meanwhile.
struct ModelAsk {
  std::string name;  // as the body has it; "" where it was not read as far as that
  double load_begun_seconds =
      -1;  // when it had to be loaded, since the request arrived; -1: it had not
  double load_ended_seconds = -1;  // -1: the request did not wait so long
};

// What is remembered of one generation request: never its prompt, its output or its key. Seconds
// are those since it arrived, where nothing else is said.
struct RequestRecord {
  std::string id;
  std::string_view endpoint;  // Dialect::name
  std::string_view path;      // Dialect::path
  TimePoint arrived{};
  ModelAsk ask;
  std::string model;  // the served id; "" when none was found
  bool stream = false;
  bool began_stream = false;  // the head of one, with its 200, was sent
  int status = 499;           // as sent; 499: the client left first
  Outcome outcome = Outcome::cancelled;
  std::string finish;  // finish reasons of the choices, "stop,length"; or the error's code
  int prompt_tokens = 0;
  int completion_tokens = 0;
  int cached_tokens = 0;
  double accepted_seconds = -1;     // when the engine took it; -1: it did not
  double queue_seconds = 0;         // that it waited there
  bool knows_queue = false;         // false: it ended before the engine told how long it waited
  double first_token_seconds = -1;  // -1: none came
  double total_seconds = 0;
  std::optional<tracing::SpanContext> trace;  // none: it is not traced
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
