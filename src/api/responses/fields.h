// A request of /v1/responses while it is read, and as it has been read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "api/generation/dialect.h"
#include "api/request_parts.h"
#include "api/responses/response_store.h"
#include "api/tools.h"
#include "serve/request.h"

namespace mlxd::api::responses {

// What a function that the model sees is to the client.
struct OfferedTool {
  std::string name_space;  // "": none
  std::string name;
  bool custom = false;  // takes free text: its one argument `input`
};

// All tools of a request. The model sees each as a function of one name.
struct Tools {
  ToolList list;
  std::map<std::string, OfferedTool, std::less<>> offered;  // by the name that the model sees
  std::vector<std::string> unavailable;                     // types that this server does not have
  bool in_items = false;  // those that are read now stand in items, and may be known already
};

// What `tool_choice` says; names are the model's.
struct ToolChoice {
  bool none = false;
  bool must = false;
  std::vector<std::string> only;
};

struct Fields : UnknownKeys {
  std::string model;
  const boost::json::value* input = nullptr;  // in the body
  std::string instructions;
  std::string previous_response_id;
  Tools tools;
  const boost::json::value* said_choice = nullptr;  // in the body: read when all tools are known
  ToolChoice tool_choice;
  bool parallel_calls = true;
  std::string reasoning_effort;  // "": not sent
  TextOptions text;
  GenerateJob job = job_without_limit();
  bool logprobs = false;  // shown
  bool store = true;
  bool stream = false;
  std::optional<std::string> seed;  // as it was sent; the job has the number
  std::optional<double> timeout_seconds;
  boost::json::object echoed;  // parameters that the answer repeats, as they were sent
};

// What the writer of an answer needs to know of its request.
struct Shape {
  std::string id;  // "resp_..."
  long created = 0;
  std::string model;   // the served id
  std::string echoed;  // members of the response object, in JSON, as `"a":1,"b":2`
  bool logprobs = false;
  std::map<std::string, OfferedTool, std::less<>> offered;
  // Where the answer is kept; null: nowhere. With the conversation before it.
  std::shared_ptr<ResponseStore> store;
  std::uint64_t caller = 0;
  ResponseStore::Items conversation;
};

struct Request {
  ParsedRequest parsed;  // without writer and headers
  Shape shape;
  std::string seed;
  std::vector<std::string> ignored;
};

}  // namespace mlxd::api::responses
