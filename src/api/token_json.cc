#include "api/token_json.h"

#include <fmt/format.h>

#include "api/json_writer.h"
#include "base/utf8.h"

namespace mlxd::api {
namespace {

// Left open for more.
void begin_token(JsonWriter& json, int token, const std::string& bytes, float logprob, bool as_id) {
  json.begin_object();
  json.member("token", token_text(token, bytes, as_id));
  json.key("logprob");
  json.logprob(logprob);
  json.key("bytes");
  json.begin_array();
  for (const char byte : bytes) json.integer(static_cast<unsigned char>(byte));
  json.end_array();
}

}  // namespace

std::string token_text(int token, const std::string& bytes, bool as_id) {
  return as_id ? fmt::format("token_id:{}", token) : replace_invalid_utf8(bytes);
}

void write_token_logprobs(JsonWriter& json, const std::vector<TokenDetail>& tokens, bool as_ids) {
  json.begin_array();
  for (const auto& detail : tokens) {
    begin_token(json, detail.token, detail.bytes, detail.logprob, as_ids);
    json.key("top_logprobs");
    json.begin_array();
    for (const auto& other : detail.top) {
      begin_token(json, other.token, other.bytes, other.logprob, as_ids);
      json.end_object();
    }
    json.end_array();
    json.end_object();
  }
  json.end_array();
}

}  // namespace mlxd::api
