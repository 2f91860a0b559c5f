// What a hostile or broken client may send, over a raw socket: one test a line of defence.
#include "http/raw_client.h"

namespace mlxd::http {
namespace {

class HardeningTest : public ServerTest {
 protected:
  ~HardeningTest() override { expect_still_serving(); }
  // A POST to /echo with these header lines instead of Content-Length.
  static std::string framed(const std::string& headers, const std::string& body) {
    return "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
           headers + "\r\n" + body;
  }
};

TEST_F(HardeningTest, RefusesTransferEncodingsOtherThanChunked) {
  for (const char* value : {"xchunked", "chunked, identity", "identity", "chunke", "chunked;q=1",
                            "\"chunked\"", "", "chunked, chunked", "chunked,", ", chunked", "gzip",
                            "gzip chunked", "gzip;q=1, chunked", "Chunked, gzip, chunked",
                            "chun\xe2\x84\xaa"
                            "ed"}) {
    expect_refused_and_closed(
        framed("Transfer-Encoding: " + std::string(value) + "\r\n", "0\r\n\r\n" + get("/hello")),
        400);
  }
  expect_refused_and_closed(
      framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400);
}

TEST_F(HardeningTest, RefusesTransferEncodingWithContentLength) {
  expect_refused_and_closed(
      framed("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400);
  expect_refused_and_closed(
      framed("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400);
}

TEST_F(HardeningTest, RefusesRepeatedContentLength) {
  for (const char* second : {"2", "3"}) {
    expect_refused_and_closed(
        framed("Content-Length: 2\r\nContent-Length: " + std::string(second) + "\r\n", "[]"), 400);
  }
}

TEST_F(HardeningTest, RefusesMalformedContentLength) {
  for (const char* value : {"2, 2", "+2", "-2", "0x2", "2 2", "2.0", "", "two", "2;",
                            "18446744073709551616", "99999999999999999999999"}) {
    expect_refused_and_closed(framed("Content-Length: " + std::string(value) + "\r\n", "[]"), 400);
  }
}

TEST_F(HardeningTest, RefusesMissingHost) {
  expect_refused_and_closed("GET /hello HTTP/1.1\r\n\r\n", 400);
}

TEST_F(HardeningTest, RefusesRepeatedHost) {
  expect_refused_and_closed("GET /hello HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
                            400);
}

TEST_F(HardeningTest, RefusesMalformedHost) {
  for (const char* host : {"", "user@localhost", "localhost:port", "localhost:123456", "[::1",
                           "localhost/", "a b", "localhost,localhost", "[]", "[::1]x"}) {
    expect_refused_and_closed("GET /hello HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n",
                              400);
  }
}

TEST_F(HardeningTest, RefusesFoldedHeaderLines) {
  expect_refused_and_closed(get("/hello", "X-A: 1\r\n 2\r\n"), 400);
  expect_refused_and_closed(get("/hello", "X-A: 1\r\n\t2\r\n"), 400);
  expect_refused_and_closed("GET /hello HTTP/1.1\r\n Host: localhost\r\n\r\n", 400);
}

TEST_F(HardeningTest, RefusesBareLineFeedsAtOnce) {
  expect_refused_and_closed("GET /hello HTTP/1.1\nHost: localhost\n\n", 400);
  expect_refused_and_closed("GET /hello HTTP/1.1\r\nHost: localhost\nX-A: 1\r\n\r\n", 400);
  expect_refused_and_closed("GET /hello HTTP/1.1\r\nHost: localhost\r\n\n", 400);
}

TEST_F(HardeningTest, RefusesBareCarriageReturns) {
  expect_refused_and_closed("GET /hello HTTP/1.1\r\nHost: localhost\rX-A: 1\r\n\r\n", 400);
  expect_refused_and_closed("\r\rGET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400);
}

TEST_F(HardeningTest, RefusesNulAndOtherControlCharacters) {
  using namespace std::string_literals;
  for (const std::string& c : {"\0"s, "\x01"s, "\x0b"s, "\x1b"s, "\x7f"s}) {
    expect_refused_and_closed(get("/hello", "X-A: a" + c + "b\r\n"), 400);
    expect_refused_and_closed(get("/hel" + c + "lo"), 400);
    expect_refused_and_closed(get("/hello", "X-" + c + "A: 1\r\n"), 400);
  }
}

TEST_F(HardeningTest, RefusesMalformedHeaderLines) {
  for (const char* line : {"no colon", ": no name", "Name : blank before the colon", "na(me: 1",
                           "n\xC3\xA9: 1", "\"q\": 1"}) {
    expect_refused_and_closed(get("/hello", std::string(line) + "\r\n"), 400);
  }
}

TEST_F(HardeningTest, RefusesTransferEncodingInHttp10) {
  expect_refused_and_closed(
      "POST /echo HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400);
}

TEST_F(HardeningTest, RefusesTrailers) {
  expect_refused_and_closed(post_chunked("2\r\n[]\r\n0\r\nX-A: 1\r\n\r\n"), 400);
  expect_refused_and_closed(post_chunked("2\r\n[]\r\n0\r\nX-A: " + std::string(100'000, 'a')), 400);
  expect_refused_and_closed(framed("Trailer: X-A\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
                            400);
}

TEST_F(HardeningTest, RefusesOversizedChunkExtensions) {
  EXPECT_EQ(ask(post_chunked("2;name=value\r\n[]\r\n0;x\r\n\r\n")).body, "[]");
  expect_refused_and_closed(post_chunked("2;" + std::string(300, 'a') + "\r\n[]\r\n0\r\n\r\n"),
                            400);
  expect_refused_and_closed(post_chunked("2;" + std::string(1 << 20, 'a')), 400);
  std::string many;  // each short, together long
  for (int i = 0; i < 100; ++i) many += "1;" + std::string(100, 'a') + "\r\n1\r\n";
  expect_refused_and_closed(post_chunked(many), 400);
}

TEST_F(HardeningTest, RefusesMalformedChunks) {
  for (const char* chunks :
       {"x\r\n", "\r\n", "2\n[]\r\n0\r\n\r\n", "2\r\n[]0\r\n\r\n", "2\r\n[]\n0\r\n\r\n", " 2\r\n",
        "2 \r\n[]\r\n", "-2\r\n", "0x2\r\n", "+2\r\n", "2\r\n[]]\r\n", "00000000000000002\r\n",
        "2\r\r\n", "2;\x01\r\n", "0\r\n\n"}) {
    expect_refused_and_closed(post_chunked(chunks), 400);
  }
}

TEST_F(HardeningTest, RefusesMalformedRequestLines) {
  for (const char* line :
       {"GET", "GET /hello", "GET  /hello HTTP/1.1", "GET /hello  HTTP/1.1", "/hello HTTP/1.1",
        "GET /hello HTTP/1.1 ", "GET /hello http/1.1", "GET /hello HTTP/1", "GET /hello HTTP/11",
        "GET /hello HTTP/1.1x", "G(T /hello HTTP/1.1", " GET /hello HTTP/1.1", "\r\n",
        "GET /hel lo HTTP/1.1", "GET\t/hello\tHTTP/1.1"}) {
    expect_refused_and_closed(std::string(line) + "\r\nHost: localhost\r\n\r\n", 400);
  }
}

TEST_F(HardeningTest, RefusesTargetsThatAreNeitherPathsNorUrls) {
  for (const char* target : {"*",
                             "localhost:80",
                             "hello",
                             "?q",
                             "",
                             "http:/hello",
                             "http:hello",
                             "ftp://localhost/hello",
                             "http:///hello",
                             "http://",
                             "http://a b/",
                             "http://user@localhost/hello",
                             "http://localhost:port/hello",
                             "http://[::1/hello",
                             "://localhost/hello",
                             "http://localhost#part",
                             "http://localhost\\hello",
                             "/hello#part",
                             "/he\\llo",
                             "/h\xC3\xA9llo",
                             "/<hello>",
                             "/{hello}"}) {
    expect_refused_and_closed(get(target), 400);
  }
  expect_refused_and_closed("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400);
}

TEST_F(HardeningTest, RefusesInvalidPercentEncoding) {
  for (const char* path : {"/%", "/%4", "/%4g", "/%%41", "/%00", "/%0a", "/%7f", "/%ff", "/%c3",
                           "/%c3%28", "/%ed%a0%80", "/%u0041"}) {
    expect_refused_and_closed(get(path), 400);
  }
  EXPECT_EQ(ask(get("/%68ello")).body, "hello");
}

TEST_F(HardeningTest, RefusesOtherHttpVersions) {
  for (const char* version : {"HTTP/2.0", "HTTP/0.9", "HTTP/3.0"}) {
    expect_refused_and_closed("GET /hello " + std::string(version) + "\r\nHost: localhost\r\n\r\n",
                              505);
  }
}

TEST_F(HardeningTest, AnswersTheHttp2Preface) {
  expect_refused_and_closed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
}

TEST_F(HardeningTest, RefusesATlsHandshakeAtOnce) {
  using namespace std::string_literals;
  expect_refused_and_closed("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, 400);
}

TEST_F(HardeningTest, RefusesContentEncodings) {
  for (const char* encoding : {"gzip", "br", "deflate", "identity, gzip"}) {
    EXPECT_EQ(
        ask(post("/echo", "[]", "Content-Encoding: " + std::string(encoding) + "\r\n")).status,
        415);
  }
  EXPECT_EQ(ask(post("/echo", "[]", "Content-Encoding: Identity\r\n")).status, 200);
}

TEST_F(HardeningTest, RefusesBodiesThatAreNotJson) {
  for (const char* type : {"text/plain", "application/x-www-form-urlencoded", "application/jsonx",
                           "multipart/form-data; boundary=application/json", ""}) {
    EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + std::string(type) +
                  "\r\nContent-Length: 2\r\n\r\n[]")
                  .status,
              415)
        << type;
  }
  EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]").status,
            415);
  EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                "Content-Type: Application/JSON; charset=utf-8\r\n\r\n[]")
                .status,
            200);
}

TEST_F(HardeningTest, NothingBehindARefusedRequestIsRead) {
  auto client = connect();
  client.send(framed("Transfer-Encoding: xchunked\r\n", get("/hello")));
  EXPECT_EQ(client.read_answer().status, 400);
  EXPECT_TRUE(client.is_closed_within(3));
  EXPECT_EQ(client.unread(), "");
}

TEST_F(HardeningTest, ABodyLooksLikeARequestOnlyToAWrongReader) {
  const std::string body = "[\"" + get("/nothing") + "\"]";
  auto client = connect();
  client.send(post("/echo", body) + get("/hello"));
  EXPECT_EQ(client.read_answer().body, body);
  EXPECT_EQ(client.read_answer().body, "hello");
}

}  // namespace
}  // namespace mlxd::http
