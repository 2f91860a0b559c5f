// /v1/responses: tools, and which of them may be called.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/responses/readers.h"
#include "api/responses_requests.h"

namespace mlxd::api::responses {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(ResponsesTools, AreFlatOrInNamespacesOrFreeText) {
  const std::string members = R"("tools":[
      {"type":"function","name":"f","description":"d","strict":true,"defer_loading":true,
       "parameters":{"type":"object","properties":{"a":{"type":"string"}}}},
      {"type":"namespace","name":"mcp__git","description":"git","tools":[
        {"type":"function","name":"log","parameters":{}}]},
      {"type":"namespace","name":"mcp__web__","tools":[{"type":"function","name":"get"}]},
      {"type":"custom","name":"apply_patch","description":"p",
       "format":{"type":"grammar","syntax":"lark","definition":"start: \"x\""}}])";
  const auto request = parse_with(members);
  const ChatPrompt prompt = prompt_in(request, members);
  ASSERT_NE(prompt.tools, nullptr);
  std::vector<std::string> names;
  for (const auto& [name, tool] : *prompt.tools) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("apply_patch", "f", "mcp__git__log", "mcp__web__get"));
  EXPECT_TRUE(prompt.tools->at("f").strict);
  const auto custom = json::parse(prompt.tools_json).at(3).at("function");
  EXPECT_EQ(custom.at("description"), "p");
  EXPECT_EQ(custom.at("parameters").at("properties").at("input").at("type"), "string");
  EXPECT_THAT(text_of(custom.at("parameters").at("properties").at("input").at("description")),
              HasSubstr("Lark grammar:\nstart: \"x\""));
  const auto& offered = request->shape.offered;
  EXPECT_EQ(offered.at("mcp__git__log").name_space, "mcp__git");
  EXPECT_EQ(offered.at("mcp__git__log").name, "log");
  EXPECT_EQ(offered.at("mcp__web__get").name, "get");
  EXPECT_TRUE(offered.at("apply_patch").custom);
}

TEST(ResponsesTools, ThoseThatAreNotHereAreToldToTheModelAndToTheClient) {
  const std::string members = R"("instructions":"i","tools":[{"type":"web_search"},
      {"type":"image_generation","output_format":"png"},{"type":"web_search"},
      {"type":"tool_of_tomorrow"}])";
  const auto request = parse_with(members);
  const auto prompt = prompt_in(request, members);
  EXPECT_EQ(prompt.tools, nullptr);
  EXPECT_EQ(text_of(json::parse(prompt.messages_json).at(0).at("content")),
            "i\n\nThese tools are not available here, so do not try to use them: web_search, "
            "image_generation, tool_of_tomorrow.");
  EXPECT_THAT(request->ignored, ElementsAre("tools[0]:web_search", "tools[1]:image_generation",
                                            "tools[2]:web_search", "tools[3]:tool_of_tomorrow"));
}

TEST(ResponsesTools, MayStandInTheInput) {
  const std::string members = R"("tools":[{"type":"function","name":"f"}],"input":[
      {"type":"additional_tools","role":"developer","tools":[{"type":"function","name":"f"},
        {"type":"function","name":"g"}]}])";
  EXPECT_EQ(prompt_in(parse(members), members).tools->size(), 2u);
}

TEST(ResponsesTools, AChoiceIsARuleOfCalls) {
  const std::string tools = R"("tools":[{"type":"function","name":"f"},
      {"type":"custom","name":"c"},{"type":"web_search"},
      {"type":"namespace","name":"n","tools":[{"type":"function","name":"a"},
      {"type":"function","name":"b"}]}])";
  const auto rule = [&](const std::string& choice) {
    const auto request = parse_with(tools + R"(,"tool_choice":)" + choice);
    EXPECT_TRUE(request) << choice << ": " << (request ? "" : request.error().message);
    return request ? request->parsed.text.calls : CallRule{};
  };
  EXPECT_FALSE(rule(R"("auto")").must);
  EXPECT_TRUE(rule(R"("required")").must);
  EXPECT_THAT(rule(R"("required")").only, IsEmpty());
  EXPECT_THAT(rule(R"({"type":"function","name":"f"})").only, ElementsAre("f"));
  EXPECT_TRUE(rule(R"({"type":"function","name":"f"})").must);
  EXPECT_TRUE(rule(R"({"type":"function","name":"f"})").at_most_one);
  EXPECT_FALSE(rule(R"("required")").at_most_one);
  EXPECT_THAT(rule(R"({"type":"custom","name":"c"})").only, ElementsAre("c"));
  EXPECT_THAT(rule(R"({"type":"function","namespace":"n","name":"b"})").only, ElementsAre("n__b"));
  const CallRule allowed = rule(R"({"type":"allowed_tools","mode":"auto","tools":[
      {"type":"web_search"},{"type":"function","name":"f"},{"type":"namespace","name":"n"}]})");
  EXPECT_FALSE(allowed.must);
  EXPECT_THAT(allowed.only, ElementsAre("f", "n__a", "n__b"));
  EXPECT_EQ(allowed.param, "tool_choice");
  EXPECT_FALSE(rule(R"("auto")").at_most_one);
  EXPECT_TRUE(rule(R"("auto","parallel_tool_calls":false)").at_most_one);
  for (const char* none : {R"("none")", R"({"type":"allowed_tools","mode":"auto","tools":[
      {"type":"web_search"}]})"}) {
    const auto request = parse_with(tools + R"(,"tool_choice":)" + none);
    EXPECT_EQ(prompt_in(request, none).tools, nullptr);
  }
}

TEST(ResponsesTools, WhatIsWrongIsNamedByItsPlace) {
  const std::string f = R"("tools":[{"type":"function","name":"f"}],)";
  const std::pair<std::string, const char*> cases[] = {
      {R"("tools":{})", "tools"},
      {R"("tools":[1])", "tools[0]"},
      {R"("tools":[{"name":"f"}])", "tools[0].type"},
      {R"("tools":[{"type":"Bad Type"}])", "tools[0].type"},
      {R"("tools":[{"type":"function"}])", "tools[0].name"},
      {R"("tools":[{"type":"function","name":"a b"}])", "tools[0].name"},
      {R"("tools":[{"type":"function","name":"f"},{"type":"custom","name":"f"}])", "tools[1].name"},
      {R"("tools":[{"type":"function","name":"f","parameters":[]}])", "tools[0].parameters"},
      {R"("tools":[{"type":"function","name":"f","strict":1}])", "tools[0].strict"},
      {R"("tools":[{"type":"function","name":"f","color":"red"}])", "tools[0].color"},
      {R"("tools":[{"type":"function","function":{"name":"f"}}])", "tools[0].name"},
      {R"("tools":[{"type":"namespace","name":"n"}])", "tools[0].tools"},
      {R"("tools":[{"type":"namespace","name":"n","tools":[{"type":"function"}]}])",
       "tools[0].tools[0].name"},
      {R"("tools":[{"type":"custom","name":"c","format":{"type":"grammar"}}])", "tools[0].format"},
      {f + R"("tool_choice":"maybe")", "tool_choice"},
      {f + R"("tool_choice":7)", "tool_choice"},
      {f + R"("tool_choice":{"type":"function","name":"g"})", "tool_choice"},
      {f + R"("tool_choice":{"type":"web_search_preview"})", "tool_choice"},
      {f + R"("tool_choice":{"type":"allowed_tools","tools":[]})", "tool_choice.mode"},
      {f + R"("tool_choice":{"type":"allowed_tools","mode":"auto"})", "tool_choice.tools"},
      {f + R"("tool_choice":{"type":"allowed_tools","mode":"auto","tools":[
          {"type":"function","name":"g"}]})",
       "tool_choice.tools[0]"},
      {R"("tool_choice":"required")", "tool_choice"},
  };
  for (const auto& [members, param] : cases) {
    const Error error = error_of(R"("input":"x",)" + members);
    EXPECT_EQ(error.status, 400) << members;
    EXPECT_EQ(error.param, param) << members << ": " << error.message;
  }
}

}  // namespace
}  // namespace mlxd::api::responses
