#include "http/router.h"

#include <algorithm>
#include <utility>

namespace mlxd::http {
namespace {

bool matches(std::string_view pattern, std::string_view path) {
  if (!pattern.ends_with("/*")) return pattern == path;
  const auto prefix = pattern.substr(0, pattern.size() - 1);
  return path.size() > prefix.size() && path.starts_with(prefix);
}

}  // namespace

void Router::add(std::string method, std::string pattern, Handler handler, bool needs_key) {
  routes_.push_back({std::move(method), std::move(pattern), std::move(handler), needs_key});
}

Router::Match Router::match(std::string_view method, std::string_view path) const {
  Match match;
  // An exact pattern wins over a prefix, whatever the order in which they were added.
  for (const bool prefixes : {false, true}) {
    for (const Route& route : routes_) {
      if (route.pattern.ends_with("/*") != prefixes || !matches(route.pattern, path)) continue;
      match.allowed.push_back(route.method);
      if (route.method == "GET") match.allowed.push_back("HEAD");
      const bool head = method == "HEAD" && route.method == "GET";
      if (!match.handler && (route.method == method || head)) {
        match.handler = &route.handler;
        match.needs_key = route.needs_key;
      }
    }
    if (!match.allowed.empty()) break;
  }
  return match;
}

}  // namespace mlxd::http
