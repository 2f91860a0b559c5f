#include "http/response_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <random>

#include <openssl/rand.h>

#include "http/ascii.h"

namespace mlxd::http {
namespace {

std::string_view reason(int status) {
  static constexpr std::array<std::pair<int, std::string_view>, 25> reasons = {{
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {304, "Not Modified"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {413, "Content Too Large"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {422, "Unprocessable Content"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
      {529, "Overloaded"},
  }};
  for (const auto& [code, text] : reasons) {
    if (code == status) return text;
  }
  return "Status";
}

// RFC 9110, 5.6.7, always in English whatever the locale.
std::string http_date() {
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  thread_local std::time_t last = 0;
  thread_local std::string text;
  if (now != last) {
    std::tm utc{};
    gmtime_r(&now, &utc);
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[utc.tm_wday],
                  utc.tm_mday, months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min,
                  utc.tm_sec);
    text = buffer;
    last = now;
  }
  return text;
}

}  // namespace

ResponseHead::ResponseHead(int status) {
  text_ = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason(status)) + "\r\n";
  add("date", http_date());
  add("server", "mlxd");
  add("x-content-type-options", "nosniff");
}

void ResponseHead::add(std::string_view name, std::string_view value) {
  const auto append_safely = [this](std::string_view part) {
    for (const char c : part) {
      text_ += is_ascii_control(c) ? ' ' : c;
    }
  };
  append_safely(name);
  text_ += ": ";
  append_safely(value);
  text_ += "\r\n";
}

void ResponseHead::add(const Headers& headers) {
  for (const auto& [name, value] : headers) {
    add(name, value);
    names_.push_back(ascii_lower(name));
  }
}

bool ResponseHead::has(std::string_view lower_case_name) const {
  const auto found = std::find(names_.begin(), names_.end(), lower_case_name);
  return found != names_.end();
}

std::string ResponseHead::finish() && {
  text_ += "\r\n";
  return std::move(text_);
}

bool is_valid_request_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return is_ascii_digit(c) || is_ascii_letter(c) || c == '.' || c == '_' || c == '-';
  });
}

std::string make_request_id() {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    std::random_device device;  // ids need be distinct, not secret
    for (auto& byte : bytes) byte = static_cast<unsigned char>(device());
  }
  std::string id = "req-";
  for (const unsigned char byte : bytes) {
    id += "0123456789abcdef"[byte >> 4];
    id += "0123456789abcdef"[byte & 15];
  }
  return id;
}

}  // namespace mlxd::http
