// http: bytes to checked HTTP/1.1 requests and back: listener, connections, limits, router, chunks
// of streams. It knows nothing of models or the engine, and of JSON only that bodies must be called
// so. Handlers are coroutines on the I/O thread and must not block; all of this file but
// Wakeup::notify belongs to that thread.
//
// No memory that runs out on the I/O thread costs more than the connection or the request that it
// was wanted for: accepting, waking and stopping use memory that was made beforehand.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "base/task.h"

namespace mlxd::http {

inline constexpr std::string_view kEventStream = "text/event-stream";

using Headers = std::vector<std::pair<std::string, std::string>>;

// A request's body, counted among what the server holds of bodies until it is let go. It may be
// moved to another thread, and outlive the server.
struct Body {
  std::shared_ptr<void> counted;  // let go with the last byte: declared before them
  std::string text;

  // Frees the memory. (Assigning an empty string keeps it.)
  void release() noexcept {
    std::string().swap(text);
    counted.reset();
  }
};

// A request that passed every check of the connection: framing, limits, Host, key.
struct Request {
  std::string method;
  std::string path;   // percent-decoded, without the query
  std::string query;  // raw
  Headers headers;    // names in lower case
  Body body;
  std::string id;  // x-request-id: the client's if valid, else made
  // Stands for the API key that it showed, without telling it; 0 where there are no keys.
  std::uint64_t caller = 0;
  std::string_view header(std::string_view lower_case_name) const;  // "" when absent
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers;
};

// Lets a coroutine on the I/O thread sleep until another thread has news. Any number of `notify`
// between two wake-ups cost one. May outlive the exchange (shared ownership).
class Wakeup : public std::enable_shared_from_this<Wakeup> {
 public:
  // `executor` is an io_context's.
  static std::shared_ptr<Wakeup> make(boost::asio::any_io_executor executor);
  virtual ~Wakeup() = default;
  virtual void notify() noexcept = 0;  // any thread; needs no memory
  // Returns when notified since the last return (at once, if so already) or after `seconds`; false
  // for the latter.
  virtual Task<bool> wait_for(double seconds) = 0;
};

// One request and its answer. While a handler runs, the connection watches for the peer's leaving.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const = 0;
  // The body, once, out of the request: who has read it lets it go, and does not hold its memory
  // for as long as the answer takes.
  virtual Body take_body() = 0;

  // The peer closed or reset its side, or stalled past the write limit, or there was no memory for
  // what it sent; notifies `wakeup()`.
  virtual bool peer_gone() const = 0;
  virtual const std::shared_ptr<Wakeup>& wakeup() = 0;

  // A whole answer; of a 304 (and to HEAD) the body's length alone is sent. Exactly one of respond
  // and begin_stream is called. (Pass a named Response: g++ 12 destroys a braced aggregate inside
  // of a co_await expression twice.)
  virtual Task<> respond(Response response) = 0;

  // A chunked answer: begin, any number of frames, end. `write` returns when the kernel took the
  // bytes (back-pressure); false when the peer is gone. `content_type` is of static storage.
  virtual Task<bool> begin_stream(Headers headers, std::string_view content_type) = 0;
  virtual Task<bool> write(std::string frames) = 0;
  virtual Task<> end_stream() = 0;
};

using Handler = std::function<Task<>(Exchange&)>;

}  // namespace mlxd::http
