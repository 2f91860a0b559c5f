#include "http/connection.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "http/connection_exchange.h"

namespace mlxd::http {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

std::string in_seconds(double seconds) {
  return fmt::format("{:g} {}", seconds, seconds == 1 ? "second" : "seconds");
}

}  // namespace

// ---- State ----------------------------------------------------------------------------------

Connection::Connection(std::shared_ptr<ServerState> state, asio::ip::tcp::socket socket)
    : state_(std::move(state)),
      socket_(std::move(socket)),
      timer_(socket_.get_executor()),
      input_bytes_(state_->buffer_bytes) {
  ++state_->connections;
  state_->live.add(*this);
}

Connection::~Connection() {
  state_->live.remove(*this);
  --state_->connections;
}

TimePoint Connection::after(double seconds) const { return after_seconds(Clock::now(), seconds); }

// ---- Requests -------------------------------------------------------------------------------

// However the connection's coroutine ends: operations that are still pending hold the connection,
// and end with its socket.
struct Connection::Closing {
  explicit Closing(Connection& connection) : connection_(connection) {}
  ~Closing() {
    error_code ignored;
    connection_.socket_.close(ignored);
  }
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;
  Connection& connection_;
};

void Connection::start(bool one_too_many) {
  task_.emplace(one_too_many ? refuse() : serve());
  running_ = shared_from_this();
  task_->enter(*this);
  resume();
}

void Connection::ended() noexcept {
  try {
    task_->result();
  } catch (const std::exception& error) {
    spdlog::error("a connection failed: {}", error.what());
  } catch (...) {
    spdlog::error("a connection failed");
  }
  end_unfinished();
}

void Connection::end_unfinished() noexcept {
  const std::shared_ptr<Connection> self = std::move(running_);
  task_.reset();
}

Task<> Connection::serve() {
  const Closing closing(*this);
  while (co_await serve_one()) {
  }
  if (!broken_) co_await linger();
}

Task<> Connection::refuse() {
  const Closing closing(*this);
  const Refusal refusal{too_many_connections(state_->options.max_connections), {}, true};
  const std::string id = make_request_id();
  state_->refusals.write(refusal.error, id, {});
  co_await refuse_request(refusal, "", id, Headers(), false);
  co_await linger();
}

// Nothing: the peer closed, or was idle for too long.
Task<std::optional<Result<RequestHead>>> Connection::read_head() {
  const ServerOptions& options = state_->options;
  if (input_.empty()) {
    input_.shrink_to_fit();  // an idle connection holds no buffer
    count_input();
    co_await wait_for_input(after(options.idle_seconds));
    if (input_.empty()) co_return std::nullopt;
  }
  const TimePoint deadline = after(options.header_seconds);
  HeadScanner scanner;
  bool first = true;
  for (;;) {
    // One empty line before a request is ignored (RFC 9112, 2.2).
    if (first && input_.size() >= 2) {
      if (input_.starts_with("\r\n")) input_.erase(0, 2);
      first = false;
    }
    const auto state = first ? HeadScanner::State::kMore : scanner.scan(input_);
    if (state == HeadScanner::State::kMalformed) {
      co_return make_error(400, "bad_request",
                           "The request header holds a control character or a line that does not "
                           "end in CRLF.");
    }
    if (state == HeadScanner::State::kComplete && scanner.head_size() <= options.header_limit) {
      break;
    }
    if (state == HeadScanner::State::kComplete || input_.size() > options.header_limit) {
      co_return make_error(
          431, "header_too_large",
          "The request header is longer than " + std::to_string(options.header_limit) + " bytes.");
    }
    if (!co_await wait_for_input(deadline)) {
      if (peer_gone()) co_return std::nullopt;
      co_return make_error(408, "request_timeout",
                           "The request header did not arrive within " +
                               in_seconds(options.header_seconds) + " (--header-timeout).");
    }
  }
  auto head = parse_head(std::string_view(input_).substr(0, scanner.head_size()));
  input_.erase(0, scanner.head_size());
  co_return head;
}

// With `keep` false the body is read, under the same limits, and thrown away.
Task<std::optional<Error>> Connection::read_body(const RequestHead& head, bool keep,
                                                 std::string& body, BodyMemory& memory) {
  const ServerOptions& options = state_->options;
  const TimePoint deadline = after(options.body_seconds);
  ChunkDecoder decoder(options.body_limit);
  std::uint64_t left = head.content_length.value_or(0);
  bool more = head.has_body();
  while (more) {
    std::string_view unread = input_;
    if (head.chunked) {
      auto result = decoder.feed(unread, body);
      if (!result) co_return result.error();
      more = *result;
    } else {
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left, unread.size()));
      body.append(unread.substr(0, count));
      unread.remove_prefix(count);
      left -= count;
      more = left > 0;
    }
    input_.erase(0, input_.size() - unread.size());
    if (!keep) body.clear();
    if (!memory.hold(body.capacity())) {
      Error error =
          make_error(503, "overloaded", "The server holds too many request bodies; try again.");
      error.retry_after_seconds = 1;
      co_return error;
    }
    if (more && !co_await wait_for_input(deadline)) {
      if (peer_gone()) {
        co_return make_error(400, "bad_request", "The connection ended inside the request body.");
      }
      co_return make_error(408, "request_timeout",
                           "The request body did not arrive within " +
                               in_seconds(options.body_seconds) + " (--body-timeout).");
    }
  }
  co_return std::nullopt;
}

std::string Connection::response_head(int status, const std::string& id, bool close,
                                      const Headers& extra, std::string_view content_type,
                                      std::optional<std::size_t> content_length,
                                      bool chunked) const {
  ResponseHead head(status);
  head.add("x-request-id", id);
  if (!content_type.empty()) head.add("content-type", content_type);
  if (content_length) head.add("content-length", std::to_string(*content_length));
  if (chunked) head.add("transfer-encoding", "chunked");
  if (close) head.add("connection", "close");
  head.add(extra);
  if (!head.has("cache-control")) head.add("cache-control", "no-store");
  return std::move(head).finish();
}

Task<bool> Connection::refuse_request(const Refusal& refusal, std::string_view path,
                                      const std::string& id, Headers cors, bool without_body) {
  const bool close = refusal.close || state_->draining;
  Error error = refusal.error;
  error.request_id = id;
  const std::string body = state_->error_body(path, error);
  cors.insert(cors.end(), refusal.headers.begin(), refusal.headers.end());
  if (const auto text = retry_after(refusal.error)) cors.emplace_back("retry-after", *text);
  std::string text =
      response_head(refusal.error.status, id, close, cors, "application/json", body.size(), false);
  if (!without_body) text += body;
  co_return co_await write_all(text, true) && !close;
}

Task<bool> Connection::answer_options(const RequestHead& head, const Headers& headers,
                                      const std::string& id) {
  const bool close = !head.keep_alive || state_->draining;
  const std::string text = response_head(204, id, close, headers, "", {}, false);
  co_return co_await write_all(text, true) && !close;
}

// Returns whether another request may follow.
Task<bool> Connection::serve_one() {
  auto received = co_await read_head();
  if (!received) co_return false;
  const InFlight in_flight(*state_);
  if (!*received) {
    const Refusal refusal{received->error(), {}, true};
    const std::string id = make_request_id();
    state_->refusals.write(refusal.error, id, {});
    co_return co_await refuse_request(refusal, "", id, Headers(), false);
  }
  RequestHead& head = **received;
  const auto given_id = head.header("x-request-id");
  std::string id = is_valid_request_id(given_id) ? std::string(given_id) : make_request_id();
  const Headers cors = state_->cors_headers(head);

  error_code ignored;
  const auto local = socket_.local_endpoint(ignored).address();
  const auto match = state_->router.match(head.method, head.path);
  auto refusal = state_->refuse(head, match, local.to_string());
  if (state_->is_preflight(head, match) && (!refusal || refusal->error.status != 421)) {
    const Headers headers = state_->preflight_headers(head, match);
    co_return co_await answer_options(head, headers, id);
  }
  if (state_->asks_for_options(head) && refusal && refusal->error.status == 404) {
    const Headers headers = state_->options_headers();
    co_return co_await answer_options(head, headers, id);
  }

  std::optional<Error> body_error;
  Body body;
  if (head.content_length.value_or(0) > state_->options.body_limit) {
    body_error = make_error(
        413, "body_too_large",
        "The body is longer than " + std::to_string(state_->options.body_limit) + " bytes.");
  } else if (head.has_body()) {
    // A client that waits for permission and is refused may send its body or not: only closing
    // leaves no doubt about what its next bytes are.
    const bool waits = head.expects_continue && input_.empty();
    if (refusal && waits) {
      refusal->close = true;
    } else {
      if (waits && !co_await write_all("HTTP/1.1 100 Continue\r\n\r\n", true)) co_return false;
      const auto memory = std::make_shared<BodyMemory>(state_);
      body.counted = memory;
      body_error = co_await read_body(head, !refusal, body.text, *memory);
    }
  }
  if (body_error) {
    if (!refusal) refusal = Refusal{*body_error, {}};
    refusal->close = true;
  }
  if (refusal) {
    refusal->close = refusal->close || !head.keep_alive;
    body.release();
    state_->refusals.write(refusal->error, id, head.method + " " + head.path);
    co_return co_await refuse_request(*refusal, head.path, id, cors, head.method == "HEAD");
  }

  const std::uint64_t caller =
      state_->keys.caller(head.header("authorization"), head.header("x-api-key"));
  // Nobody behind this point needs the key, so that nobody can log it.
  std::erase_if(head.headers, [](auto& header) {
    return header.first == "authorization" || header.first == "x-api-key";
  });
  Request request{std::move(head.method),
                  std::move(head.path),
                  std::move(head.query),
                  std::move(head.headers),
                  std::move(body),
                  std::move(id),
                  caller};
  input_.shrink_to_fit();  // a handler may run for long
  count_input();
  ConnectionExchange exchange(*this, std::move(request), cors, head.keep_alive,
                              head.minor_version == 0);
  co_return co_await handle(exchange, *match.handler);
}

Task<bool> Connection::handle(ConnectionExchange& exchange, const Handler& handler) {
  const std::string& id = exchange.request().id;
  bool failed = false;
  try {
    co_await handler(exchange);
  } catch (const std::exception& error) {
    failed = true;
    spdlog::error("request {}: the handler failed: {}", id, error.what());
  } catch (...) {
    failed = true;
    spdlog::error("request {}: the handler failed", id);
  }
  if (exchange.ended()) co_return !exchange.close() && !broken_ && !failed;
  if (exchange.begun() || (peer_gone() && !failed)) {
    broken_ = true;  // no regular end of the answer: the peer must see that it was cut off
    co_return false;
  }
  const Refusal refusal{
      make_error(500, "internal_error", "The server failed to answer this request."),
      {},
      exchange.close()};
  co_return co_await refuse_request(refusal, exchange.request().path, id, exchange.cors(),
                                    exchange.request().method == "HEAD");
}

}  // namespace mlxd::http
