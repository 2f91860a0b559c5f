#include "tracing/otlp_json.h"

#include <algorithm>
#include <charconv>

#include <boost/json.hpp>

#include "base/overloaded.h"
#include "base/utf8.h"

namespace mlxd::tracing {
namespace json = boost::json;
namespace {

// Bits of Span.flags, above the trace flags of the span itself.
constexpr int kSampled = 0x1;
constexpr int kKnowsParent = 0x100;
constexpr int kParentIsRemote = 0x200;

json::string text(std::string_view bytes) { return json::string(replace_invalid_utf8(bytes)); }

json::object any_value(const AttributeValue& value) {
  return std::visit(
      Overloaded{
          [](const std::string& one) { return json::object{{"stringValue", text(one)}}; },
          [](std::int64_t one) { return json::object{{"intValue", std::to_string(one)}}; },
          [](bool one) { return json::object{{"boolValue", one}}; },
          [](const std::vector<std::string>& many) {
            json::array values;
            for (const std::string& one : many) {
              values.emplace_back(json::object{{"stringValue", text(one)}});
            }
            return json::object{{"arrayValue", json::object{{"values", std::move(values)}}}};
          },
      },
      value);
}

json::object key_value(std::string_view name, const AttributeValue& value) {
  return {{"key", text(name)}, {"value", any_value(value)}};
}

json::object span_object(const Span& span) {
  json::object object{{"traceId", to_hex(span.trace_id)}, {"spanId", to_hex(span.id)}};
  if (span.parent) object["parentSpanId"] = to_hex(*span.parent);
  if (!span.trace_state.empty()) object["traceState"] = span.trace_state;
  object["flags"] = kSampled | kKnowsParent | (span.parent_is_remote ? kParentIsRemote : 0);
  object["name"] = text(span.name);
  object["kind"] = static_cast<int>(span.kind);
  object["startTimeUnixNano"] = std::to_string(span.begin);
  object["endTimeUnixNano"] = std::to_string(span.end);
  json::array attributes;
  for (const auto& [name, value] : span.attributes) attributes.push_back(key_value(name, value));
  object["attributes"] = std::move(attributes);
  if (span.failed) {  // 2: STATUS_CODE_ERROR
    object["status"] = json::object{{"code", 2}, {"message", text(span.failure)}};
  }
  return object;
}

}  // namespace

std::string export_request(const Resource& resource, std::string_view version,
                           std::span<const Span> spans) {
  json::array attributes, objects;
  for (const auto& [name, value] : resource) attributes.push_back(key_value(name, value));
  for (const Span& span : spans) objects.push_back(span_object(span));
  json::object scope_spans{{"scope", {{"name", "mlxd"}, {"version", version}}},
                           {"spans", std::move(objects)}};
  json::object resource_spans{{"resource", {{"attributes", std::move(attributes)}}},
                              {"scopeSpans", json::array{std::move(scope_spans)}}};
  return json::serialize(json::object{{"resourceSpans", json::array{std::move(resource_spans)}}});
}

PartialSuccess read_partial_success(std::string_view body) {
  PartialSuccess found;
  boost::system::error_code error;
  const json::value answer = json::parse(body, error);
  if (error || !answer.is_object()) return found;
  const json::value* partial = answer.get_object().if_contains("partialSuccess");
  if (partial == nullptr || !partial->is_object()) return found;
  if (const json::value* count = partial->get_object().if_contains("rejectedSpans")) {
    if (count->is_int64()) found.rejected_spans = count->get_int64();
    if (count->is_string()) {
      const json::string& digits = count->get_string();
      std::from_chars(digits.data(), digits.data() + digits.size(), found.rejected_spans);
    }
  }
  if (const json::value* message = partial->get_object().if_contains("errorMessage")) {
    if (message->is_string()) found.message = message->get_string();
  }
  found.rejected_spans = std::max<std::int64_t>(0, found.rejected_spans);
  return found;
}

}  // namespace mlxd::tracing
