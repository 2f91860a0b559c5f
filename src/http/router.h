#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/exchange.h"

namespace mlxd::http {

// The key that a route asks for: none, one of the clients', or the administrator's.
enum class Key { none, client, admin };

// Exact paths, or a prefix when the pattern ends in "/*" (the rest may hold slashes).
class Router {
 public:
  void add(std::string method, std::string pattern, Handler handler, Key key = Key::client);

  struct Match {
    const Handler* handler = nullptr;  // null: no such path, or not with this method
    Key key = Key::client;
    std::vector<std::string> allowed;  // methods this path has (for 405 + Allow); empty: 404
  };
  Match match(std::string_view method, std::string_view path) const;

  // Each route as "METHOD /pattern", in the order in which they were added.
  std::vector<std::string> endpoints() const;
  // The exact path that `path` may have been meant to be; "" when none is near.
  std::string_view nearest(std::string_view path) const;

 private:
  struct Route {
    std::string method, pattern;
    Handler handler;
    Key key;
  };
  std::vector<Route> routes_;
};

}  // namespace mlxd::http
