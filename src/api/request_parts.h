// What a request of any dialect has beside its own fields: keys that nobody knows, a seed, a
// deadline, ids, headers of its answer, and what templates are told of thinking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "http/exchange.h"

namespace mlxd::api {

inline constexpr std::size_t kMaxStops = 16;
inline constexpr std::size_t kMaxStopBytes = 1024;  // each is kept, with tables, for every choice

// How many stop strings there may be, and how long each; `param` is where the client wrote them.
Result<void> check_stops(std::string_view param, const std::vector<std::string>& stops);

// A part of a dialect's fields.
struct UnknownKeys {
  bool lenient = false;
  std::vector<std::string> ignored;  // for answer_headers

  // An unknown key: remembered when lenient, else the error that names it. One that says what the
  // answer is to be (a grammar, tokens to stop at, ...) is an error in any case: without it the
  // answer would be another.
  Result<void> unknown(std::string name);
};

// Keys that nobody knows, gathered from a table's readers, so that a client is told of all at once.
class UnknownNames {
 public:
  // Whether the error is about such a key, which is then remembered.
  bool took(const Error& error);
  // The error that names all; none: there is no such key.
  Result<void> result() const;

 private:
  std::vector<std::string> names_;
  Error first_;
};

// A string, or an array of at most kMaxStops; none of them empty.
Result<std::vector<std::string>> read_stops(const boost::json::value& value,
                                            std::string_view param);

// A seed that also survives clients whose only numbers are doubles.
std::uint64_t random_seed();
std::string random_hex(std::size_t digits);
// Nine letters and digits: the only form that every template takes back (Mistral's refuse others).
std::string make_call_id();
long unix_time();  // now, in seconds
TimePoint deadline_after(double seconds);

// x-seed, and x-mlxd-ignored where something was.
http::Headers answer_headers(const std::string& seed, const std::vector<std::string>& ignored);

// x-mlxd-ignored alone, where something was.
http::Headers ignored_header(const std::vector<std::string>& ignored);

bool is_reasoning_effort(std::string_view word);
// Of an effort ("": not sent) and of whether to think at all: variables for the template.
boost::json::object thinking_arguments(std::string_view effort, std::optional<bool> thinks);

}  // namespace mlxd::api
