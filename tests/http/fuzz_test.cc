// Structured, seeded fuzzing over real sockets: requests are put together from plausible and
// hostile parts and then damaged. Whatever arrives, the server answers 200, 204, 4xx, 501 or 505,
// or closes, and still serves the next client. MLXD_FUZZ_RUNS and MLXD_FUZZ_SEED change the number
// and the start.
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "http/raw_client.h"

namespace mlxd::http {
namespace {

class RequestMaker {
 public:
  explicit RequestMaker(unsigned seed) : random_(seed) {}

  std::string make() {
    std::string bytes;
    for (unsigned count = 1 + below(3); count > 0; --count) bytes += request();
    if (below(3) != 0) damage(bytes);
    return bytes;
  }
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

 private:
  template <std::size_t N>
  std::string one_of(const char* const (&choices)[N]) {
    return choices[below(N)];
  }

  std::string request() {
    static const char* const methods[] = {"GET", "POST",    "HEAD", "OPTIONS",
                                          "PUT", "CONNECT", "G@T"};
    static const char* const targets[] = {
        "/hello",  "/echo",    "/hello?a=b", "/%68ello", "/%00", "*", "http://localhost/hello",
        "/%c3%a9", "/nothing", "//"};
    static const char* const versions[] = {"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0",
                                           "HTTP/2.0", "HTTP/1.9", "http/1.1", ""};
    static const char* const headers[] = {"Host: localhost",
                                          "Host: evil.example",
                                          "Host: [::1]:80",
                                          "Host:",
                                          "Connection: close",
                                          "Connection: keep-alive",
                                          "Transfer-Encoding: chunked",
                                          "Transfer-Encoding: xchunked",
                                          "Transfer-Encoding: chunked, identity",
                                          "Transfer-Encoding: gzip, Chunked",
                                          "Content-Length: 2",
                                          "Content-Length: 2, 2",
                                          "Content-Length: 99999999999999999999",
                                          "Content-Length: 7",
                                          "Expect: 100-continue",
                                          "Content-Type: application/json",
                                          "Content-Type: text/plain",
                                          "Content-Encoding: gzip",
                                          "Authorization: Bearer x",
                                          "X-Request-Id: abc",
                                          "X-Request-Id: a b",
                                          " folded: 1",
                                          "Trailer: X-A",
                                          "Upgrade: h2c",
                                          "Origin: http://app.example",
                                          "X-A : 1",
                                          "no colon",
                                          "Access-Control-Request-Method: POST",
                                          "X-Long: 0123456789012345678901234567890123456789"};
    if (below(3) == 0) return below(2) ? post("/echo", "[1, 2]") : get("/hello");
    if (below(4) == 0) return post_chunked(chunks());
    std::string text = (below(2) ? "POST" : one_of(methods)) + " " +
                       (below(2) ? "/echo" : one_of(targets)) + " " + one_of(versions) + "\r\n";
    if (below(4)) text += "Host: localhost\r\n";
    if (below(2)) text += "Content-Type: application/json\r\n";
    for (unsigned count = below(5); count > 0; --count) text += one_of(headers) + "\r\n";
    if (below(40) == 0) text += "X-Big: " + std::string(20'000, 'a') + "\r\n";
    text += "\r\n";
    if (below(2)) text += below(2) ? "[]" : chunks();
    return text;
  }

  std::string chunks() {
    static const char* const lines[] = {"1\r\n1\r\n",
                                        "2;a=b\r\n[]\r\n",
                                        "a\r\n0123456789\r\n",
                                        "0x1\r\n1\r\n",
                                        "ffffffffffffffff\r\n",
                                        "3\r\n[]\r\n",
                                        "1 \r\n1\r\n",
                                        "\r\n",
                                        "2\n[]\n",
                                        "1;\r\n2\r\n"};
    std::string text;
    for (unsigned count = below(4); count > 0; --count) text += one_of(lines);
    if (below(30) == 0) text += "1;" + std::string(70'000, 'a') + "\r\n1\r\n";
    text += below(8) ? "0\r\n" : "0;last\r\n";
    if (below(8) == 0) text += "X-Trailer: " + std::string(below(2) ? 3 : 70'000, 'a') + "\r\n";
    return text + "\r\n";
  }

  void damage(std::string& bytes) {
    using namespace std::string_literals;
    static const std::string pieces[] = {
        "\r\n"s,     "\n"s,      "\r"s, "\0"s,      " "s,
        "\t"s,       ":"s,       ","s,  ";"s,       "\x80"s,
        "\xff"s,     "%"s,       "0"s,  "chunked"s, "Content-Length: 1\r\n"s,
        "\r\n\r\n"s, "HTTP/1.1"s};
    for (unsigned count = 1 + below(4); count > 0 && !bytes.empty(); --count) {
      const std::size_t at = below(static_cast<unsigned>(bytes.size()));
      switch (below(6)) {
        case 0:
          bytes[at] = static_cast<char>(below(256));
          break;
        case 1:
          bytes.erase(at, 1 + below(8));
          break;
        case 2:
          bytes.insert(at, pieces[below(std::size(pieces))]);
          break;
        case 3:
          bytes.insert(at, bytes.substr(below(static_cast<unsigned>(bytes.size())), 40));
          break;
        case 4:
          bytes.resize(at);
          break;
        default:
          bytes[at] ^= static_cast<char>(1u << below(8));
          break;
      }
    }
  }

  std::mt19937 random_;
};

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* text = std::getenv(name);
  return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

TEST_F(ServerTest, AnyBytesAreAnsweredOrRefused) {
  const unsigned runs = from_environment("MLXD_FUZZ_RUNS", 3000);
  const unsigned seed = from_environment("MLXD_FUZZ_SEED", 1);
  const std::set<int> allowed = {100, 200, 204, 400, 401, 404, 405, 408,
                                 413, 415, 417, 421, 431, 501, 505};
  RequestMaker maker(seed);
  std::map<int, unsigned> seen;
  for (unsigned run = 0; run < runs; ++run) {
    const std::string bytes = maker.make();
    RawClient client(server().port());
    ASSERT_TRUE(client.connected());
    if (maker.below(4) == 0 && bytes.size() > 1) {
      const std::size_t cut = 1 + maker.below(static_cast<unsigned>(bytes.size() - 1));
      client.send(std::string_view(bytes).substr(0, cut));
      client.receive(0.0005);
      client.send(std::string_view(bytes).substr(cut));
    } else {
      client.send(bytes);
    }
    if (maker.below(50) == 0) {
      client.reset();
      continue;
    }
    client.half_close();
    ASSERT_TRUE(client.receive_to_end(10)) << "seed " << seed << " run " << run << "\n" << bytes;
    for (const int status : client.statuses()) {
      ASSERT_TRUE(allowed.count(status)) << status << " seed " << seed << " run " << run << "\n"
                                         << bytes;
      ++seen[status];
    }
    if (run % 256 == 0) expect_still_serving();
  }
  expect_still_serving();
  if (runs >= 1000) {
    for (const int status : {200, 400, 404, 405, 413, 415, 421, 505})
      EXPECT_GT(seen[status], 0u) << status;
  }
  for (const auto& [status, count] : seen)
    RecordProperty("status_" + std::to_string(status), static_cast<int>(count));
}

}  // namespace
}  // namespace mlxd::http
