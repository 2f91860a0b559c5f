#pragma once

#include <span>
#include <string_view>

namespace mlxd::api::openapi {

// What a route does. Names are those of the document's components, with "" for none.
struct Operation {
  std::string_view method;
  std::string_view pattern;  // as the router has it
  std::string_view tag;
  std::string_view summary;
  std::string_view request;  // of the body
  std::string_view answer;
  std::string_view error;
  std::string_view stream;      // of what a streamed answer consists of; its answers have a seed
  std::string_view parameters;  // words: headers and the query's
  bool needs_key = true;        // one of the clients'; `admin` has a key of its own
};

std::span<const Operation> operations();

}  // namespace mlxd::api::openapi
