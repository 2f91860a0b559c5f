#pragma once

#include <string>
#include <string_view>

#include "api/generation/model_directory.h"
#include "api/generation/shared.h"
#include "base/error.h"

namespace mlxd::http {
class Router;
}

namespace mlxd::api {

// A question about a text that needs no engine, such as how many tokens it has, at one path. It
// outlives every request that it answers.
class Query {
 public:
  virtual ~Query() = default;
  virtual std::string_view path() const = 0;  // answers POST

  // The body of the answer, in JSON. Text pool, several threads at a time.
  virtual Result<std::string> answer(std::string_view body, const ModelDirectory& models) const = 0;
  // As Dialect's.
  virtual std::string error_body(const Error& error) const = 0;
};

// Adds POST at the query's path. `shared` and `query` must outlive the router's exchanges.
void mount_query(http::Router& router, GenerationShared& shared, const Query& query);

}  // namespace mlxd::api
