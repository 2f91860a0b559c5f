#include "web/encodings.h"

#include <algorithm>
#include <optional>

#include "http/ascii.h"

namespace mlxd::web {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Takes the part of `rest` before the next separator, which is dropped.
std::string_view next_part(std::string_view& rest, char separator) {
  const auto end = std::min(rest.find(separator), rest.size());
  const std::string_view part = trimmed(rest.substr(0, end));
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

bool same(std::string_view a, std::string_view b) {
  return http::ascii_lower(a) == http::ascii_lower(b);
}

// Of the parameters of a list's item: "q=0", "q=0.000". All other weights allow it.
bool is_refused(std::string_view parameters) {
  while (!parameters.empty()) {
    const std::string_view parameter = next_part(parameters, ';');
    if (parameter.size() < 3 || !same(parameter.substr(0, 2), "q=")) continue;
    return parameter[2] == '0' && parameter.find_first_of("123456789", 3) == parameter.npos;
  }
  return false;
}

// What a list with weights says of `name` itself; nothing when it does not have it.
std::optional<bool> verdict(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    std::string_view item = next_part(list, ',');
    if (same(next_part(item, ';'), name)) return !is_refused(item);
  }
  return std::nullopt;
}

}  // namespace

bool accepts_encoding(std::string_view header, std::string_view coding) {
  if (const auto said = verdict(header, coding)) return *said;
  return verdict(header, "*").value_or(false);
}

bool asks_for_html(std::string_view accept) { return verdict(accept, "text/html").value_or(false); }

bool names_tag(std::string_view if_none_match, std::string_view tag) {
  while (!if_none_match.empty()) {
    std::string_view item = next_part(if_none_match, ',');
    if (item.starts_with("W/")) item.remove_prefix(2);
    if (item == tag || item == "*") return true;
  }
  return false;
}

}  // namespace mlxd::web
