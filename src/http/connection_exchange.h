// A request and the answer that its handler makes, over a Connection. Private to http; everything
// here runs on the I/O thread.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "http/exchange.h"
#include "http/response_text.h"

namespace mlxd::http {

class Connection;

// Lives within a handler's call. `connection` and `cors` must outlive it.
class ConnectionExchange final : public Exchange {
 public:
  ConnectionExchange(Connection& connection, Request request, const Headers& cors, bool keep_alive,
                     bool http_10);
  ~ConnectionExchange() override;

  const Request& request() const override { return request_; }
  Body take_body() override { return std::exchange(request_.body, {}); }
  bool peer_gone() const override;
  const std::shared_ptr<Wakeup>& wakeup() override;
  Task<> respond(Response response) override;
  Task<bool> begin_stream(Headers headers, std::string_view content_type) override;
  Task<bool> write(std::string frames) override;
  Task<> end_stream() override;

  void notify_peer_gone();
  bool begun() const { return begun_; }
  bool ended() const { return ended_; }
  bool close() const { return close_; }
  const Headers& cors() const { return cors_; }

 private:
  void begin();

  Connection& connection_;
  Request request_;
  const Headers& cors_;
  std::shared_ptr<Wakeup> wakeup_;
  bool close_;
  const bool chunked_;
  const bool without_body_;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace mlxd::http
