#include "base/utf8.h"

namespace mlxd {
namespace {

// The state of one character at the start of `s`: its length when valid, and otherwise how many
// bytes belong to the invalid or unfinished part.
struct Scan {
  std::size_t length;
  bool valid;
  bool unfinished;  // a valid beginning that the end of the text cuts off
};

// Table 3-7 of the Unicode standard: the range of the second byte depends on the first.
Scan scan_character(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {1, true, false};
  std::size_t length;
  unsigned char low = 0x80, high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {1, false, false};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i == s.size()) return {i, false, true};
    if (byte(i) < low || byte(i) > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

}  // namespace

std::size_t complete_utf8_prefix(std::string_view bytes) {
  // An unfinished character has at most 3 bytes, so only the last 3 can begin one.
  const std::size_t from = bytes.size() < 3 ? 0 : bytes.size() - 3;
  for (std::size_t i = from; i < bytes.size(); ++i) {
    if (scan_character(bytes.substr(i)).unfinished) return i;
  }
  return bytes.size();
}

bool is_valid_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const Scan scan = scan_character(bytes);
    if (!scan.valid) return false;
    bytes.remove_prefix(scan.length);
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Scan scan = scan_character(bytes);
    text += scan.valid ? bytes.substr(0, scan.length) : std::string_view("\xEF\xBF\xBD");
    bytes.remove_prefix(scan.length);
  }
  return text;
}

}  // namespace mlxd
