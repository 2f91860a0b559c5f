#include "tracing/otlp_json.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

namespace mlxd::tracing {
namespace {

namespace json = boost::json;

Span span_of(std::uint8_t id) {
  Span span;
  span.trace_id[15] = 0xab;
  span.id[7] = id;
  span.name = "chat tiny";
  span.begin = 1'700'000'000'123'456'789;
  span.end = 1'700'000'001'000'000'000;
  return span;
}

const json::value& only_span(const json::value& request) {
  return request.at_pointer("/resourceSpans/0/scopeSpans/0/spans/0");
}

TEST(OtlpJson, HasIdsInHexadecimalAndLongNumbersAsTexts) {
  Span span = span_of(0xcd);
  span.kind = SpanKind::server;
  span.parent = SpanId{0, 0, 0, 0, 0, 0, 0, 0xef};
  span.parent_is_remote = true;
  span.trace_state = "a=1";
  span.attributes = {{"text", std::string("one")},
                     {"number", std::int64_t{7'000'000'000}},
                     {"truth", true},
                     {"list", std::vector<std::string>{"stop", "length"}}};
  const Resource resource = {{"service.name", "mlxd"}};
  const json::value request = json::parse(export_request(resource, "1.2.3", {&span, 1}));
  EXPECT_EQ(json::serialize(request.at_pointer("/resourceSpans/0/resource")),
            R"({"attributes":[{"key":"service.name","value":{"stringValue":"mlxd"}}]})");
  EXPECT_EQ(json::serialize(request.at_pointer("/resourceSpans/0/scopeSpans/0/scope")),
            R"({"name":"mlxd","version":"1.2.3"})");
  EXPECT_EQ(json::serialize(only_span(request)),
            R"({"traceId":"000000000000000000000000000000ab","spanId":"00000000000000cd",)"
            R"("parentSpanId":"00000000000000ef","traceState":"a=1","flags":769,)"
            R"("name":"chat tiny","kind":2,"startTimeUnixNano":"1700000000123456789",)"
            R"("endTimeUnixNano":"1700000001000000000","attributes":[)"
            R"({"key":"text","value":{"stringValue":"one"}},)"
            R"({"key":"number","value":{"intValue":"7000000000"}},)"
            R"({"key":"truth","value":{"boolValue":true}},)"
            R"({"key":"list","value":{"arrayValue":{"values":[{"stringValue":"stop"},)"
            R"({"stringValue":"length"}]}}}]})");
}

TEST(OtlpJson, SaysOfARootWhatItIsAndOfAFailureWhy) {
  Span span = span_of(1);
  span.failed = true;
  span.failure = "internal_error";
  const json::value request = json::parse(export_request({}, "1", {&span, 1}));
  const json::object& object = only_span(request).as_object();
  EXPECT_FALSE(object.contains("parentSpanId"));
  EXPECT_FALSE(object.contains("traceState"));
  EXPECT_EQ(object.at("flags"), 0x101);
  EXPECT_EQ(object.at("kind"), 1);
  EXPECT_EQ(json::serialize(object.at("status")), R"({"code":2,"message":"internal_error"})");
}

TEST(OtlpJson, IsJsonWhateverANameHolds) {
  Span span = span_of(1);
  span.name = "chat \xff\"\n";
  const json::value request = json::parse(export_request({}, "1", {&span, 1}));
  EXPECT_EQ(only_span(request).at("name"), "chat \xef\xbf\xbd\"\n");
}

TEST(OtlpJson, ReadsHowManySpansACollectorRefuses) {
  const auto partial =
      read_partial_success(R"({"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}})");
  EXPECT_EQ(partial.rejected_spans, 3);
  EXPECT_EQ(partial.message, "too old");
  EXPECT_EQ(read_partial_success(R"({"partialSuccess":{"rejectedSpans":4}})").rejected_spans, 4);
  for (const char* other : {"", "{}", "[]", "\x0a\x00", R"({"partialSuccess":{}})",
                            R"({"partialSuccess":{"rejectedSpans":"-3"}})",
                            R"({"partialSuccess":{"rejectedSpans":[]}})"}) {
    EXPECT_EQ(read_partial_success(other).rejected_spans, 0) << other;
  }
}

}  // namespace
}  // namespace mlxd::tracing
