#include "http/request_parser.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/utf8.h"
#include "http/ascii.h"

namespace mlxd::http {
namespace {

constexpr std::size_t kMaxFields = 128;
constexpr std::size_t kMaxChunkLine = 256;        // size and extensions of one chunk
constexpr std::size_t kMaxExtensionBytes = 4096;  // of all chunks of a body

int hex_value(char c) {
  if (is_ascii_digit(c)) return c - '0';
  const char l = ascii_lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

// RFC 9110, 5.6.2.
bool is_token(std::string_view text) {
  constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_ascii_digit(c) || is_ascii_letter(c) || marks.find(c) != marks.npos;
  });
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

Error bad_request(std::string message) {
  return Error{.status = 400, .code = "bad_request", .param = {}, .message = std::move(message)};
}

// The path of RFC 3986 ("pchar" and "/"), percent-decoded.
Result<std::string> decode_path(std::string_view raw) {
  constexpr std::string_view marks = "-._~!$&'()*+,;=:@/";
  std::string path;
  path.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    if (c == '%') {
      const int high = i + 2 < raw.size() ? hex_value(raw[i + 1]) : -1;
      const int low = i + 2 < raw.size() ? hex_value(raw[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return bad_request("The path holds a '%' that two hexadecimal digits do not follow.");
      }
      c = static_cast<char>(high * 16 + low);
      if (is_ascii_control(c)) return bad_request("The path holds an encoded control character.");
      i += 2;
    } else if (!is_ascii_digit(c) && !is_ascii_letter(c) && marks.find(c) == marks.npos) {
      return bad_request("The path holds a character that must be percent-encoded.");
    }
    path += c;
  }
  if (!is_valid_utf8(path)) return bad_request("The decoded path is not valid UTF-8.");
  return path;
}

bool is_port(std::string_view text) {
  return text.size() <= 5 && std::all_of(text.begin(), text.end(), is_ascii_digit);
}

bool is_host_name(std::string_view name) {
  if (name.starts_with('[')) {
    const auto address = name.substr(1, name.size() - 2);
    return !address.empty() && address.find_first_not_of("0123456789abcdef:.") == address.npos;
  }
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return is_ascii_digit(c) || is_ascii_letter(c) || c == '.' || c == '-' || c == '_';
  });
}

// "name", "name:port" or "[address]:port"; the name in lower case, without a final dot.
Result<std::string> parse_host(std::string_view text) {
  const std::string host = ascii_lower(text);
  const auto bracket = host.starts_with('[') ? host.find(']') : 0;
  const auto name_end =
      bracket == host.npos ? host.size() : std::min(host.find(':', bracket), host.size());
  std::string name = host.substr(0, name_end);
  const bool closed = !name.starts_with('[') || name.ends_with(']');
  const bool port_follows = name_end < host.size();
  if (!closed || !is_host_name(name) || (port_follows && !is_port(text.substr(name_end + 1)))) {
    return bad_request("A host must be name or name:port.");
  }
  if (name.size() > 1 && name.ends_with('.')) name.pop_back();
  return name;
}

// The rest of "http://host:port/path?query" behind the scheme, and where it is such; the authority
// is kept as the target's own.
Result<std::string_view> take_authority(std::string_view target, RequestHead& head) {
  const auto scheme_end = target.find("://");
  const auto scheme = ascii_lower(target.substr(0, std::min(scheme_end, target.size())));
  if (scheme_end == target.npos || (scheme != "http" && scheme != "https")) {
    return bad_request("The request target must be a path that starts with '/', or a whole URL.");
  }
  target.remove_prefix(scheme_end + 3);
  const auto end = std::min(target.find_first_of("/?"), target.size());
  auto host = parse_host(target.substr(0, end));
  if (!host) return bad_request("The host of the request target must be name or name:port.");
  head.host = *std::move(host);
  return target.substr(end);
}

// RFC 9112, 3.2: the origin form, the absolute form, and "*" of OPTIONS.
Result<void> parse_target(std::string_view target, RequestHead& head) {
  if (target == "*" && head.method == "OPTIONS") {
    head.path = target;
    return {};
  }
  if (!target.starts_with('/')) {
    const auto rest = take_authority(target, head);
    if (!rest) return rest.error();
    target = *rest;
  }
  const auto question = std::min(target.find('?'), target.size());
  if (question < target.size()) {
    head.query = target.substr(question + 1);
    if (std::any_of(head.query.begin(), head.query.end(),
                    [](char c) { return c <= ' ' || c > '~' || c == '#'; })) {
      return bad_request("The query holds a character that must be percent-encoded.");
    }
  }
  auto path = decode_path(target.substr(0, question));
  if (!path) return path.error();
  head.path = path->empty() ? "/" : *std::move(path);
  return {};
}

Result<void> parse_request_line(std::string_view line, RequestHead& head) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == line.npos || first == last) {
    return bad_request("The request line must read: method, one space, path, one space, HTTP/1.1.");
  }
  const auto method = line.substr(0, first);
  const auto target = line.substr(first + 1, last - first - 1);
  const auto version = line.substr(last + 1);
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_ascii_digit(version[5]) ||
      version[6] != '.' || !is_ascii_digit(version[7])) {
    return bad_request("The request line must end in HTTP/1.1.");
  }
  if (version[5] != '1') {
    return Error{.status = 505,
                 .code = "http_version_not_supported",
                 .param = {},
                 .message = "This server speaks HTTP/1.1."};
  }
  if (!is_token(method)) return bad_request("The method is not a valid token.");
  head.method = method;
  head.minor_version = version[7] == '0' ? 0 : 1;  // a higher one is meant to be read as ours
  return parse_target(target, head);
}

Result<void> parse_field(std::string_view line, Headers& headers) {
  if (line.front() == ' ' || line.front() == '\t') {
    return bad_request("A header field is folded over two lines.");
  }
  const auto colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon))) {
    return bad_request("A header line is not of the form 'name: value'.");
  }
  headers.emplace_back(ascii_lower(line.substr(0, colon)), trim(line.substr(colon + 1)));
  return {};
}

// Fields whose repetition would let two readers see different requests.
Result<void> check_single_fields(const Headers& headers) {
  static constexpr std::array<std::string_view, 10> single = {
      "authorization", "content-encoding",  "content-length", "content-type", "expect",
      "host",          "transfer-encoding", "origin",         "x-api-key",    "x-request-id"};
  for (const std::string_view name : single) {
    const auto count =
        std::count_if(headers.begin(), headers.end(), [&](auto& h) { return h.first == name; });
    if (count > 1) return bad_request("The header " + std::string(name) + " is repeated.");
  }
  return {};
}

// RFC 9112, 6.1 and 7: names of codings have no case, and "chunked" comes last and once. Another
// coding below it frames no less clearly, but is not implemented here.
Result<void> check_transfer_coding(std::string_view value) {
  const auto last = trim(value.substr(value.rfind(',') + 1));
  if (ascii_lower(last) != "chunked") {
    return bad_request("Transfer-Encoding must be 'chunked'.");
  }
  if (last.size() == value.size()) return {};
  for (std::string_view rest = value; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    const auto coding = trim(rest.substr(0, comma));
    const bool is_last = comma == rest.size();
    if (!is_token(coding) || (!is_last && ascii_lower(coding) == "chunked")) {
      return bad_request("Transfer-Encoding must be 'chunked'.");
    }
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return Error{.status = 501,
               .code = "unsupported_transfer_coding",
               .param = {},
               .message = "The only transfer coding that this server knows is 'chunked'."};
}

Result<void> parse_framing(RequestHead& head) {
  bool has_length = false;
  for (const auto& [name, value] : head.headers) {
    if (name == "content-length") {
      std::uint64_t length = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
      if (value.empty() || error != std::errc() || end != value.data() + value.size()) {
        return bad_request("Content-Length must be one decimal number.");
      }
      head.content_length = length;
      has_length = true;
    } else if (name == "transfer-encoding") {
      if (auto result = check_transfer_coding(value); !result) return result.error();
      head.chunked = true;
    } else if (name == "trailer") {
      return bad_request("Trailers are not accepted.");
    }
  }
  if (head.chunked && has_length) {
    return bad_request("Transfer-Encoding and Content-Length exclude each other.");
  }
  if (head.chunked && head.minor_version == 0) {
    return bad_request("HTTP/1.0 has no Transfer-Encoding.");
  }
  return {};
}

Result<void> parse_connection(RequestHead& head) {
  head.keep_alive = head.minor_version == 1;
  for (const auto& [name, value] : head.headers) {
    if (name == "connection") {
      std::string_view rest = value;
      while (!rest.empty()) {
        const auto comma = std::min(rest.find(','), rest.size());
        if (ascii_lower(trim(rest.substr(0, comma))) == "close") head.keep_alive = false;
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
    } else if (name == "expect" && head.minor_version == 1) {
      if (ascii_lower(value) != "100-continue") {
        return Error{.status = 417,
                     .code = "expectation_failed",
                     .param = {},
                     .message = "The only expectation that this server knows is 100-continue."};
      }
      head.expects_continue = true;
    }
  }
  return {};
}

// The Host field is checked whatever the target is, since others on the way may go by it. It says
// whose the request is unless the target does (RFC 9112, 3.2.2); HTTP/1.0 knows none.
Result<void> parse_host_field(RequestHead& head) {
  const bool present = std::any_of(head.headers.begin(), head.headers.end(),
                                   [](auto& h) { return h.first == "host"; });
  if (!present) {
    if (head.minor_version == 0) return {};
    return bad_request("The Host header is missing.");
  }
  auto host = parse_host(head.header("host"));
  if (!host) return bad_request("The Host header must be name or name:port.");
  if (head.host.empty()) head.host = *std::move(host);
  return {};
}

}  // namespace

std::string_view RequestHead::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

HeadScanner::State HeadScanner::scan(std::string_view bytes) {
  while (position_ < bytes.size()) {
    const char c = bytes[position_];
    if (c == '\r') {
      if (position_ + 1 == bytes.size()) return State::kMore;
      if (bytes[position_ + 1] != '\n') return State::kMalformed;
      const bool blank = position_ == line_start_;
      position_ += 2;
      line_start_ = position_;
      if (blank) return State::kComplete;
    } else if (is_ascii_control(c) && c != '\t') {
      return State::kMalformed;
    } else {
      ++position_;
    }
  }
  return State::kMore;
}

Result<RequestHead> parse_head(std::string_view bytes) {
  RequestHead head;
  std::size_t start = bytes.find("\r\n");
  if (start == bytes.npos) return bad_request("The request has no request line.");
  if (auto result = parse_request_line(bytes.substr(0, start), head); !result) {
    return result.error();
  }
  for (start += 2; start < bytes.size();) {
    const auto end = bytes.find("\r\n", start);
    if (end == bytes.npos) return bad_request("The last header line is incomplete.");
    if (end == start) break;
    if (head.headers.size() == kMaxFields) {
      return Error{.status = 431,
                   .code = "header_too_large",
                   .param = {},
                   .message = "The request has more than 128 header fields."};
    }
    if (auto result = parse_field(bytes.substr(start, end - start), head.headers); !result) {
      return result.error();
    }
    start = end + 2;
  }
  if (auto result = check_single_fields(head.headers); !result) return result.error();
  for (const auto step : {parse_framing, parse_host_field, parse_connection}) {
    if (auto result = step(head); !result) return result.error();
  }
  return head;
}

Result<void> ChunkDecoder::take_size_line(std::string_view line) {
  const auto digits = line.substr(0, std::min(line.find(';'), line.size()));
  extension_bytes_ += line.size() - digits.size();
  if (extension_bytes_ > kMaxExtensionBytes) {
    return bad_request("The body's chunk extensions are too long.");
  }
  if (digits.empty() || digits.size() > 16) return bad_request("A chunk's size is malformed.");
  std::uint64_t size = 0;
  for (const char c : digits) {
    const int value = hex_value(c);
    if (value < 0) return bad_request("A chunk's size is malformed.");
    size = size * 16 + static_cast<std::uint64_t>(value);
  }
  if (size > body_limit_ - total_) {
    return Error{.status = 413,
                 .code = "body_too_large",
                 .param = {},
                 .message = "The body is longer than " + std::to_string(body_limit_) + " bytes."};
  }
  total_ += size;
  left_ = size;
  part_ = size == 0 ? Part::kLastLine : Part::kData;
  return {};
}

Result<bool> ChunkDecoder::feed(std::string_view& input, std::string& body) {
  while (part_ != Part::kDone && !input.empty()) {
    if (part_ == Part::kData) {
      const auto count = std::min(left_, input.size());
      body.append(input.substr(0, count));
      input.remove_prefix(count);
      left_ -= count;
      if (left_ == 0) part_ = Part::kDataEnd;
      continue;
    }
    const char c = input.front();
    input.remove_prefix(1);
    const bool after_cr = !line_.empty() && line_.back() == '\r';
    if (after_cr != (c == '\n') || (is_ascii_control(c) && c != '\r' && c != '\n' && c != '\t')) {
      return bad_request("The chunked body holds a line that does not end in CRLF.");
    }
    if (part_ != Part::kSize && c != '\r' && c != '\n') {
      return bad_request(part_ == Part::kLastLine ? "Trailers are not accepted."
                                                  : "A chunk is longer than its size says.");
    }
    line_ += c;
    if (line_.size() > kMaxChunkLine) return bad_request("A chunk's extensions are too long.");
    if (c != '\n') continue;
    if (part_ == Part::kSize) {
      line_.resize(line_.size() - 2);
      if (auto result = take_size_line(line_); !result) return result.error();
    } else {
      part_ = part_ == Part::kDataEnd ? Part::kSize : Part::kDone;
    }
    line_.clear();
  }
  return part_ != Part::kDone;
}

}  // namespace mlxd::http
