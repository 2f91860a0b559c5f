#include "tracing/trace_context.h"

#include <algorithm>
#include <cstddef>

namespace mlxd::tracing {
namespace {

constexpr std::size_t kTraceParentBytes = 55;  // of version 00: 00-<32>-<16>-<2>
constexpr std::size_t kMostMembers = 32;       // of tracestate

int hex_digit(char c) {  // in lower case alone, as the standard has it
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// False where the text is not as many bytes in hexadecimal.
bool read_hex(std::string_view text, std::span<std::uint8_t> bytes) {
  if (text.size() != 2 * bytes.size()) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return true;
}

bool is_zero(std::span<const std::uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_key(std::string_view key) {
  return !key.empty() && key.size() <= 256 && is_lower_or_digit(key.front()) &&
         std::ranges::all_of(key, [](char c) {
           return is_lower_or_digit(c) ||
                  std::string_view("_-*/@").find(c) != std::string_view::npos;
         });
}

bool is_value(std::string_view value) {
  return !value.empty() && value.size() <= 256 && std::ranges::all_of(value, [](char c) {
    return c >= 0x20 && c <= 0x7e && c != ',' && c != '=';
  });
}

bool is_trace_state(std::string_view text) {
  std::size_t members = 0;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t comma = std::min(text.find(',', start), text.size());
    const std::string_view member = trimmed(text.substr(start, comma - start));
    start = comma + 1;
    if (member.empty()) continue;
    const std::size_t equals = member.find('=');
    if (equals == std::string_view::npos || ++members > kMostMembers) return false;
    if (!is_key(member.substr(0, equals)) || !is_value(member.substr(equals + 1))) return false;
  }
  return members > 0;
}

}  // namespace

std::optional<RemoteParent> read_trace_context(std::string_view traceparent,
                                               std::string_view tracestate) {
  const std::string_view text = trimmed(traceparent);
  if (text.size() < kTraceParentBytes) return std::nullopt;
  std::array<std::uint8_t, 1> version, flags;
  RemoteParent parent;
  const bool is_read =
      text[2] == '-' && text[35] == '-' && text[52] == '-' &&
      read_hex(text.substr(0, 2), version) && read_hex(text.substr(3, 32), parent.trace_id) &&
      read_hex(text.substr(36, 16), parent.span_id) && read_hex(text.substr(53, 2), flags);
  if (!is_read || is_zero(parent.trace_id) || is_zero(parent.span_id)) return std::nullopt;
  // A later version may go on behind another dash, and is read as this one.
  if (version[0] == 0xff) return std::nullopt;
  if (text.size() > kTraceParentBytes && (version[0] == 0 || text[kTraceParentBytes] != '-')) {
    return std::nullopt;
  }
  parent.sampled = (flags[0] & 1) != 0;
  if (is_trace_state(tracestate)) parent.trace_state = trimmed(tracestate);
  return parent;
}

std::string to_hex(std::span<const std::uint8_t> id) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * id.size());
  for (const std::uint8_t byte : id) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace mlxd::tracing
