// Bytes to a request head or body, without sockets: the strict subset of HTTP/1.1 (RFC 9112) that
// mlxd speaks. Whatever two readers of one byte stream could understand differently is refused, so
// that no proxy in front and this server can disagree about where a request ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/exchange.h"

namespace mlxd::http {

struct RequestHead {
  std::string method;
  // Percent-decoded, valid UTF-8 without control characters; "*" for the server (OPTIONS).
  std::string path;
  std::string query;  // raw, without the "?"
  Headers headers;    // names in lower case, values without surrounding blanks
  // The name of the target's URL or else of the Host field, in lower case, without port and final
  // dot; "[::1]". Empty where HTTP/1.0 has neither.
  std::string host;
  int minor_version = 1;  // of HTTP/1.x: 0 or 1
  bool keep_alive = true;
  bool chunked = false;
  bool expects_continue = false;
  std::optional<std::uint64_t> content_length;

  std::string_view header(std::string_view lower_case_name) const;  // "" when absent
  bool has_body() const { return chunked || content_length.value_or(0) > 0; }
};

// Finds the end of a head in bytes that arrive bit by bit; refuses at once what no head may hold
// (bare CR or LF, NUL and other control characters), so that such a client need not wait for a
// deadline. Each byte is looked at once.
class HeadScanner {
 public:
  enum class State { kMore, kComplete, kMalformed };
  // `bytes` is all that has arrived since the start of the head.
  State scan(std::string_view bytes);
  std::size_t head_size() const { return position_; }  // with the blank line, when complete

 private:
  std::size_t position_ = 0;
  std::size_t line_start_ = 0;
};

// A complete head, from the request line to the blank line. Errors: 400 (malformed or ambiguous),
// 417 (an expectation other than 100-continue), 431 (too many fields), 501 (a transfer coding other
// than chunked), 505 (not HTTP/1).
Result<RequestHead> parse_head(std::string_view head);

// Decodes a body in the chunked coding (RFC 9112, 7.1) as it arrives. Chunk extensions are skipped
// while short; trailers are refused.
class ChunkDecoder {
 public:
  explicit ChunkDecoder(std::size_t body_limit) : body_limit_(body_limit) {}

  // Takes bytes from the front of `input`, appends data to `body`. False once the body is complete;
  // what is left in `input` then belongs to the next request. Errors: 400, 413.
  Result<bool> feed(std::string_view& input, std::string& body);

 private:
  enum class Part { kSize, kData, kDataEnd, kLastLine, kDone };
  Result<void> take_size_line(std::string_view line);

  const std::size_t body_limit_;
  Part part_ = Part::kSize;
  std::string line_;  // of the size line or line end that is still incomplete
  std::size_t extension_bytes_ = 0;
  std::size_t left_ = 0;   // of the chunk
  std::size_t total_ = 0;  // announced so far
};

}  // namespace mlxd::http
