#include "http/server_state.h"

#include <utility>
#include <vector>

#include "http/ascii.h"
#include "http/connection.h"
#include "http/response_text.h"

namespace mlxd::http {
namespace {

bool is_json(std::string_view content_type) {
  const auto media_type = content_type.substr(0, content_type.find_first_of("; \t"));
  return ascii_lower(media_type) == "application/json";
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// What a client sent, as far as it fits into a sentence.
std::string shown(std::string_view text) {
  constexpr std::size_t most = 100;
  return text.size() <= most ? std::string(text) : std::string(text.substr(0, most)) + "...";
}

}  // namespace

Error make_error(int status, std::string code, std::string message) {
  return Error{
      .status = status, .code = std::move(code), .param = {}, .message = std::move(message)};
}

Error too_many_connections(int limit) {
  Error error = make_error(503, "too_many_connections",
                           "The server has " + std::to_string(limit) +
                               " connections, as many as it may (--max-connections); try again.");
  error.retry_after_seconds = 1;
  return error;
}

void LiveConnections::add(Connection& connection) noexcept {
  connection.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &connection;
  first_ = &connection;
}

void LiveConnections::remove(Connection& connection) noexcept {
  if (connection.next_ != nullptr) connection.next_->previous_ = connection.previous_;
  (connection.previous_ != nullptr ? connection.previous_->next_ : first_) = connection.next_;
}

void LiveConnections::abort_all() noexcept {
  for (Connection* each = first_; each != nullptr; each = each->next_) each->abort();
}

void LiveConnections::end_all() noexcept {
  for (Connection* each = first_; each != nullptr;) {
    Connection& connection = *each;
    each = each->next_;
    connection.end_unfinished();
  }
}

ServerState::ServerState(ServerOptions server_options, Router server_router)
    : options([&] {
        ServerOptions copy = server_options;
        copy.api_keys.clear();
        copy.admin_keys.clear();
        return copy;
      }()),
      router(std::move(server_router)),
      keys(server_options.api_keys),
      admin_keys(server_options.admin_keys),
      hosts(server_options.allowed_hosts, server_options.host),
      origins(server_options.cors_origins) {}

std::string ServerState::error_body(std::string_view path, const Error& error) const {
  const auto& make = options.error_body;
  return make ? make(path, error) : R"({"error":")" + error.code + "\"}";
}

std::string ServerState::describe_unknown(std::string_view path) const {
  const bool short_enough = path.size() <= 100;  // else it could end within a character
  std::string text =
      short_enough ? "There is no " + std::string(path) + " here." : "There is no such path here.";
  if (const auto nearest = router.nearest(path); !nearest.empty()) {
    text += " Did you mean " + std::string(nearest) + "?";
  }
  return text + " There are: " + joined(router.endpoints()) + ".";
}

std::optional<Refusal> ServerState::refuse_key(const RequestHead& head, Key key) const {
  const auto shows_one_of = [&](const ApiKeys& all) {
    return all.accept(head.header("authorization"), head.header("x-api-key"));
  };
  if (key == Key::client && keys.required() && !shows_one_of(keys)) {
    return Refusal{make_error(401, "invalid_api_key",
                              "A valid API key is needed: send 'Authorization: Bearer KEY' or "
                              "'X-Api-Key: KEY'."),
                   {{"www-authenticate", "Bearer"}}};
  }
  if (key != Key::admin) return std::nullopt;
  if (!admin_keys.required()) {
    if (options.open_to_admin) return std::nullopt;
    return Refusal{make_error(403, "admin_off",
                              "Nobody administers this server over HTTP: the operator can give it "
                              "an --admin-key."),
                   {}};
  }
  if (shows_one_of(admin_keys)) return std::nullopt;
  return Refusal{make_error(401, "invalid_admin_key",
                            "The key that the operator gave with --admin-key is needed: send "
                            "'Authorization: Bearer KEY'."),
                 {{"www-authenticate", "Bearer"}}};
}

std::optional<Refusal> ServerState::refuse(const RequestHead& head, const Router::Match& match,
                                           std::string_view local_address) const {
  // Only HTTP/1.0 may name no host, which no browser speaks: balancers' checks do.
  if (!head.host.empty() && !hosts.accept(head.host, local_address)) {
    return Refusal{make_error(421, "host_not_allowed",
                              "This server does not answer to the Host '" + shown(head.host) +
                                  "'; the operator can allow it with --allowed-host."),
                   {}};
  }
  if (auto refusal = refuse_key(head, match.key)) return refusal;
  if (!match.handler && match.allowed.empty()) {
    return Refusal{make_error(404, "unknown_url", describe_unknown(head.path)), {}};
  }
  if (!match.handler) {
    return Refusal{make_error(405, "method_not_allowed",
                              "This path answers to " + joined(match.allowed) + " only."),
                   {{"allow", joined(match.allowed)}}};
  }
  const auto encoding = head.header("content-encoding");
  if (!encoding.empty() && ascii_lower(encoding) != "identity") {
    return Refusal{
        make_error(415, "unsupported_content_encoding", "The request body must not be compressed."),
        {}};
  }
  if (head.has_body() && !is_json(head.header("content-type"))) {
    return Refusal{make_error(415, "unsupported_media_type",
                              "The request body must be JSON: send 'Content-Type: "
                              "application/json' (curl's -d alone says otherwise; add -H "
                              "'Content-Type: application/json')."),
                   {}};
  }
  return std::nullopt;
}

Headers ServerState::cors_headers(const RequestHead& head) const {
  if (!origins.enabled()) return {};
  Headers headers = {{"vary", "origin"}};
  if (const auto origin = head.header("origin"); origins.accept(origin)) {
    headers.emplace_back("access-control-allow-origin", origin);
    headers.emplace_back("access-control-expose-headers", "*");
  }
  return headers;
}

bool ServerState::is_preflight(const RequestHead& head, const Router::Match& match) const {
  return head.method == "OPTIONS" && origins.accept(head.header("origin")) &&
         !head.header("access-control-request-method").empty() && !match.allowed.empty() &&
         !head.has_body();
}

bool ServerState::asks_for_options(const RequestHead& head) const {
  return head.path == "*" && !head.has_body();
}

Headers ServerState::options_headers() const { return {{"allow", "GET, HEAD, POST, OPTIONS"}}; }

Headers ServerState::preflight_headers(const RequestHead& head, const Router::Match& match) const {
  Headers headers = cors_headers(head);
  headers.emplace_back("access-control-allow-methods", joined(match.allowed));
  if (const auto asked = head.header("access-control-request-headers"); !asked.empty()) {
    headers.emplace_back("access-control-allow-headers", asked);
  }
  headers.emplace_back("access-control-max-age", "600");
  return headers;
}

InFlight::InFlight(ServerState& state) : state_(state) {
  std::lock_guard lock(state_.mutex);
  ++state_.exchanges;
}

InFlight::~InFlight() {
  std::lock_guard lock(state_.mutex);
  if (--state_.exchanges == 0) state_.idle.notify_all();
}

bool BodyMemory::hold(std::size_t bytes) {
  if (bytes <= held_.get()) return true;
  if (state_->body_bytes + (bytes - held_.get()) > state_->options.total_body_limit) return false;
  held_.set(bytes);
  return true;
}

}  // namespace mlxd::http
