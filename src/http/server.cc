#include "http/server.h"

#include <algorithm>
#include <exception>
#include <string>
#include <thread>
#include <utility>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "http/connection.h"
#include "http/handler_memory.h"

namespace mlxd::http {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr int kRefusedAtOnce = 256;  // connections that are being told that there are too many
constexpr int kAcceptedAtOnce = 64;  // before others get their turn
constexpr auto kAcceptPause = std::chrono::milliseconds(50);
constexpr auto kShortPause = std::chrono::milliseconds(1);  // of the whole I/O thread
constexpr auto kCloseGrace = std::chrono::milliseconds(250);

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, Router router)
      : state_(std::make_shared<ServerState>(std::move(options), std::move(router))),
        context_(1),
        acceptor_(context_),
        accept_pause_(context_) {
    listen();
    port_ = acceptor_.local_endpoint().port();
    wait_for_connections();
    thread_ = std::thread([this] { run(); });
  }

  ~Impl() {
    asio::post(context_.get_executor(), asio::bind_allocator(stop_memory_.allocator(), [this] {
                 close_acceptor();
                 // Handlers get a moment to see that their peers are gone; what still waits then
                 // is destroyed when this thread has ended.
                 state_->live.abort_all();
                 stop_when_done(Clock::now() + kCloseGrace);
               }));
    thread_.join();
    state_->live.end_all();
  }

  std::uint16_t port() const { return port_; }
  ServerStats stats() const {
    return {state_->connections, state_->body_bytes, state_->buffer_bytes};
  }

  void stop_accepting() {
    if (state_->draining.exchange(true)) return;
    asio::post(context_.get_executor(),
               asio::bind_allocator(drain_memory_.allocator(), [this] { close_acceptor(); }));
  }

  bool wait_until_idle(double seconds) {
    std::unique_lock lock(state_->mutex);
    return state_->idle.wait_for(lock, std::chrono::duration<double>(seconds),
                                 [this] { return state_->exchanges == 0; });
  }

 private:
  void listen();
  void run();
  void wait_for_connections();
  void accept_connections() noexcept;
  bool accept_some(error_code& error);
  void pause_accepting(const error_code& error) noexcept;
  void start(tcp::socket socket);

  void stop_when_done(TimePoint deadline) noexcept {
    if (state_->live.empty() || Clock::now() >= deadline) return context_.stop();
    try {
      accept_pause_.expires_after(std::chrono::milliseconds(2));
      accept_pause_.async_wait([this, deadline](error_code) { stop_when_done(deadline); });
    } catch (const std::exception&) {  // no memory to wait
      context_.stop();
    }
  }

  void close_acceptor() {
    error_code ignored;
    acceptor_.close(ignored);
    accept_pause_.cancel();
  }

  const std::shared_ptr<ServerState> state_;
  // Of what has to work where there is no memory; outlive the operations that context_ destroys.
  HandlerMemory accept_memory_, pause_memory_, drain_memory_, stop_memory_;
  asio::io_context context_;
  tcp::acceptor acceptor_;
  asio::steady_timer accept_pause_;
  bool warned_ = false;  // that no connection can be accepted for now
  std::uint16_t port_ = 0;
  std::thread thread_;
};

void Server::Impl::listen() {
  const ServerOptions& options = state_->options;
  std::string host = options.host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto fail = [&](const std::string& reason) {
    throw StartupError("cannot listen on " + options.host + ":" + std::to_string(options.port) +
                       ": " + reason +
                       "; stop what uses that address, or choose another host or port");
  };
  error_code error;
  tcp::resolver resolver(context_);
  const auto found =
      resolver.resolve(host, std::to_string(options.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) fail(error ? error.message() : "no such address");
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && endpoint.address() == asio::ip::address_v6::any()) {
    acceptor_.set_option(asio::ip::v6_only(false), error);
  }
  // Accepted sockets inherit it.
  if (!error) {
    acceptor_.set_option(asio::socket_base::send_buffer_size(options.send_buffer_bytes), error);
  }
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (!error) acceptor_.non_blocking(true, error);
  if (error) fail(error.message());
}

void Server::Impl::run() {
  for (;;) {
    try {
      context_.run();
      return;
    } catch (const std::exception& error) {
      spdlog::error("the I/O thread goes on after: {}", error.what());
    } catch (...) {
      spdlog::error("the I/O thread goes on after an unknown exception");
    }
  }
}

// No coroutine, whose frames and waits could run out of memory: this must go on for ever.
void Server::Impl::wait_for_connections() {
  acceptor_.async_wait(tcp::acceptor::wait_read,
                       asio::bind_allocator(accept_memory_.allocator(), [this](error_code) {
                         if (acceptor_.is_open()) accept_connections();
                       }));
}

void Server::Impl::accept_connections() noexcept {
  error_code error;
  bool accepted = false;
  try {
    accepted = accept_some(error);
  } catch (const std::exception&) {  // no memory for a connection, which is lost; the others go on
    error = asio::error::no_memory;
  }
  if (accepted) warned_ = false;
  if (error) {
    pause_accepting(error);
  } else {
    wait_for_connections();
  }
}

// Whether there was one. Those who wait with `error` are accepted later.
bool Server::Impl::accept_some(error_code& error) {
  for (int accepted = 0; accepted < kAcceptedAtOnce; ++accepted) {
    tcp::socket socket = acceptor_.accept(error);
    if (error == asio::error::would_block || error == asio::error::try_again) {
      error.clear();
      return accepted > 0;
    }
    if (error == asio::error::connection_aborted || error == asio::error::interrupted) {
      error.clear();
      continue;
    }
    if (error) return accepted > 0;
    start(std::move(socket));
  }
  return true;
}

// Out of descriptors or memory: trying again at once would only burn this thread.
void Server::Impl::pause_accepting(const error_code& error) noexcept {
  try {
    if (!warned_) spdlog::warn("cannot accept connections for now: {}", error.message());
    warned_ = true;
    accept_pause_.expires_after(kAcceptPause);
    accept_pause_.async_wait(asio::bind_allocator(pause_memory_.allocator(), [this](error_code) {
      if (acceptor_.is_open()) accept_connections();
    }));
  } catch (const std::exception&) {  // not even memory to wait with
    std::this_thread::sleep_for(kShortPause);
    wait_for_connections();
  }
}

void Server::Impl::start(tcp::socket socket) {
  error_code error;
  socket.non_blocking(true, error);
  if (!error) socket.set_option(tcp::no_delay(true), error);
  if (error) return;  // the peer has already left
  const int limit = state_->options.max_connections;
  const int present = state_->connections;
  if (present >= limit + kRefusedAtOnce) {
    state_->refusals.write(too_many_connections(limit), "-", {});
    return;
  }
  auto connection = std::make_shared<Connection>(state_, std::move(socket));
  connection->start(present >= limit);
}

std::size_t most_connection_bytes(const ServerOptions& options) {
  // A string that grows takes up to twice what it holds: the most that is kept unread, and one read
  // on top of it.
  const std::size_t input =
      2 * (std::max(options.header_limit, kWatchedInput) + sizeof(ServerState::scratch));
  const auto connections = static_cast<std::size_t>(options.max_connections + kRefusedAtOnce);
  return connections * input + options.total_body_limit;
}

Server::Server(ServerOptions options, Router router)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(router))) {}
Server::~Server() = default;

std::uint16_t Server::port() const { return impl_->port(); }
ServerStats Server::stats() const { return impl_->stats(); }
void Server::stop_accepting() { impl_->stop_accepting(); }
bool Server::wait_until_idle(double seconds) { return impl_->wait_until_idle(seconds); }

}  // namespace mlxd::http
