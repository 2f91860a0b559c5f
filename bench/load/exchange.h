// One request of the load generator over one connection, and when what of its answer came.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>

namespace mlxd::load {

using Clock = std::chrono::steady_clock;

struct Outcome {
  bool ok = false;
  std::string error;        // status and body, or what broke
  Clock::time_point begun;  // when it should have been sent, which may be before it was
  std::vector<Clock::time_point> frames;  // that brought text
  Clock::time_point ended;
  int prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;  // as the server's usage says
  std::string text;
};

struct Server {
  std::string host = "127.0.0.1";
  std::string port = "10242";
  std::string api_key;
};

// A connection that is kept from request to request. Not thread-safe.
class Connection {
 public:
  Connection(boost::asio::any_io_executor executor, const Server& server)
      : stream_(std::move(executor)), server_(server) {}

  // Sends `body` to /v1/chat/completions and reads the streamed answer to its end. Never throws:
  // what fails is in the outcome, and the next request begins with a new connection.
  boost::asio::awaitable<Outcome> ask(std::string body, Clock::time_point begun);

 private:
  boost::asio::awaitable<void> connect();
  // False when the connection had ended before anything of an answer came.
  boost::asio::awaitable<bool> send(const std::string& body);
  boost::asio::awaitable<void> receive(Outcome& outcome);

  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  const Server& server_;
  bool connected_ = false;  // as far as known
};

}  // namespace mlxd::load
