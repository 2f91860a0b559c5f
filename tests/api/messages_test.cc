#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/fakes.h"
#include "api/openai/read_values.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::StartsWith;

Result<json::value> normalised(std::string_view messages) {
  RequestFields fields;
  auto read = read_messages(json::parse({messages.data(), messages.size()}), fields);
  if (!read) return read.error();
  return json::parse(fields.chat.messages_json);
}

void expect_messages(std::string_view from, std::string_view to) {
  const auto got = normalised(from);
  ASSERT_TRUE(got) << from << ": " << got.error().message;
  EXPECT_EQ(*got, json::parse({to.data(), to.size()})) << from;
}

void expect_refused(std::string_view messages, std::string_view param) {
  const auto got = normalised(messages);
  ASSERT_FALSE(got) << messages;
  EXPECT_EQ(got.error().status, 400);
  EXPECT_EQ(got.error().param, param) << messages << ": " << got.error().message;
}

TEST(Messages, RolesPassDeveloperToo) {
  expect_messages(
      R"([{"role":"developer","content":"d"},{"role":"user","content":"u","name":"Ann"},
          {"role":"assistant","content":"a"},{"role":"tool","content":"t","tool_call_id":"c1"}])",
      R"([{"role":"developer","content":"d"},{"role":"user","content":"u","name":"Ann"},
          {"role":"assistant","content":"a"},{"role":"tool","content":"t","tool_call_id":"c1"}])");
}

TEST(Messages, TextPartsStayPartsSinceTheTemplateMayReadThem) {
  expect_messages(R"([{"role":"user","content":[{"type":"text","text":"a "},
                      {"type":"text","text":"b"}]}])",
                  R"([{"role":"user","content":[{"type":"text","text":"a "},
                      {"type":"text","text":"b"}]}])");
  expect_messages(R"([{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}])",
                  R"([{"role":"assistant","content":[{"type":"text","text":"no"}]}])");
  expect_messages(R"([{"role":"user","content":""}])", R"([{"role":"user","content":""}])");
}

TEST(Messages, AnAnswerComesBackAsClientsDumpIt) {
  expect_messages(R"([{"role":"assistant","content":"a","refusal":null,"annotations":[],
                      "audio":null,"function_call":null,"tool_calls":null}])",
                  R"([{"role":"assistant","content":"a"}])");
  expect_messages(R"([{"role":"assistant","content":null,"refusal":"no"}])",
                  R"([{"role":"assistant","content":"no"}])");
}

TEST(Messages, ToolCallsOfTheHistoryPassWithWhateverTheModelWroteAsArguments) {
  for (const std::string_view arguments : {R"("{\"x\": 1}")", R"("")", R"("{\"x")", R"({"x":1})"}) {
    const std::string call = R"({"role":"assistant","content":null,"tool_calls":[{"id":"c1",
        "type":"function","function":{"name":"f","arguments":)" +
                             std::string(arguments) + "}}]}";
    expect_messages("[" + call + "]", "[" + call + "]");
  }
  expect_refused(R"([{"role":"assistant","tool_calls":[{"name":"f"}]}])",
                 "messages[0].tool_calls[0].function");
  expect_refused(R"([{"role":"assistant","tool_calls":[{"function":{"arguments":""}}]}])",
                 "messages[0].tool_calls[0].function.name");
  expect_refused(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":1}}]}])",
                 "messages[0].tool_calls[0].function.arguments");
}

TEST(Messages, WhatSaysNothingOfACallToATemplateIsLeftOut) {
  expect_messages(R"([{"role":"assistant","tool_calls":[{"index":0,"id":"c1","type":"function",
                       "function":{"name":"f","arguments":null}}]}])",
                  R"([{"role":"assistant","content":null,"tool_calls":[{"id":"c1",
                       "type":"function","function":{"name":"f","arguments":""}}]}])");
}

TEST(Messages, ModelsAndToolsMayHaveSaidNothing) {
  for (const std::string_view role : {"assistant", "tool"}) {
    for (const std::string_view content : {R"(,"content":null)", "", R"(,"content":[])"}) {
      expect_messages(fmt::format(R"([{{"role":"{}"{}}}])", role, content),
                      fmt::format(R"([{{"role":"{}","content":""}}])", role));
    }
  }
}

TEST(Messages, ReasoningOfEarlierTurnsIsReadUnderBothNames) {
  const std::string_view out = R"([{"role":"assistant","content":"a","reasoning_content":"r"}])";
  expect_messages(R"([{"role":"assistant","content":"a","reasoning":"r"}])", out);
  expect_messages(R"([{"role":"assistant","content":"a","reasoning_content":"r","reasoning":"r"}])",
                  out);
  expect_refused(R"([{"role":"assistant","content":"a","reasoning":1}])", "messages[0].reasoning");
}

TEST(Messages, LegacyFunctionCallsAreToolCalls) {
  expect_messages(R"([{"role":"assistant","content":null,
                       "function_call":{"name":"f","arguments":"{}"}},
                      {"role":"function","name":"f","content":"r"}])",
                  R"([{"role":"assistant","content":null,"tool_calls":[{"id":"function0",
                       "type":"function","function":{"name":"f","arguments":"{}"}}]},
                      {"role":"tool","tool_call_id":"function0","name":"f","content":"r"}])");
}

TEST(Messages, WhatIsWrongIsNamedWithItsPlace) {
  expect_refused("[]", "messages");
  expect_refused("{}", "messages");
  expect_refused("[1]", "messages[0]");
  expect_refused(R"([{"content":"x"}])", "messages[0].role");
  expect_refused(R"([{"role":"wizard","content":"x"}])", "messages[0].role");
  expect_refused(R"([{"role":1,"content":"x"}])", "messages[0].role");
  expect_refused(R"([{"role":"user"}])", "messages[0].content");
  expect_refused(R"([{"role":"user","content":null}])", "messages[0].content");
  expect_refused(R"([{"role":"user","content":1}])", "messages[0].content");
  expect_refused(R"([{"role":"user","content":[]}])", "messages[0].content");
  expect_refused(R"([{"role":"user","content":["x"]}])", "messages[0].content[0]");
  expect_refused(R"([{"role":"user","content":[{"type":"text"}]}])", "messages[0].content[0].text");
  expect_refused(R"([{"role":"user","content":"a"},{"role":"user","content":"b","x":1}])",
                 "messages[1].x");
  expect_refused(R"([{"role":"user","content":"a","tool_calls":[]}])", "messages[0].tool_calls");
  expect_refused(R"([{"role":"user","content":"a","name":1}])", "messages[0].name");
  std::string many = "[";
  for (int i = 0; i < 1025; ++i) many += R"({"role":"user","content":"x"},)";
  many.back() = ']';
  expect_refused(many, "messages");
}

TEST(Messages, ImagePartsAreNamedAsNotSupported) {
  const auto got = normalised(
      R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}])");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, "unsupported_content");
  EXPECT_THAT(got.error().param, StartsWith("messages[0].content[0]"));
}

}  // namespace
}  // namespace mlxd::api
