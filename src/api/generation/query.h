#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "api/generation/model_directory.h"
#include "api/generation/shared.h"
#include "base/error.h"

namespace mlxd::http {
class Router;
}

namespace mlxd::api {

// A question that needs no engine, such as how many tokens a text has, with one method at one path.
// It outlives every request that it answers. Unlike a request for an answer it is recorded nowhere,
// and is answered while the server drains.
class Query {
 public:
  virtual ~Query() = default;
  virtual std::string_view path() const = 0;
  virtual std::string_view method() const { return "POST"; }

  // The body of the answer, in JSON. `body` is empty where the method has none. Text pool, several
  // threads at a time.
  virtual Result<std::string> answer(std::string_view body, const ModelDirectory& models) const = 0;
  // The same of a caller (http::Request::caller), for a question about what is kept for each.
  virtual Result<std::string> answer_for(std::uint64_t /*caller*/, std::string_view body,
                                         const ModelDirectory& models) const {
    return answer(body, models);
  }
  // As Dialect's.
  virtual std::string_view id_header() const { return {}; }
  // As Dialect's.
  virtual Error in_own_terms(Error error) const { return error; }
  virtual std::string error_body(const Error& error) const = 0;
};

// Adds the query's method at its path. `shared` and `query` must outlive the router's exchanges.
void mount_query(http::Router& router, GenerationShared& shared, const Query& query);

}  // namespace mlxd::api
