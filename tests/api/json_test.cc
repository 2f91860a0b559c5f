#include <cmath>
#include <limits>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/errors.h"
#include "api/json_reader.h"
#include "api/json_writer.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;

TEST(JsonReader, ReadsWhatRfc8259Allows) {
  const auto value = read_json(
      R"( {"a": [1, -2, 18446744073709551615, 0.5, true, null, "\u00e9\ud83d\ude00\\"], "": {}} )");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->at("a").at(2).as_uint64(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(value->at("a").at(6).as_string(), "\u00e9\U0001F600\\");
}

TEST(JsonReader, RefusesWhatIsNotJsonWithThePlace) {
  for (const std::string_view bad :
       {"", "{", "{]", "{\"a\":1}x", "nul", "[1,]", "{a:1}", "\"\xff\"", "\"\\ud800\"", "NaN", "01",
        "[1] [2]", "\xef\xbb\xbf{}", "// c\n{}", "\"\n\"", "{\"a\":\"\xc3\"}"}) {
    const auto value = read_json(bad);
    ASSERT_FALSE(value) << bad;
    EXPECT_EQ(value.error().status, 400);
    EXPECT_THAT(value.error().message, HasSubstr("byte")) << bad;
  }
}

TEST(JsonReader, RefusesAKeyThatStandsTwiceInOneObjectAtAnyDepth) {
  for (const std::string_view bad : {R"({"a":1,"a":1})", R"([{"b":{"a":1,"c":2,"a":3}}])",
                                     R"({"\u0061":1,"a":2})", R"({"":1,"":2})"}) {
    const auto value = read_json(bad);
    ASSERT_FALSE(value) << bad;
    EXPECT_THAT(value.error().message, HasSubstr("twice")) << bad;
  }
  EXPECT_TRUE(read_json(R"({"a":{"a":1},"b":[{"a":1},{"a":2}]})"));
}

TEST(JsonReader, RefusesMoreThan64Levels) {
  EXPECT_TRUE(read_json(std::string(64, '[') + std::string(64, ']')));
  const auto deep = read_json(std::string(65, '[') + std::string(65, ']'));
  ASSERT_FALSE(deep);
  EXPECT_THAT(deep.error().message, HasSubstr("64"));
  EXPECT_FALSE(read_json(std::string(100000, '[')));
}

std::string written(const std::function<void(JsonWriter&)>& write) {
  std::string out;
  JsonWriter json(out);
  write(json);
  return out;
}

TEST(JsonWriter, WritesCommasWhereTheyBelong) {
  EXPECT_EQ(written([](JsonWriter& json) {
              json.begin_object();
              json.member("a", 1);
              json.key("b");
              json.begin_array();
              json.begin_array();
              json.end_array();
              json.boolean(true);
              json.begin_object();
              json.end_object();
              json.end_array();
              json.null_member("c");
              json.member("d", "text");
              json.end_object();
            }),
            R"({"a":1,"b":[[],true,{}],"c":null,"d":"text"})");
}

TEST(JsonWriter, EveryByteStringReadsBackAsItsText) {
  for (int byte = 0; byte < 0x80; ++byte) {
    const std::string text = "a" + std::string(1, static_cast<char>(byte)) + "b";
    const auto back = json::parse(written([&](JsonWriter& json) { json.string(text); }));
    EXPECT_EQ(back.as_string(), text);
  }
  EXPECT_EQ(
      json::parse(written([](JsonWriter& json) { json.string("\xe2\x82x\xff"); })).as_string(),
      "\uFFFDx\uFFFD");
}

TEST(JsonWriter, NumbersReadBackAndAreNeverInfinite) {
  EXPECT_EQ(written([](JsonWriter& json) { json.logprob(-0.1F); }), "-0.1");
  EXPECT_EQ(written([](JsonWriter& json) { json.logprob(-0.0F); }), "0.0");
  EXPECT_EQ(written([](JsonWriter& json) { json.logprob(-3); }), "-3.0");
  EXPECT_EQ(written([](JsonWriter& json) { json.logprob(-INFINITY); }), "-9999.0");
  EXPECT_EQ(written([](JsonWriter& json) { json.logprob(NAN); }), "-9999.0");
  EXPECT_EQ(written([](JsonWriter& json) { json.number(INFINITY); }), "null");
  EXPECT_EQ(written([](JsonWriter& json) { json.number(2); }), "2.0");
}

TEST(Errors, HaveOpenAisShapeWithNullForWhatIsEmpty) {
  Error error;
  error.status = 429;
  error.code = "queue_full";
  error.message = "say \"later\"";
  error.retry_after_seconds = 1.2;
  const auto response = error_response(error);
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.headers, (http::Headers{{"Retry-After", "2"}}));
  EXPECT_EQ(json::parse(response.body),
            json::parse(R"({"error":{"message":"say \"later\"","type":"rate_limit_error",
                            "param":null,"code":"queue_full"}})"));
}

TEST(Errors, OfATimeThatWasUpTellClientsNotToTryAgain) {
  Error error;
  error.status = 504;
  error.code = "timeout";
  EXPECT_EQ(error_response(error).headers, (http::Headers{{"x-should-retry", "false"}}));
  error.status = 500;
  EXPECT_EQ(error_response(error).headers, http::Headers());
}

}  // namespace
}  // namespace mlxd::api
