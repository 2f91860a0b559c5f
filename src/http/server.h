#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/router.h"

namespace mlxd::http {

struct ServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 10242;  // 0: any free one
  std::size_t header_limit = 16 * 1024, body_limit = 8 * 1024 * 1024;
  std::size_t total_body_limit = 512 * 1024 * 1024;  // bodies in memory, all connections; then 503
  double header_seconds = 10, body_seconds = 30, idle_seconds = 60, write_stall_seconds = 30;
  int max_connections = 12000;
  int send_buffer_bytes = 16 * 1024;       // small, so that slow readers cost little kernel memory
  std::vector<std::string> api_keys;       // empty: no key is asked for
  std::vector<std::string> admin_keys;     // of routes that administer
  bool open_to_admin = false;              // those ask for no key, where there are no admin_keys
  std::vector<std::string> allowed_hosts;  // without port; empty: loopback names and `host`
  std::vector<std::string> cors_origins;   // empty: no CORS headers
  // Makes the body, in JSON, of an error that http itself answers (400, 401, 404, 405, 408, 413,
  // 431
  // ...) to a request for `path`, "" where that could not be read. I/O thread.
  std::function<std::string(std::string_view path, const Error& error)> error_body;
};

struct ServerStats {
  int connections = 0;
  std::size_t body_bytes = 0;    // of request bodies in memory
  std::size_t buffer_bytes = 0;  // of what was received and not read, and of answers not yet sent
};

// The most that ServerStats' bodies and the buffers of what was received can come to, whatever
// clients send. Headers once they are parsed, coroutines, what handlers make of a body, and answers
// that are not yet sent come on top.
std::size_t most_connection_bytes(const ServerOptions& options);

// The listener and its I/O thread. Construction binds (throws StartupError that names the address
// and what to do when that fails) and starts; the destructor closes everything.
class Server {
 public:
  Server(ServerOptions options, Router router);
  ~Server();
  std::uint16_t port() const;  // the one bound
  ServerStats stats() const;   // any thread

  void stop_accepting();  // any thread: new connections are refused, live ones go on
  // Any thread: waits until every exchange in flight has ended, or the time is up; false then.
  bool wait_until_idle(double seconds);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlxd::http
