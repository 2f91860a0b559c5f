// What the connections of one server share, and the checks that need no socket. Private to http.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "http/access.h"
#include "http/refusal_log.h"
#include "http/request_parser.h"
#include "http/server.h"

namespace mlxd::http {

class Connection;

// The answer to a request that no handler sees, and whether another request may follow it.
struct Refusal {
  Error error;
  Headers headers;
  bool close = false;
};

Error make_error(int status, std::string code, std::string message);
Error too_many_connections(int limit);

// The connections that there are, linked through themselves: to come and to go takes no memory.
class LiveConnections {
 public:
  void add(Connection& connection) noexcept;
  void remove(Connection& connection) noexcept;
  bool empty() const { return first_ == nullptr; }
  void abort_all() noexcept;  // no connection goes before this returns
  void end_all() noexcept;    // when no thread serves them any more

 private:
  Connection* first_ = nullptr;
};

// Outlives all connections.
struct ServerState {
  ServerState(ServerOptions server_options, Router server_router);

  const ServerOptions options;  // without the keys
  const Router router;
  const ApiKeys keys, admin_keys;
  const HostList hosts;
  const Origins origins;

  std::atomic<int> connections = 0;
  std::atomic<bool> draining = false;  // every answer then closes its connection

  std::mutex mutex;
  std::condition_variable idle;
  int exchanges = 0;  // under `mutex`

  // I/O thread only.
  LiveConnections live;
  RefusalLog refusals;
  std::atomic<std::size_t> body_bytes = 0;    // of bodies in memory; others may let go of them
  std::atomic<std::size_t> buffer_bytes = 0;  // of input and output; the I/O thread writes it
  // All sockets are read into this, one after the other: so much at a time.
  std::array<char, 16 * 1024> scratch;

  std::string error_body(std::string_view path, const Error& error) const;

  // What is wrong with the key that a request shows, of a route that asks for one like this.
  std::optional<Refusal> refuse_key(const RequestHead& head, Key key) const;
  // Host, key, path, method, body's type, in this order. `match` is the router's.
  std::optional<Refusal> refuse(const RequestHead& head, const Router::Match& match,
                                std::string_view local_address) const;
  // The message of a 404: what there is, and what may have been meant.
  std::string describe_unknown(std::string_view path) const;
  // "OPTIONS *": whether this is a server at all, and what it knows (RFC 9110, 9.3.7).
  bool asks_for_options(const RequestHead& head) const;
  Headers options_headers() const;
  // A browser's question whether its page may send such a request; it carries no key.
  bool is_preflight(const RequestHead& head, const Router::Match& match) const;
  Headers preflight_headers(const RequestHead& head, const Router::Match& match) const;
  Headers cors_headers(const RequestHead& head) const;
};

// One request in flight: what wait_until_idle waits for.
class InFlight {
 public:
  explicit InFlight(ServerState& state);
  ~InFlight();
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  ServerState& state_;
};

// One holder's part of a sum of bytes, which leaves the sum with its holder.
class HeldBytes {
 public:
  explicit HeldBytes(std::atomic<std::size_t>& sum, std::size_t bytes = 0) : sum_(sum) {
    set(bytes);
  }
  ~HeldBytes() { set(0); }
  HeldBytes(const HeldBytes&) = delete;
  HeldBytes& operator=(const HeldBytes&) = delete;

  std::size_t get() const { return held_; }
  void set(std::size_t bytes) {
    sum_.fetch_add(bytes - held_, std::memory_order_relaxed);  // modulo 2^64, if it becomes less
    held_ = bytes;
  }

 private:
  std::atomic<std::size_t>& sum_;
  std::size_t held_ = 0;
};

// The part of the server's body memory that one request holds. I/O thread; it may be destroyed on
// another, and last.
class BodyMemory {
 public:
  explicit BodyMemory(std::shared_ptr<ServerState> state)
      : state_(std::move(state)), held_(state_->body_bytes) {}
  bool hold(std::size_t bytes);  // in all; false when the server holds too much

 private:
  const std::shared_ptr<ServerState> state_;
  HeldBytes held_;
};

}  // namespace mlxd::http
