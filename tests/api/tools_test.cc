// Tools and what else a chat template is told, from the wire to the prompt.
#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/fakes.h"
#include "api/generation/model_directory.h"
#include "api/openai/parse_request.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kTool =
    R"({"type":"function","function":{"parameters":{"type":"object","properties":{
        "s":{"type":"string"},"n":{"type":["integer","null"]},"e":{"enum":["a",1]},
        "u":{"anyOf":[{"type":"string"},{"$ref":"#/x"}]},"r":{"$ref":"#/x"}}},
        "description":"d","strict":true,"name":"f"}})";

Result<OpenAiRequest> parse(std::string_view members) {
  static const ModelDirectory models = [] {
    std::vector<std::shared_ptr<TextModel>> list;
    list.push_back(std::make_shared<FakeModel>());
    return ModelDirectory(std::move(list));
  }();
  return parse_request(
      fmt::format(R"({{"model":"org/tiny","messages":[{{"role":"user","content":"x"}}],{}}})",
                  members),
      {}, models);
}

ChatPrompt prompt_of(std::string_view members) {
  const auto parsed = parse(members);
  EXPECT_TRUE(parsed) << members << ": " << (parsed ? "" : parsed.error().message);
  return parsed ? std::get<ChatPrompt>(parsed->request.prompts.at(0)) : ChatPrompt{};
}

TEST(Tools, TheTemplateGetsThemAsTransformersWritesThem) {
  const ChatPrompt prompt = prompt_of(
      fmt::format(R"("tools":[{},{{"type":"function","function":{{"name":"g"}}}}])", kTool));
  EXPECT_TRUE(prompt.tools_json.starts_with(
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":)"))
      << prompt.tools_json;
  EXPECT_THAT(prompt.tools_json, Not(HasSubstr("strict")));
  EXPECT_EQ(json::parse(prompt.tools_json).at(1), json::parse(R"({"type":"function","function":
      {"name":"g","parameters":{"type":"object","properties":{}}}})"));
}

TEST(Tools, TheParserLearnsNamesAndTypes) {
  const ChatPrompt prompt = prompt_of(fmt::format(R"("tools":[{}])", kTool));
  const DeclaredTool& tool = prompt.tools->at("f");
  std::vector<std::string> names;
  for (const ToolParameter& parameter : tool.parameters) names.push_back(parameter.name);
  EXPECT_THAT(names, ElementsAre("s", "n", "e", "u", "r"));
  EXPECT_EQ(tool.types_of("s"), kJsonString);
  EXPECT_EQ(tool.types_of("n"), kJsonInteger | kJsonNull);
  EXPECT_EQ(tool.types_of("e"), kJsonString | kJsonInteger);
  EXPECT_EQ(tool.types_of("u"), kAnyJson);
  EXPECT_EQ(tool.types_of("nonesuch"), kAnyJson);
}

TEST(Tools, GrammarsLearnWhatIsRequiredAndWhatThereIsToChooseFrom) {
  const ChatPrompt prompt = prompt_of(
      R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object",
          "required":["a"],"properties":{"a":{"type":"string","enum":["x","y"]},"b":{}}}}}])");
  const auto& parameters = prompt.tools->at("f").parameters;
  EXPECT_TRUE(parameters.at(0).required);
  EXPECT_THAT(parameters.at(0).choices, ElementsAre("x", "y"));
  EXPECT_FALSE(parameters.at(1).required);
}

TEST(Tools, LegacyFunctionsAreTools) {
  const auto parsed = parse(R"("functions":[{"name":"f"}],"function_call":"auto")");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(parsed->wire.legacy_functions);
  EXPECT_TRUE(parsed->request.text.calls.at_most_one);
  EXPECT_TRUE(std::get<ChatPrompt>(parsed->request.prompts.at(0)).tools->contains("f"));
  const auto both = parse(fmt::format(R"("functions":[{{"name":"f"}}],"tools":[{}])", kTool));
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().param, "tools");
}

TEST(Tools, AreKeptFromTheModelByToolChoiceNone) {
  const ChatPrompt prompt = prompt_of(fmt::format(R"("tools":[{}],"tool_choice":"none")", kTool));
  EXPECT_EQ(prompt.tools_json, "");
  EXPECT_EQ(prompt.tools, nullptr);
}

TEST(Tools, TheSchemaIsKeptAsItWasSent) {
  const ChatPrompt prompt = prompt_of(
      R"("tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":
          {"type":"object","properties":{"z":{},"a":{}}}}}])");
  EXPECT_EQ(prompt.tools->at("f").schema, R"({"type":"object","properties":{"z":{},"a":{}}})");
  EXPECT_TRUE(prompt.tools->at("f").strict);
}

TEST(Tools, WhatMayAndMustBeCalled) {
  const auto rule = [](std::string_view choice) {
    const auto parsed = parse(fmt::format(R"("tools":[{}],"tool_choice":{})", kTool, choice));
    return parsed ? parsed->request.text.calls : CallRule();
  };
  EXPECT_FALSE(rule(R"("auto")").must);
  EXPECT_TRUE(rule(R"("required")").must);
  EXPECT_THAT(rule(R"("required")").only, IsEmpty());
  const CallRule named = rule(R"({"type":"function","function":{"name":"f"}})");
  EXPECT_TRUE(named.must);
  EXPECT_THAT(named.only, ElementsAre("f"));
  EXPECT_EQ(named.param, "tool_choice");
  for (const bool must : {false, true}) {
    const CallRule allowed = rule(fmt::format(
        R"({{"type":"allowed_tools","allowed_tools":{{"mode":"{}","tools":[
            {{"type":"function","function":{{"name":"f"}}}}]}}}})",
        must ? "required" : "auto"));
    EXPECT_EQ(allowed.must, must);
    EXPECT_THAT(allowed.only, ElementsAre("f"));
  }
}

TEST(Tools, ACallOfWhatIsNotDeclaredIsRefused) {
  const auto unknown = parse(fmt::format(
      R"("tools":[{}],"tool_choice":{{"type":"function","function":{{"name":"h"}}}})", kTool));
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("'h'"));
  const auto none = parse(R"("tool_choice":"required")");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().param, "tool_choice");
}

TEST(Tools, AtMostOneCallWhereParallelOnesAreOff) {
  const auto parsed = parse(fmt::format(R"("tools":[{}],"parallel_tool_calls":false)", kTool));
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->request.text.calls.at_most_one);
  EXPECT_FALSE(parse(fmt::format(R"("tools":[{}])", kTool))->request.text.calls.at_most_one);
}

TEST(Tools, ThereAreAtMost256) {
  std::string list;
  for (int i = 0; i < 257; ++i) {
    list +=
        fmt::format(R"({}{{"type":"function","function":{{"name":"f{}"}}}})", i > 0 ? "," : "", i);
  }
  const auto parsed = parse(fmt::format(R"("tools":[{}])", list));
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().param, "tools");
}

TEST(TemplateArguments, AreTheClientsAndWhatItsParametersMean) {
  EXPECT_EQ(prompt_of(R"("n":1)").template_arguments_json, "");
  EXPECT_EQ(json::parse(prompt_of(R"("reasoning_effort":"low")").template_arguments_json),
            json::parse(R"({"reasoning_effort":"low","enable_thinking":true,"thinking":true})"));
  EXPECT_EQ(json::parse(prompt_of(R"("reasoning_effort":"none")").template_arguments_json),
            json::parse(R"({"enable_thinking":false,"thinking":false})"));
  EXPECT_EQ(json::parse(prompt_of(R"("enable_thinking":false)").template_arguments_json),
            json::parse(R"({"enable_thinking":false,"thinking":false})"));
  EXPECT_EQ(json::parse(prompt_of(R"("chat_template_kwargs":{"a":[1],"enable_thinking":true},
                                      "enable_thinking":false)")
                            .template_arguments_json),
            json::parse(R"({"enable_thinking":true,"thinking":false,"a":[1]})"));
}

TEST(TemplateArguments, DocumentsAndHowThePromptEnds) {
  const ChatPrompt prompt = prompt_of(
      R"("documents":[{"text":"t"}],"add_generation_prompt":false,"continue_final_message":true)");
  EXPECT_EQ(prompt.documents_json, R"([{"text":"t"}])");
  EXPECT_FALSE(prompt.add_generation_prompt);
  EXPECT_TRUE(prompt.continue_final_message);
}

}  // namespace
}  // namespace mlxd::api
