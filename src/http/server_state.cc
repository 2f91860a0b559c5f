#include "http/server_state.h"

#include <utility>
#include <vector>

#include "http/ascii.h"
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

}  // namespace

Error make_error(int status, std::string code, std::string message) {
  return Error{
      .status = status, .code = std::move(code), .param = {}, .message = std::move(message)};
}

ServerState::ServerState(ServerOptions server_options, Router server_router)
    : options([&] {
        ServerOptions copy = server_options;
        copy.api_keys.clear();
        return copy;
      }()),
      router(std::move(server_router)),
      keys(server_options.api_keys),
      hosts(server_options.allowed_hosts, server_options.host),
      origins(server_options.cors_origins) {}

std::string ServerState::error_body(std::string_view path, const Error& error) const {
  const auto& make = options.error_body;
  return make ? make(path, error) : R"({"error":")" + error.code + "\"}";
}

std::optional<Refusal> ServerState::refuse(const RequestHead& head, const Router::Match& match,
                                           std::string_view local_address) const {
  if (!hosts.accept(head.host, local_address)) {
    return Refusal{make_error(421, "host_not_allowed",
                              "This server does not answer to that Host name; the operator can add "
                              "it to the allowed hosts."),
                   {}};
  }
  if (match.needs_key && keys.required() && !keys.accept(head.header("authorization"))) {
    return Refusal{make_error(401, "invalid_api_key",
                              "A valid API key is needed: send 'Authorization: Bearer KEY'."),
                   {{"www-authenticate", "Bearer"}}};
  }
  if (!match.handler && match.allowed.empty()) {
    return Refusal{make_error(404, "unknown_url", "There is no such path on this server."), {}};
  }
  if (!match.handler) {
    return Refusal{make_error(405, "method_not_allowed",
                              "This path answers to " + joined(match.allowed) + " only."),
                   {{"allow", joined(match.allowed)}}};
  }
  const auto encoding = head.header("content-encoding");
  if (!encoding.empty() && encoding != "identity") {
    return Refusal{
        make_error(415, "unsupported_content_encoding", "The request body must not be compressed."),
        {}};
  }
  if (head.has_body() && !is_json(head.header("content-type"))) {
    return Refusal{make_error(415, "unsupported_media_type",
                              "The request body must be JSON: send 'Content-Type: "
                              "application/json'."),
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
