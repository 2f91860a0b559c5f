// A connection's bytes: waiting for them, reading, writing, and noticing that the peer has left.
#include <exception>
#include <utility>

#include <boost/asio/buffer.hpp>

#include "http/connection.h"
#include "http/connection_exchange.h"
#include "http/timer_wait.h"

namespace mlxd::http {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr double kLingerSeconds = 2;
constexpr std::size_t kLingerBytes = 16 * 1024 * 1024;

}  // namespace

void Connection::arm_read() {
  if (read_armed_ || eof_ || broken_) return;
  socket_.async_wait(asio::ip::tcp::socket::wait_read,
                     [self = shared_from_this()](error_code error) { self->on_readable(error); });
  read_armed_ = true;  // not before: there may have been no memory for it
}

// A short string lies in the object, and is no buffer.
void Connection::count_input() {
  const std::size_t capacity = input_.capacity();
  input_bytes_.set(capacity > std::string().capacity() ? capacity : 0);
}

// Not within the connection's coroutine, which an exception would end: nothing may leave these.
void Connection::on_readable(error_code error) noexcept {
  read_armed_ = false;
  try {
    read_available(error);
    if (exchange_ && !peer_gone()) watch_for_leaving();
  } catch (const std::exception&) {  // no memory: what was received is lost, and so is its sender
    broken_ = true;
  }
  if (exchange_ && peer_gone()) exchange_->notify_peer_gone();
  timer_.cancel();
}

void Connection::read_available(error_code error) {
  std::size_t count = 0;
  if (!error) count = socket_.read_some(asio::buffer(state_->scratch), error);
  input_.append(state_->scratch.data(), count);
  count_input();
  if (error == asio::error::eof) {
    eof_ = true;
  } else if (error && error != asio::error::would_block && error != asio::error::interrupted) {
    broken_ = true;
  }
}

// A handler runs. The end of the peer's sending side counts as its leaving, as in nginx and Go: TCP
// cannot tell a client that went away from one that only has nothing more to say, and generating
// for the former costs everyone. An answer that is ready all the same is still written. Pipelined
// bytes are kept; past a limit only a reset is noticed until they are consumed.
void Connection::watch_for_leaving() {
  if (input_.size() < kWatchedInput) {
    arm_read();
  } else if (!error_armed_ && !broken_) {
    socket_.async_wait(asio::ip::tcp::socket::wait_error, [self = shared_from_this()](error_code) {
      self->error_armed_ = false;
      if (!self->exchange_ || self->broken_) return;
      self->broken_ = true;
      self->peer_left();
    });
    error_armed_ = true;
  }
}

void Connection::peer_left() {
  if (exchange_) exchange_->notify_peer_gone();
  timer_.cancel();
}

Task<bool> Connection::wait_for_input(TimePoint deadline) {
  const std::size_t before = input_.size();
  arm_read();
  while (input_.size() == before && !eof_ && !broken_) {
    if (Clock::now() >= deadline) co_return false;
    timer_.expires_at(deadline);
    co_await TimerWait(timer_);
    arm_read();
  }
  co_return input_.size() != before;
}

Task<bool> Connection::wait_writable(bool despite_eof) {
  const TimePoint deadline = after(state_->options.write_stall_seconds);
  if (!write_armed_) {
    socket_.async_wait(asio::ip::tcp::socket::wait_write,
                       [self = shared_from_this()](error_code error) {
                         self->write_armed_ = false;
                         if (error) self->broken_ = true;
                         self->timer_.cancel();
                       });
    write_armed_ = true;
  }
  while (write_armed_ && !broken_ && (despite_eof || !eof_)) {
    if (Clock::now() >= deadline) {
      // A reader that slow is treated as gone. Resetting frees what the kernel holds for it.
      error_code ignored;
      socket_.set_option(asio::socket_base::linger(true, 0), ignored);
      abort();
      break;
    }
    timer_.expires_at(deadline);
    co_await TimerWait(timer_);
  }
  co_return !broken_;
}

Task<bool> Connection::write_all(std::string_view bytes, bool despite_eof) {
  const HeldBytes output(state_->buffer_bytes, bytes.size());
  while (!bytes.empty()) {
    if (broken_ || (eof_ && !despite_eof)) co_return false;
    error_code error;
    const std::size_t count = socket_.write_some(asio::buffer(bytes.data(), bytes.size()), error);
    bytes.remove_prefix(count);
    if (error == asio::error::would_block) {
      co_await wait_writable(despite_eof);
    } else if (error && error != asio::error::interrupted) {
      broken_ = true;
      peer_left();
    }
  }
  co_return true;
}

std::size_t Connection::send_buffer_bytes() const {
  return static_cast<std::size_t>(state_->options.send_buffer_bytes);
}

void Connection::set_send_buffer(std::size_t bytes) {
  error_code ignored;
  socket_.set_option(asio::socket_base::send_buffer_size(static_cast<int>(bytes)), ignored);
}

void Connection::abort() {
  broken_ = true;
  peer_left();
  error_code ignored;
  socket_.close(ignored);
}

// Lets the peer read the last answer: closing with unread bytes would reset the connection, and the
// peer's kernel would throw away what it has not yet read.
Task<> Connection::linger() {
  error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  const TimePoint deadline = after(kLingerSeconds);
  std::size_t discarded = 0;
  do {
    discarded += input_.size();
    input_.clear();
  } while (!broken_ && discarded < kLingerBytes && co_await wait_for_input(deadline));
}

}  // namespace mlxd::http
