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
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

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
  EXPECT_THAT(
      prompt.tools->at("f"),
      UnorderedElementsAre(Pair("s", unsigned{kJsonString}), Pair("n", kJsonInteger | kJsonNull),
                           Pair("e", kJsonString | kJsonInteger), Pair("u", unsigned{kAnyJson}),
                           Pair("r", unsigned{kAnyJson})));
}

TEST(Tools, LegacyFunctionsAreTools) {
  const auto parsed = parse(R"("functions":[{"name":"f"}],"function_call":"auto")");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(parsed->wire.legacy_functions);
  EXPECT_TRUE(parsed->request.text.one_call);
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

TEST(Tools, WhatForcesACallIsRefusedByName) {
  for (const std::string_view choice :
       {R"("required")", R"({"type":"function","function":{"name":"f"}})",
        R"({"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[
            {"type":"function","function":{"name":"f"}}]}})"}) {
    const auto parsed = parse(fmt::format(R"("tools":[{}],"tool_choice":{})", kTool, choice));
    ASSERT_FALSE(parsed) << choice;
    EXPECT_EQ(parsed.error().param, "tool_choice");
    EXPECT_EQ(parsed.error().code, "unsupported_parameter");
    EXPECT_THAT(parsed.error().message, HasSubstr("forces"));
  }
  const auto unknown = parse(fmt::format(
      R"("tools":[{}],"tool_choice":{{"type":"function","function":{{"name":"h"}}}})", kTool));
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("'h'"));
}

TEST(Tools, AtMostOneCallWhereParallelOnesAreOff) {
  const auto parsed = parse(fmt::format(R"("tools":[{}],"parallel_tool_calls":false)", kTool));
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->request.text.one_call);
  EXPECT_FALSE(parse(fmt::format(R"("tools":[{}])", kTool))->request.text.one_call);
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
