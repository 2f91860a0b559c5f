#include "http/request_parser.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlxd::http {
namespace {

using State = HeadScanner::State;

TEST(HeadScanner, FindsTheEndWhereverTheBytesAreCut) {
  const std::string head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string bytes = head + "rest";
  HeadScanner scanner;
  for (std::size_t size = 0; size < head.size(); ++size) {
    ASSERT_EQ(scanner.scan(std::string_view(bytes).substr(0, size)), State::kMore) << size;
  }
  EXPECT_EQ(scanner.scan(bytes), State::kComplete);
  EXPECT_EQ(scanner.head_size(), head.size());
}

TEST(HeadScanner, RefusesTheFirstByteThatNoHeadMayHold) {
  for (const char* bytes : {"GET /\n", "GET /\rx", "GET \x01", "\x16\x03\x01", "A\r\n\n"}) {
    EXPECT_EQ(HeadScanner().scan(bytes), State::kMalformed) << bytes;
  }
}

TEST(ParseHead, ReadsEveryPart) {
  auto head = parse_head(
      "POST /v1/models/a%2Fb?x=%20 HTTP/1.1\r\nHOST: Example.COM.:80\r\nX-A:\t b c \r\n"
      "Content-Length: 12\r\nConnection: foo, Close\r\nExpect: 100-Continue\r\n\r\n");
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_EQ(head->method, "POST");
  EXPECT_EQ(head->path, "/v1/models/a/b");
  EXPECT_EQ(head->query, "x=%20");
  EXPECT_EQ(head->host, "example.com");
  EXPECT_EQ(head->header("x-a"), "b c");
  EXPECT_EQ(head->content_length, 12u);
  EXPECT_FALSE(head->keep_alive);
  EXPECT_TRUE(head->expects_continue);
  EXPECT_FALSE(head->chunked);
}

// The result of decoding `input` in pieces of random sizes: the body, "more" or the error's code.
std::string decode(std::string_view input, std::mt19937* random) {
  ChunkDecoder decoder(1000);
  std::string body;
  while (!input.empty()) {
    const std::size_t size =
        random ? std::min<std::size_t>(input.size(), 1 + (*random)() % 5) : input.size();
    std::string_view piece = input.substr(0, size);
    auto more = decoder.feed(piece, body);
    if (!more) return more.error().code;
    if (!*more)
      return "body " + body + ", left " + std::string(piece) + std::string(input.substr(size));
    input.remove_prefix(size);
  }
  return "more";
}

TEST(ChunkDecoder, LeavesTheNextRequestAlone) {
  EXPECT_EQ(decode("2\r\n[]\r\n0\r\n\r\nGET", nullptr), "body [], left GET");
}

TEST(ChunkDecoder, DecodesTheSameHoweverTheBytesAreCut) {
  std::mt19937 random(1);
  const std::string alphabet = "\r\n0123aF;=x \t";
  int bodies = 0;
  for (int run = 0; run < 20'000; ++run) {
    std::string input = "3\r\n[1,\r\n4;a\r\n 23]\r\n0\r\n\r\nGET";
    for (unsigned changes = random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % input.size();
      const char c = alphabet[random() % alphabet.size()];
      if (random() % 3 == 0) {
        input.erase(at, 1);
      } else if (random() % 2 == 0) {
        input[at] = c;
      } else {
        input.insert(at, 1, c);
      }
    }
    const std::string whole = decode(input, nullptr);
    ASSERT_EQ(decode(input, &random), whole) << input;
    bodies += whole.starts_with("body");
  }
  EXPECT_GT(bodies, 1000);
}

}  // namespace
}  // namespace mlxd::http
