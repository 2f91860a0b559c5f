#include "api/errors.h"

#include <string_view>
#include <utility>

#include "api/generation/dialect.h"
#include "api/json_writer.h"

namespace mlxd::api {
namespace {

// The types that OpenAI's clients know.
std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

void write_text_or_null(JsonWriter& json, std::string_view key, std::string_view text) {
  json.key(key);
  if (text.empty()) {
    json.null();
  } else {
    json.string(text);
  }
}

}  // namespace

std::string error_json(const Error& error) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  json.key("error");
  json.begin_object();
  json.member("message", error.message);
  json.member("type", error_type(error.status));
  write_text_or_null(json, "param", error.param);
  write_text_or_null(json, "code", error.code);
  json.end_object();
  json.end_object();
  return out;
}

http::Response error_response(const Error& error) {
  return error_response(error, error_json(error));
}

Error bad_value(std::string param, std::string message) {
  Error error;
  error.status = 400;
  error.code = "invalid_value";
  error.param = std::move(param);
  error.message = std::move(message);
  return error;
}

}  // namespace mlxd::api
