#include "http/connection_exchange.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "http/connection.h"

namespace mlxd::http {
namespace asio = boost::asio;

namespace {

// For whole answers that are larger than the small buffer of streams: with less than a segment in
// flight the sender waits for delayed acknowledgements (1 MB/s over loopback).
constexpr std::size_t kLargeSendBuffer = 256 * 1024;

std::string chunk_size_line(std::size_t size) {
  char line[24];
  return std::string(line,
                     static_cast<std::size_t>(std::snprintf(line, sizeof line, "%zx\r\n", size)));
}

}  // namespace

ConnectionExchange::ConnectionExchange(Connection& connection, Request request, const Headers& cors,
                                       bool keep_alive, bool http_10)
    : connection_(connection),
      request_(std::move(request)),
      cors_(cors),
      close_(!keep_alive || connection.state_->draining),
      chunked_(!http_10),
      without_body_(request_.method == "HEAD") {
  connection_.watch_for_leaving();
  connection_.exchange_ = this;  // nothing can fail any more
}

ConnectionExchange::~ConnectionExchange() { connection_.exchange_ = nullptr; }

bool ConnectionExchange::peer_gone() const { return connection_.peer_gone(); }

const std::shared_ptr<Wakeup>& ConnectionExchange::wakeup() {
  if (!wakeup_) {
    wakeup_ = Wakeup::make(connection_.socket_.get_executor());
    if (peer_gone()) wakeup_->notify();
  }
  return wakeup_;
}

void ConnectionExchange::notify_peer_gone() {
  if (wakeup_) wakeup_->notify();
}

void ConnectionExchange::begin() {
  if (begun_) throw std::logic_error("a second answer to one request");
  begun_ = true;
}

Task<> ConnectionExchange::respond(Response response) {
  begin();
  close_ = close_ || connection_.state_->draining;
  Headers headers = cors_;
  headers.insert(headers.end(), response.headers.begin(), response.headers.end());
  std::string text = connection_.response_head(response.status, request_.id, close_, headers,
                                               response.content_type, response.body.size(), false);
  request_.body.release();
  if (!without_body_ && response.status != 304) text += response.body;
  std::string().swap(response.body);  // assigning an empty string would keep the memory
  const bool large = text.size() > connection_.send_buffer_bytes();
  if (large) connection_.set_send_buffer(std::min(text.size(), kLargeSendBuffer));
  co_await connection_.write_all(text, true);
  if (large) connection_.set_send_buffer(connection_.send_buffer_bytes());
  ended_ = true;
}

Task<bool> ConnectionExchange::begin_stream(Headers headers, std::string_view content_type) {
  begin();
  // HTTP/1.0 has no chunks: there the end of the connection ends the stream.
  close_ = close_ || connection_.state_->draining || !chunked_;
  headers.insert(headers.end(), cors_.begin(), cors_.end());
  if (std::none_of(headers.begin(), headers.end(),
                   [](auto& h) { return h.first == "cache-control"; })) {
    headers.emplace_back("cache-control", "no-cache");
  }
  const std::string head =
      connection_.response_head(200, request_.id, close_, headers, content_type, {}, chunked_);
  co_return co_await connection_.write_all(head, false);
}

Task<bool> ConnectionExchange::write(std::string frames) {
  if (!begun_ || ended_) throw std::logic_error("write outside of begin_stream and end_stream");
  if (frames.empty() || without_body_) co_return !peer_gone();
  if (chunked_) frames = chunk_size_line(frames.size()) + frames + "\r\n";
  co_return co_await connection_.write_all(frames, false);
}

Task<> ConnectionExchange::end_stream() {
  if (!begun_ || ended_) throw std::logic_error("end_stream without begin_stream");
  if (chunked_ && !without_body_) co_await connection_.write_all("0\r\n\r\n", true);
  ended_ = true;
}

}  // namespace mlxd::http
