// The text of answers: status line and headers, error bodies, request ids.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/exchange.h"

namespace mlxd::http {

// Builds a response head. Values are made safe: a control character becomes a space.
class ResponseHead {
 public:
  explicit ResponseHead(int status);
  void add(std::string_view name, std::string_view value);
  void add(const Headers& headers);
  bool has(std::string_view lower_case_name) const;  // among those added by `add(Headers)`
  std::string finish() &&;                           // with the blank line

 private:
  std::string text_;
  std::vector<std::string> names_;  // in lower case
};

// 1..128 of letters, digits, '.', '_' and '-': fit for logs and headers.
bool is_valid_request_id(std::string_view id);
std::string make_request_id();

}  // namespace mlxd::http
