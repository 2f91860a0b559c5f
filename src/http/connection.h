// One client connection: reads requests, checks them, runs their handlers, writes answers. Private
// to http; everything here runs on the I/O thread.
//
// Where there is no memory for what a connection needs, the exception ends its coroutine, and that
// connection alone: ending takes none.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/task.h"
#include "http/request_parser.h"
#include "http/response_text.h"
#include "http/server_state.h"

namespace mlxd::http {

class ConnectionExchange;

// Read at most this far ahead of a handler.
inline constexpr std::size_t kWatchedInput = 16 * 1024;

class Connection : public std::enable_shared_from_this<Connection>, private TaskRunner {
 public:
  Connection(std::shared_ptr<ServerState> state, boost::asio::ip::tcp::socket socket);
  ~Connection() override;

  // Serves requests until the connection ends, or answers 503 and closes where it is
  // `one_too_many`. The connection lives for as long as that takes.
  void start(bool one_too_many);
  // Drops the connection at once; a handler in flight learns that its peer is gone.
  void abort();

 private:
  friend class ConnectionExchange;
  friend class LiveConnections;
  struct Closing;

  Task<> serve();
  Task<> refuse();
  void ended() noexcept override;
  void end_unfinished() noexcept;  // where it stands; the connection may be gone then
  Task<bool> serve_one();
  Task<std::optional<Result<RequestHead>>> read_head();
  Task<std::optional<Error>> read_body(const RequestHead& head, bool keep, std::string& body,
                                       BodyMemory& memory);
  Task<bool> handle(ConnectionExchange& exchange, const Handler& handler);
  // `path` as ServerOptions::error_body's.
  Task<bool> refuse_request(const Refusal& refusal, std::string_view path, const std::string& id,
                            Headers cors, bool without_body);
  Task<bool> answer_options(const RequestHead& head, const Headers& headers, const std::string& id);
  std::string response_head(int status, const std::string& id, bool close, const Headers& extra,
                            std::string_view content_type,
                            std::optional<std::size_t> content_length, bool chunked) const;

  // Waits until bytes (or the end) arrived; false when the deadline passed or the peer is gone.
  Task<bool> wait_for_input(TimePoint deadline);
  // Writes everything; false when the peer is gone or took nothing for the write stall limit. With
  // `despite_eof`, a peer that closed only its sending side still gets the bytes.
  Task<bool> write_all(std::string_view bytes, bool despite_eof);
  Task<bool> wait_writable(bool despite_eof);
  Task<> linger();
  std::size_t send_buffer_bytes() const;
  void set_send_buffer(std::size_t bytes);

  void arm_read();
  void count_input();
  void on_readable(boost::system::error_code error) noexcept;
  void read_available(boost::system::error_code error);
  void watch_for_leaving();  // goes on until `exchange_` is cleared
  void peer_left();
  bool peer_gone() const { return eof_ || broken_; }
  TimePoint after(double seconds) const;

  const std::shared_ptr<ServerState> state_;
  std::optional<Task<>> task_;           // from start on
  std::shared_ptr<Connection> running_;  // this, while the task runs
  boost::asio::ip::tcp::socket socket_;
  // The one thing that the connection's coroutine sleeps on: its expiry is the deadline, and
  // cancelling it says that the state below has changed.
  boost::asio::steady_timer timer_;
  std::string input_;  // received and not yet consumed; holds pipelined requests, too
  HeldBytes input_bytes_;
  ConnectionExchange* exchange_ = nullptr;  // while a handler runs
  bool read_armed_ = false;
  bool error_armed_ = false;
  bool write_armed_ = false;
  bool eof_ = false;                // the peer sends no more
  bool broken_ = false;             // nothing can be written any more
  Connection* previous_ = nullptr;  // in ServerState::live
  Connection* next_ = nullptr;
};

}  // namespace mlxd::http
