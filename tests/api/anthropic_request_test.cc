// What a body of Anthropic's Messages API becomes: the chat that a template reads, and the job.
#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/anthropic/parameters.h"
#include "api/anthropic/parse_request.h"
#include "api/fakes.h"
#include "api/generation/model_directory.h"

namespace mlxd::api::anthropic {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const ModelDirectory& models() {
  static const ModelDirectory directory = [] {
    std::vector<std::shared_ptr<TextModel>> list;
    list.push_back(std::make_shared<FakeModel>());
    return ModelDirectory(std::move(list));
  }();
  return directory;
}

constexpr std::string_view kAsk = R"("messages":[{"role":"user","content":"x"}])";
constexpr std::string_view kTool =
    R"({"name":"f","description":"d","input_schema":{"type":"object","properties":{"a":{}}}})";

Result<MessagesRequest> parse_body(std::string_view members) {
  return parse_messages(fmt::format(R"({{"model":"tiny","max_tokens":9,{}}})", members), 60,
                        models());
}
Result<MessagesRequest> parse(std::string_view members) {
  return parse_body(fmt::format("{},{}", kAsk, members));
}

MessagesRequest accepted(std::string_view members) {
  auto parsed = parse(members);
  EXPECT_TRUE(parsed) << members << ": " << (parsed ? "" : parsed.error().message);
  return parsed ? *std::move(parsed) : MessagesRequest{};
}
const ChatPrompt& chat_of(const MessagesRequest& parsed) {
  return std::get<ChatPrompt>(parsed.request.prompts.at(0));
}

void expect_chat(std::string_view members, std::string_view messages) {
  const auto parsed = parse_body(members);
  ASSERT_TRUE(parsed) << members << ": " << parsed.error().message;
  EXPECT_EQ(json::parse(chat_of(*parsed).messages_json),
            json::parse({messages.data(), messages.size()}))
      << chat_of(*parsed).messages_json;
  EXPECT_THAT(parsed->ignored, IsEmpty());
}

void expect_refused(const Result<MessagesRequest>& parsed, std::string_view param) {
  ASSERT_FALSE(parsed) << param;
  EXPECT_EQ(parsed.error().status, 400);
  EXPECT_EQ(parsed.error().param, param) << parsed.error().message;
  // Anthropic's errors have no place for the parameter but the message.
  EXPECT_THAT(parsed.error().message, HasSubstr(param.substr(0, param.find('.'))));
}

TEST(AnthropicMessages, SystemIsAStringOrBlocksAndComesFirst) {
  expect_chat(fmt::format(R"("system":"s",{})", kAsk),
              R"([{"role":"system","content":"s"},{"role":"user","content":"x"}])");
  expect_chat(
      fmt::format(R"("system":[{{"type":"text","text":"a"}},{{"type":"text","text":"b",
                             "cache_control":{{"type":"ephemeral"}}}}],{})",
                  kAsk),
      R"([{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
                  {"role":"user","content":"x"}])");
  expect_chat(fmt::format(R"("system":[],{})", kAsk), R"([{"role":"user","content":"x"}])");
}

TEST(AnthropicMessages, TheBillingBlockIsNotThePrompts) {
  constexpr std::string_view kBilling = "x-anthropic-billing-header: cc_version=2.1.154; cch=abc12";
  expect_chat(
      fmt::format(R"("system":[{{"type":"text","text":"{}"}},{{"type":"text","text":"s"}}],{})",
                  kBilling, kAsk),
      R"([{"role":"system","content":"s"},{"role":"user","content":"x"}])");
  expect_chat(fmt::format(R"("system":"{}\n\ns",{})", kBilling, kAsk),
              R"([{"role":"system","content":"s"},{"role":"user","content":"x"}])");
  expect_chat(fmt::format(R"("system":"{}",{})", kBilling, kAsk),
              R"([{"role":"user","content":"x"}])");
}

TEST(AnthropicMessages, SystemEntriesStayInTheirPlace) {
  expect_chat(R"("messages":[{"role":"user","content":"a"},{"role":"system","content":"s"},
                 {"role":"system","content":[{"type":"text","text":"t"}]},
                 {"role":"user","content":"b"}])",
              R"([{"role":"user","content":"a"},{"role":"system","content":"s"},
                  {"role":"system","content":"t"},{"role":"user","content":"b"}])");
}

TEST(AnthropicMessages, NeighboursOfOneRoleAreOneTurn) {
  expect_chat(
      R"("messages":[{"role":"user","content":"a"},{"role":"user","content":[
                 {"type":"text","text":"b"},{"type":"text","text":""}]}])",
      R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])");
}

TEST(AnthropicMessages, CallsAndResultsAreWhatTemplatesRead) {
  expect_chat(
      R"("messages":[{"role":"user","content":"x"},
         {"role":"assistant","content":[
           {"type":"thinking","thinking":"hm","signature":"s"},
           {"type":"redacted_thinking","data":"zzz"},
           {"type":"text","text":"I look."},
           {"type":"tool_use","id":"toolu_1","name":"f","input":{"z":1,"a":"b"},"caller":{"type":"direct"}},
           {"type":"tool_use","id":"toolu_2","name":"g","input":{}}]},
         {"role":"user","content":[
           {"type":"text","text":"and now?"},
           {"type":"tool_result","tool_use_id":"toolu_2","content":"no","is_error":true},
           {"type":"tool_result","tool_use_id":"toolu_1","cache_control":{"type":"ephemeral"},
            "content":[{"type":"text","text":"one"},{"type":"text","text":"two"}]}]}])",
      R"([{"role":"user","content":"x"},
          {"role":"assistant","content":"I look.","reasoning_content":"hm","tool_calls":[
            {"id":"toolu_1","type":"function","function":{"name":"f","arguments":"{\"z\":1,\"a\":\"b\"}"}},
            {"id":"toolu_2","type":"function","function":{"name":"g","arguments":"{}"}}]},
          {"role":"tool","tool_call_id":"toolu_2","name":"g","content":"Error: no"},
          {"role":"tool","tool_call_id":"toolu_1","name":"f",
           "content":[{"type":"text","text":"one"},{"type":"text","text":"two"}]},
          {"role":"user","content":"and now?"}])");
}

TEST(AnthropicMessages, ACallAloneHasNoContentAndAnEmptyResultIsOne) {
  expect_chat(
      R"("messages":[{"role":"user","content":"x"},
         {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},
         {"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}])",
      R"([{"role":"user","content":"x"},
          {"role":"assistant","content":null,"tool_calls":[
            {"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}]},
          {"role":"tool","tool_call_id":"t","name":"f","content":""}])");
}

TEST(AnthropicMessages, AnAnswerThatIsBegunGoesOn) {
  const auto begun = parse_body(R"("messages":[{"role":"user","content":"x"},
                                   {"role":"assistant","content":"So"}])");
  ASSERT_TRUE(begun) << begun.error().message;
  EXPECT_TRUE(chat_of(*begun).continue_final_message);
  EXPECT_FALSE(chat_of(*begun).add_generation_prompt);
  const MessagesRequest fresh = accepted(R"("stream":false)");
  EXPECT_FALSE(chat_of(fresh).continue_final_message);
  EXPECT_TRUE(chat_of(fresh).add_generation_prompt);
}

TEST(AnthropicMessages, WhatIsWrongIsNamed) {
  const std::vector<std::pair<std::string_view, std::string_view>> cases = {
      {R"([])", "messages"},
      {R"("x")", "messages"},
      {R"([1])", "messages.0"},
      {R"([{"content":"x"}])", "messages.0.role"},
      {R"([{"role":"tool","content":"x"}])", "messages.0.role"},
      {R"([{"role":"user"}])", "messages.0.content"},
      {R"([{"role":"user","content":""}])", "messages.0.content"},
      {R"([{"role":"user","content":[]}])", "messages.0.content"},
      {R"([{"role":"user","content":7}])", "messages.0.content"},
      {R"([{"role":"user","content":["x"]}])", "messages.0.content.0"},
      {R"([{"role":"user","content":[{"text":"x"}]}])", "messages.0.content.0.type"},
      {R"([{"role":"user","content":[{"type":"text"}]}])", "messages.0.content.0.text"},
      {R"([{"role":"user","content":[{"type":"image","source":{}}]}])",
       "messages.0.content.0.type"},
      {R"([{"role":"user","content":[{"type":"document"}]}])", "messages.0.content.0.type"},
      {R"([{"role":"user","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]}])",
       "messages.0.content.0.type"},
      {R"([{"role":"assistant","content":[{"type":"tool_result","tool_use_id":"a"}]}])",
       "messages.0.content.0.type"},
      {R"([{"role":"assistant","content":[{"type":"server_tool_use"}]}])",
       "messages.0.content.0.type"},
      {R"([{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}])",
       "messages.0.content.0.tool_use_id"},
      {R"([{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":"{}"}]}])",
       "messages.0.content.0.input"},
      {R"([{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]}])",
       "messages"},
      {R"([{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},
           {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[
             {"type":"image"}]}]}])",
       "messages.1.content.0.content.0.type"},
      {R"([{"role":"user","content":[{"type":"text","text":"x","cache_control":1}]}])",
       "cache_control"},
  };
  for (const auto& [messages, param] : cases) {
    SCOPED_TRACE(messages);
    expect_refused(parse_body(fmt::format(R"("messages":{})", messages)), param);
  }
  const auto image = parse_body(R"("messages":[{"role":"user","content":[{"type":"image"}]}])");
  EXPECT_THAT(image.error().message, HasSubstr("no images"));
}

TEST(AnthropicParameters, WhatIsRequiredIsAskedFor) {
  expect_refused(parse_messages(R"({"model":"tiny","messages":[{"role":"user","content":"x"}]})",
                                60, models()),
                 "max_tokens");
  expect_refused(parse_messages(R"({"max_tokens":1,"messages":[{"role":"user","content":"x"}]})",
                                60, models()),
                 "model");
  expect_refused(parse_messages(R"({"model":"tiny","max_tokens":1})", 60, models()), "messages");
  EXPECT_EQ(parse_messages("[]", 60, models()).error().code, "invalid_json");
  const auto unknown = parse_messages(
      R"({"model":"claude","max_tokens":1,"messages":[{"role":"user","content":"x"}]})", 60,
      models());
  EXPECT_EQ(unknown.error().status, 404);
  // Only the prompt is counted.
  EXPECT_TRUE(parse_count_tokens(R"({"model":"tiny","messages":[{"role":"user","content":"x"}]})",
                                 models()));
}

TEST(AnthropicParameters, OutOfRangeOrOfAnotherTypeIsNamed) {
  const std::vector<std::pair<std::string_view, std::string_view>> cases = {
      {R"("temperature":1.1)", "temperature"},
      {R"("temperature":"hot")", "temperature"},
      {R"("top_p":-0.1)", "top_p"},
      {R"("top_k":-1)", "top_k"},
      {R"("top_k":1.5)", "top_k"},
      {R"("stream":1)", "stream"},
      {R"("stop_sequences":"x")", "stop_sequences"},
      {R"("stop_sequences":[""])", "stop_sequences"},
      {R"("stop_sequences":[1])", "stop_sequences"},
      {R"("system":1)", "system"},
      {R"("system":[{"type":"image"}])", "system.0.type"},
      {R"("metadata":"me")", "metadata"},
      {R"("service_tier":1)", "service_tier"},
      {R"("thinking":true)", "thinking"},
      {R"("thinking":{"type":"some"})", "thinking.type"},
      {R"("thinking":{"type":"enabled","budget_tokens":"all"})", "thinking.budget_tokens"},
      {R"("thinking":{"type":"adaptive","display":"loud"})", "thinking.display"},
      {R"("output_config":{"effort":"none"})", "output_config.effort"},
      {R"("output_config":{"format":{"type":"regex"}})", "output_config.format.type"},
      {R"("output_config":{"format":{"type":"json_schema"}})", "output_config.format.schema"},
      {R"("output_format":{"type":"json_schema","schema":1})", "output_format.schema"},
      {R"("tools":{})", "tools"},
      {R"("tools":[1])", "tools.0"},
      {R"("tools":[{"name":"f"}])", "tools.0.input_schema"},
      {R"("tools":[{"name":"f","input_schema":1}])", "tools.0.input_schema"},
      {R"("tools":[{"name":"f g","input_schema":{}}])", "tools.0.name"},
      {R"("tools":[{"input_schema":{}}])", "tools.0.name"},
      {R"("tool_choice":"any")", "tool_choice"},
      {R"("tool_choice":{"type":"all"})", "tool_choice.type"},
      {R"("tool_choice":{"type":"tool"})", "tool_choice.name"},
      {R"("tool_choice":{"type":"any"})", "tool_choice"},
      {R"("tool_choice":{"type":"auto","disable_parallel_tool_use":1})",
       "tool_choice.disable_parallel_tool_use"},
  };
  for (const auto& [members, param] : cases) {
    SCOPED_TRACE(members);
    expect_refused(parse(members), param);
  }
}

TEST(AnthropicParameters, GoWhereTheyMeanSomething) {
  const MessagesRequest parsed = accepted(
      R"("temperature":0.25,"top_p":0,"top_k":7,"stop_sequences":["a","b"],"stream":true)");
  const GenerateJob& job = parsed.request.job;
  EXPECT_EQ(job.max_tokens, 9);
  EXPECT_TRUE(parsed.request.text.cut_to_fit);
  EXPECT_EQ(job.sampling.temperature, 0.25F);
  EXPECT_GT(job.sampling.top_p, 0);
  EXPECT_LT(job.sampling.top_p, 1e-6F);
  EXPECT_EQ(job.sampling.top_k, 7);
  EXPECT_THAT(parsed.request.text.stop, ElementsAre("a", "b"));
  EXPECT_TRUE(parsed.request.stream);
  EXPECT_EQ(parsed.wire.model, "org/tiny");
}

TEST(AnthropicParameters, ASeedIsTheClientsOrTold) {
  EXPECT_EQ(accepted(R"("seed":-7)").seed, "-7");
  EXPECT_EQ(accepted(R"("seed":18446744073709551615)").request.job.sampling.seed,
            18446744073709551615U);
  const MessagesRequest random = accepted(R"("stream":false)");
  EXPECT_EQ(random.seed, std::to_string(random.request.job.sampling.seed));
  EXPECT_NE(random.seed, accepted(R"("stream":false)").seed);
  expect_refused(parse(R"("seed":"x")"), "seed");
}

TEST(AnthropicParameters, ThinkingAndEffortAreTheTemplates) {
  const auto arguments = [](std::string_view members) {
    return chat_of(accepted(members)).template_arguments_json;
  };
  EXPECT_EQ(arguments(R"("stream":false)"), "");
  for (const char* type : {"enabled", "adaptive", "between_tools"}) {
    EXPECT_EQ(json::parse(arguments(
                  fmt::format(R"("thinking":{{"type":"{}","budget_tokens":2048}})", type))),
              json::parse(R"({"enable_thinking":true,"thinking":true})"));
  }
  EXPECT_EQ(
      json::parse(arguments(R"("thinking":{"type":"disabled"},"output_config":{"effort":"low"})")),
      json::parse(R"({"enable_thinking":false,"thinking":false})"));
  EXPECT_EQ(json::parse(arguments(R"("output_config":{"effort":"max"})")),
            json::parse(R"({"reasoning_effort":"max"})"));
  EXPECT_TRUE(accepted(R"("thinking":{"type":"adaptive","display":"omitted"})").wire.omit_thinking);
  EXPECT_FALSE(
      accepted(R"("thinking":{"type":"adaptive","display":"summarized"})").wire.omit_thinking);
}

TEST(AnthropicParameters, AFormatHoldsTheAnswerToItsSchema) {
  for (const std::string_view members :
       {R"("output_config":{"format":{"type":"json_schema","schema":{"z":1,"a":2}}})",
        R"("output_format":{"type":"json_schema","schema":{"z":1,"a":2}})"}) {
    const MessagesRequest parsed = accepted(members);
    ASSERT_TRUE(parsed.request.text.grammar);
    EXPECT_EQ(parsed.request.text.grammar->source.text, R"({"z":1,"a":2})");
  }
}

TEST(AnthropicParameters, ToolsReachTheTemplateAndTheParser) {
  const MessagesRequest parsed = accepted(fmt::format(
      R"("tools":[{},{{"type":"custom","name":"g","input_schema":{{}},"strict":true,
          "cache_control":{{"type":"ephemeral"}},"eager_input_streaming":true}}])",
      kTool));
  const ChatPrompt& chat = chat_of(parsed);
  EXPECT_EQ(json::parse(chat.tools_json), json::parse(R"([
      {"type":"function","function":{"name":"f","description":"d",
       "parameters":{"type":"object","properties":{"a":{}}}}},
      {"type":"function","function":{"name":"g","parameters":{"type":"object","properties":{}}}}])"));
  ASSERT_TRUE(chat.tools);
  EXPECT_TRUE(chat.tools->at("g").strict);
  EXPECT_FALSE(chat.tools->at("f").strict);
  EXPECT_TRUE(parsed.wire.cache_control);
  EXPECT_THAT(parsed.ignored, IsEmpty());
}

TEST(AnthropicParameters, ToolsOfAnthropicsServersAreToldAsIgnored) {
  const MessagesRequest parsed = accepted(fmt::format(
      R"("tools":[{{"type":"web_search_20250305","name":"web_search","max_uses":8}},{}])", kTool));
  EXPECT_THAT(parsed.ignored, ElementsAre("tools.0:web_search_20250305"));
  EXPECT_THAT(chat_of(parsed).tools_json, testing::Not(HasSubstr("web_search")));
  expect_refused(parse(fmt::format(R"("tools":[{{"type":"web_search_20250305","name":"web_search"}},
      {}],"tool_choice":{{"type":"tool","name":"web_search"}})",
                                   kTool)),
                 "tool_choice.name");
}

TEST(AnthropicParameters, ToolChoiceIsTheRuleOfCalls) {
  const auto with = [](std::string_view choice) {
    return accepted(fmt::format(R"("tools":[{}],"tool_choice":{})", kTool, choice));
  };
  EXPECT_FALSE(with(R"({"type":"auto"})").request.text.calls.must);
  EXPECT_TRUE(with(R"({"type":"any"})").request.text.calls.must);
  EXPECT_THAT(with(R"({"type":"any"})").request.text.calls.only, IsEmpty());
  const CallRule named = with(R"({"type":"tool","name":"f"})").request.text.calls;
  EXPECT_TRUE(named.must);
  EXPECT_THAT(named.only, ElementsAre("f"));
  EXPECT_TRUE(named.at_most_one);
  EXPECT_EQ(named.param, "tool_choice");
  EXPECT_TRUE(
      with(R"({"type":"auto","disable_parallel_tool_use":true})").request.text.calls.at_most_one);
  EXPECT_EQ(chat_of(with(R"({"type":"none"})")).tools_json, "");
  EXPECT_EQ(chat_of(with(R"({"type":"none"})")).tools, nullptr);
}

TEST(AnthropicParameters, WhatHasNoEffectIsAcceptedAndTold) {
  const auto read = parse_body(
      R"("messages":[{"role":"user","id":"m1","content":[{"type":"text","text":"x","mood":1}]}],
         "metadata":{"user_id":"u"},"service_tier":"auto","context_management":{"edits":[]},
         "mcp_servers":[],"thinking":{"type":"adaptive","tint":"red"},
         "output_config":{"task_budget":{}},"betas":["b"],"nothing":null)");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(read->ignored,
              ElementsAre("messages.0.content.0.mood", "messages.0.id", "context_management",
                          "mcp_servers", "thinking.tint", "output_config.task_budget", "betas"));
}

TEST(AnthropicParameters, EveryRowIsReachedByItsName) {
  for (const Parameter& row : parameters()) EXPECT_EQ(find_parameter(row.name), &row) << row.name;
}

TEST(AnthropicParameters, CacheControlIsNotedWhereverItStands) {
  EXPECT_FALSE(accepted(R"("stream":false)").wire.cache_control);
  EXPECT_TRUE(accepted(R"("cache_control":{"type":"ephemeral"})").wire.cache_control);
  EXPECT_TRUE(accepted(R"("system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral",
                          "ttl":"1h"}}])")
                  .wire.cache_control);
}

}  // namespace
}  // namespace mlxd::api::anthropic
