#include "http/router.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace mlxd::http {
namespace {

bool matches(std::string_view pattern, std::string_view path) {
  if (!pattern.ends_with("/*")) return pattern == path;
  const auto prefix = pattern.substr(0, pattern.size() - 1);
  return path.size() > prefix.size() && path.starts_with(prefix);
}

// Levenshtein's: characters to insert, remove or replace.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

}  // namespace

void Router::add(std::string method, std::string pattern, Handler handler, Key key) {
  routes_.push_back({std::move(method), std::move(pattern), std::move(handler), key});
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
        match.key = route.key;
      }
    }
    if (!match.allowed.empty()) break;
  }
  return match;
}

std::vector<std::string> Router::endpoints() const {
  std::vector<std::string> endpoints;
  for (const Route& route : routes_) endpoints.push_back(route.method + " " + route.pattern);
  return endpoints;
}

std::string_view Router::nearest(std::string_view path) const {
  constexpr std::size_t longest = 64;  // longer ones are near to nothing, and would take time
  if (path.size() > longest) return {};
  std::string_view nearest;
  std::size_t least = longest;
  for (const Route& route : routes_) {
    if (route.pattern.ends_with("/*") || route.pattern == "/") continue;
    const std::size_t distance = edit_distance(path, route.pattern);
    if (distance > route.pattern.size() / 3 || distance >= least) continue;
    least = distance;
    nearest = route.pattern;
  }
  return nearest;
}

}  // namespace mlxd::http
