#include "api/responses/writer.h"

#include "api/json_writer.h"
#include "api/request_parts.h"

namespace mlxd::api::responses {
namespace {

// The codes that clients act on; a context that is too long keeps its own.
std::string_view error_code(const Error& error) {
  if (error.status == 429) return "rate_limit_exceeded";
  if (error.status >= 500 || error.code.empty()) return "server_error";
  return error.code;
}

void write_error(JsonWriter& json, const Error* error) {
  if (error == nullptr) return json.null();
  json.begin_object();
  json.member("code", error_code(*error));
  json.member("message", error->message);
  json.end_object();
}

void write_usage(JsonWriter& json, const Usage* usage) {
  if (usage == nullptr) return json.null();
  json.begin_object();
  json.member("input_tokens", usage->prompt_tokens);
  json.key("input_tokens_details");
  json.begin_object();
  json.member("cached_tokens", usage->cached_prompt_tokens);
  // Of writes that a client asks and pays for; here all that is computed is kept, unasked.
  json.member("cache_write_tokens", 0);
  json.end_object();
  json.member("output_tokens", usage->completion_tokens);
  json.key("output_tokens_details");
  json.begin_object();
  json.member("reasoning_tokens", usage->reasoning_tokens);
  json.end_object();
  json.member("total_tokens", usage->prompt_tokens + usage->completion_tokens);
  json.end_object();
}

void write_incomplete(JsonWriter& json, bool incomplete) {
  if (!incomplete) return json.null();
  json.begin_object();
  json.member("reason", "max_output_tokens");
  json.end_object();
}

void write_response(JsonWriter& json, const std::string& response) {
  json.key("response");
  json.raw(response);
}

}  // namespace

std::string ResponseWriter::whole(const std::vector<ChoiceText>& choices, const Usage& usage) {
  for (const TextDelta& delta : choices.at(0)) output_.add(delta);
  return ended(usage);
}

// Called when there are frames to send, which come after these: so items may be there already.
void ResponseWriter::begin(int, std::string& frames) {
  events_.write_to(&frames);
  const std::string begun = response("in_progress", nullptr, nullptr);
  const auto members = [&](JsonWriter& json) { write_response(json, begun); };
  events_.send_first(0, "response.created", members);
  events_.send_first(1, "response.in_progress", members);
  events_.write_to(nullptr);
}

void ResponseWriter::add(const TextDelta& delta, std::string& frames) {
  events_.write_to(&frames);
  output_.add(delta);
  events_.write_to(nullptr);
}

void ResponseWriter::end(const Usage& usage, std::string& frames) {
  events_.write_to(&frames);
  const std::string whole = ended(usage);
  send_response(output_.incomplete() ? "response.incomplete" : "response.completed", whole);
  events_.write_to(nullptr);
}

// An event, and no comment: Codex gives up after five minutes without one, however alive the
// connection is. OpenAI sends the same, and its clients pass over it.
void ResponseWriter::keep_alive(std::string& frames) {
  events_.write_to(&frames);
  events_.send("keepalive", [](JsonWriter&) {});
  events_.write_to(nullptr);
}

void ResponseWriter::fail(const Error& error, std::string& frames) {
  events_.write_to(&frames);
  events_.send("error", [&](JsonWriter& json) {
    json.member("code", error_code(error));
    json.member("message", error.message);
    json.key("param");
    if (error.param.empty()) {
      json.null();
    } else {
      json.string(error.param);
    }
  });
  output_.break_off();
  send_response("response.failed", response("failed", nullptr, &error));
  events_.write_to(nullptr);
}

void ResponseWriter::send_response(std::string_view type, const std::string& response) {
  events_.send(type, [&](JsonWriter& json) { write_response(json, response); });
}

// The response object when all deltas are there.
std::string ResponseWriter::ended(const Usage& usage) {
  output_.end();
  std::string whole = response(output_.incomplete() ? "incomplete" : "completed", &usage, nullptr);
  if (shape_.store) keep(whole);
  return whole;
}

std::string ResponseWriter::response(std::string_view status, const Usage* usage,
                                     const Error* error) const {
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  json.member("id", shape_.id);
  json.member("object", "response");
  json.member("created_at", shape_.created);
  json.member("status", status);
  json.member("model", shape_.model);
  json.key("output");
  json.begin_array();
  if (status != "in_progress") {
    for (const auto& item : output_.items()) write_item(json, item);
  }
  json.end_array();
  json.key("usage");
  write_usage(json, usage);
  json.key("error");
  write_error(json, error);
  json.key("incomplete_details");
  write_incomplete(json, status == "incomplete");
  json.key("completed_at");
  if (status == "completed") {
    json.integer(unix_time());
  } else {
    json.null();
  }
  json.member("background", false);
  json.member("service_tier", "default");
  json.member("truncation", "disabled");
  json.end_object();
  text.back() = ',';
  return text + shape_.echoed + '}';
}

void ResponseWriter::keep(const std::string& response) {
  ResponseStore::Items items = shape_.conversation;
  for (const auto& item : output_.items()) {
    std::string text;
    JsonWriter json(text);
    write_item(json, item);
    items.push_back(
        std::make_shared<ResponseStore::Item>(ResponseStore::Item{item.id, std::move(text)}));
  }
  shape_.store->put(shape_.caller, shape_.id, response, std::move(items), output_.items().size());
}

}  // namespace mlxd::api::responses
