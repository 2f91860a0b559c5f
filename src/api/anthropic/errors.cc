#include "api/anthropic/errors.h"

#include <string_view>

#include "api/json_writer.h"

namespace mlxd::api::anthropic {
namespace {

std::string_view type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    case 408:
    case 504:
      return "timeout_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

}  // namespace

Error in_own_terms(Error error) {
  if (error.status == 429 || error.status == 503) error.status = 529;
  return error;
}

std::string error_json(const Error& error) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  json.member("type", "error");
  json.key("error");
  json.begin_object();
  json.member("type", type_of(error.status));
  json.member("message", error.message);
  json.end_object();
  if (error.request_id.empty()) {
    json.null_member("request_id");
  } else {
    json.member("request_id", error.request_id);
  }
  json.end_object();
  return out;
}

}  // namespace mlxd::api::anthropic
