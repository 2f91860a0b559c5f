#include "api/ollama/errors.h"

#include "api/json_writer.h"

namespace mlxd::api::ollama {

std::string error_body(const Error& error) {
  std::string body;
  JsonWriter json(body);
  json.begin_object();
  json.member("error", error.message);
  json.end_object();
  return body;
}

Error in_own_terms(Error error) {
  if (error.status == 429) error.status = 503;
  return error;
}

}  // namespace mlxd::api::ollama
