#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>

#include "api/anthropic/wire.h"
#include "api/generation/dialect.h"
#include "api/tools.h"

namespace mlxd::api::anthropic {

// What `tool_choice` says.
struct ToolChoice {
  bool none = false;
  bool must = false;
  std::string name;  // the one that must be called; "": any
  bool at_most_one = false;
};

// Up to where a client wants the prompt kept.
struct Breakpoint {
  static constexpr std::size_t kAll = std::string::npos;
  std::size_t turns = 0;  // the first so many messages; 0: what stands before them
  std::chrono::seconds time{};
};

// A request while it is read: every parameter where it stays, or by itself where it means something
// only together with others (parse_request).
struct RequestFields {
  std::string model;
  boost::json::array system;    // of {"type": "text"} parts
  boost::json::array messages;  // as templates read them, without `system`
  bool continues = false;       // the last message is the beginning of the answer
  ToolList tools;
  std::vector<std::string> tool_names;
  ToolChoice tool_choice;
  TextOptions text;
  GenerateJob job = job_without_limit();
  std::optional<std::string> seed;  // as it was sent; the job has the number
  std::optional<bool> thinks;
  std::string effort;  // "": not sent
  bool stream = false;
  std::vector<Breakpoint> breakpoints;  // cache_control
  bool omit_thinking = false;
  std::vector<std::string> ignored;  // what was sent and has no effect here
};

}  // namespace mlxd::api::anthropic
