// /v1/responses from the wire to the prompt: items, tools and parameters.
#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/fakes.h"
#include "api/generation/model_directory.h"
#include "api/responses/parameters.h"
#include "api/responses/parse_request.h"
#include "api/responses/readers.h"

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Result<Request> parse_body(const std::string& body, std::shared_ptr<ResponseStore> store = nullptr,
                           ParseOptions options = {}) {
  static const ModelDirectory models = [] {
    std::vector<std::shared_ptr<TextModel>> list;
    list.push_back(std::make_shared<FakeModel>());
    return ModelDirectory(std::move(list));
  }();
  if (!store) store = std::make_shared<ResponseStore>();
  return parse_request(body, options, models, store, 7);
}

Result<Request> parse(const std::string& members) {
  return parse_body(R"({"model":"tiny",)" + members + "}");
}
// With a plain input.
Result<Request> parse_with(const std::string& members) {
  return parse(R"("input":"x",)" + members);
}

ChatPrompt prompt_in(const Result<Request>& request, std::string_view said) {
  EXPECT_TRUE(request) << said << ": " << (request ? "" : request.error().message);
  return request ? std::get<ChatPrompt>(request->parsed.prompts.at(0)) : ChatPrompt{};
}

json::value messages_of(const std::string& members) {
  return json::parse(prompt_in(parse(members), members).messages_json);
}
json::value messages_of_items(const std::string& items) {
  return messages_of(R"("input":[)" + items + "]");
}

Error error_of(const std::string& members) {
  const auto request = parse(members);
  EXPECT_FALSE(request) << members;
  return request ? Error{} : request.error();
}

TEST(ResponsesInput, AStringIsAMessageOfTheUserAfterTheInstructions) {
  EXPECT_EQ(messages_of(R"("input":"Hi","instructions":"Be brief.")"), json::parse(R"([
      {"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}])"));
}

TEST(ResponsesInput, TheProbeOfCodexHasAnEmptyMessage) {
  const auto empty = json::parse(R"([{"role":"user","content":""}])");
  EXPECT_EQ(messages_of(R"("input":"","max_output_tokens":1)"), empty);
  EXPECT_EQ(messages_of(R"("input":[],"max_output_tokens":1)"), empty);
}

TEST(ResponsesInput, MessagesHaveTheirTextsInAllForms) {
  EXPECT_EQ(messages_of_items(R"(
      {"type":"message","role":"developer","content":[{"type":"input_text","text":"d"}]},
      {"role":"system","content":"s"},
      {"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]},
      {"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[
        {"type":"output_text","text":"c","annotations":[],"logprobs":[]},
        {"type":"refusal","refusal":"no"}]},
      {"role":"developer","content":"later"},
      {"role":"assistant","content":"e"})"),
            json::parse(R"([{"role":"developer","content":"d\n\ns"},
      {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"assistant","content":"cno"},
      {"role":"developer","content":"later"},
      {"role":"assistant","content":"e"}])"));
}

TEST(ResponsesInput, WhatAnAssistantDidBetweenTwoTurnsIsOneMessage) {
  EXPECT_EQ(messages_of_items(R"(
      {"role":"user","content":"q"},
      {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"think"}],
       "encrypted_content":"gAAA"},
      {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Let me see."}]},
      {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}","status":"completed"},
      {"type":"function_call","call_id":"c2","namespace":"mcp__git","name":"log","arguments":"{}"},
      {"type":"custom_tool_call","call_id":"c3","name":"apply_patch","input":"*** \"x\""},
      {"type":"function_call_output","call_id":"c1","output":"one"},
      {"type":"function_call_output","call_id":"c2","output":[
        {"type":"input_text","text":"two"},{"type":"input_text","text":"three"}]},
      {"type":"custom_tool_call_output","call_id":"c3","output":"done"},
      {"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"more"}]},
      {"type":"message","role":"assistant","content":"There."})"),
            json::parse(R"([{"role":"user","content":"q"},
      {"role":"assistant","content":"Let me see.","reasoning_content":"think","tool_calls":[
        {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
        {"id":"c2","type":"function","function":{"name":"mcp__git__log","arguments":"{}"}},
        {"id":"c3","type":"function","function":{"name":"apply_patch",
         "arguments":"{\"input\":\"*** \\\"x\\\"\"}"}}]},
      {"role":"tool","tool_call_id":"c1","content":"one"},
      {"role":"tool","tool_call_id":"c2","content":[
        {"type":"text","text":"two"},{"type":"text","text":"three"}]},
      {"role":"tool","tool_call_id":"c3","content":"done"},
      {"role":"assistant","content":"There.","reasoning_content":"more"}])"));
}

TEST(ResponsesInput, CallsAloneHaveNoContent) {
  EXPECT_EQ(messages_of_items(R"(
      {"type":"function_call","call_id":"c1","name":"f","arguments":""})"),
            json::parse(R"([{"role":"assistant","content":null,"tool_calls":[
        {"id":"c1","type":"function","function":{"name":"f","arguments":""}}]}])"));
}

TEST(ResponsesInput, BuiltInToolsOfAHistoryAreCallsOrDropped) {
  EXPECT_EQ(messages_of_items(R"(
      {"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search"}},
      {"type":"local_shell_call","id":"ls_1","call_id":"c1","status":"completed",
       "action":{"type":"exec","command":["ls"]}},
      {"type":"local_shell_call_output","id":"c1","output":"a.txt"},
      {"type":"mcp_call","id":"m1","server_label":"s","name":"look","arguments":"{}","output":"o"},
      {"type":"code_interpreter_call","id":"ci","code":"1+1","outputs":[{"logs":"2"}]})"),
            json::parse(R"([{"role":"assistant","content":null,"tool_calls":[
        {"id":"c1","type":"function","function":{"name":"local_shell",
         "arguments":"{\"type\":\"exec\",\"command\":[\"ls\"]}"}}]},
      {"role":"tool","tool_call_id":"c1","content":"a.txt"},
      {"role":"assistant","content":null,"tool_calls":[
        {"id":"m1","type":"function","function":{"name":"look","arguments":"{}"}}]},
      {"role":"tool","tool_call_id":"m1","content":"o"},
      {"role":"assistant","content":null,"tool_calls":[
        {"id":"ci","type":"function","function":{"name":"code_interpreter",
         "arguments":"{\"code\":\"1+1\"}"}}]},
      {"role":"tool","tool_call_id":"ci","content":"[{\"logs\":\"2\"}]"}])"));
}

TEST(ResponsesInput, AnOutputWithoutACallIsShownAsOne) {
  const auto messages = messages_of_items(R"(
      {"type":"function_call_output","namespace":"n","name":"clock","output":"noon"})");
  const auto& call = messages.at(0).at("tool_calls").at(0);
  EXPECT_EQ(call.at("function"), json::parse(R"({"name":"n__clock","arguments":"{}"})"));
  EXPECT_EQ(call.at("id"), "call00000");
  EXPECT_EQ(messages.at(1).at("tool_call_id"), call.at("id"));
  EXPECT_EQ(messages.at(1).at("content"), "noon");
}

TEST(ResponsesInput, WhatComesBackFromClientsSaysNothingMore) {
  EXPECT_EQ(messages_of_items(R"(
      {"type":"message","role":"user","phase":null,"metadata":{},"content":[
        {"type":"input_text","text":"q","prompt_cache_breakpoint":{"mode":"explicit"}}]},
      {"type":"reasoning","id":"rs","status":"completed","summary":[],"content":[
        {"type":"reasoning_text","text":"t"},{"type":"encrypted_content","encrypted_content":"x"}]},
      {"type":"function_call","id":"fc","call_id":"c","name":"f","arguments":"{}","async":null,
       "caller":{"type":"direct"},"parsed_arguments":{}})"),
            json::parse(R"([{"role":"user","content":"q"},
      {"role":"assistant","content":null,"reasoning_content":"t","tool_calls":[
        {"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}])"));
}

TEST(ResponsesInput, AConversationIsBounded) {
  std::string items = R"({"role":"user","content":"x"})";
  for (std::size_t i = 0; i < kMaxItems; ++i) items += R"(,{"role":"user","content":"x"})";
  EXPECT_EQ(error_of(R"("input":[)" + items + "]").param, "input");
}

TEST(ResponsesInput, WhatIsWrongIsNamedByItsPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("input":5)", "input"},
      {R"("input":[5])", "input[0]"},
      {R"("input":[{}])", "input[0].type"},
      {R"("input":[{"role":"king","content":"x"}])", "input[0].role"},
      {R"("input":[{"role":"user"}])", "input[0].content"},
      {R"("input":[{"role":"user","content":7}])", "input[0].content"},
      {R"("input":[{"role":"user","content":[{"text":"x"}]}])", "input[0].content[0].type"},
      {R"("input":[{"role":"user","content":[{"type":"input_text"}]}])",
       "input[0].content[0].text"},
      {R"("input":[{"role":"user","content":[{"type":"input_image","image_url":"u"}]}])",
       "input[0].content[0].type"},
      {R"("input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}])",
       "input[0].content[0].type"},
      {R"("input":[{"type":"function_call","name":"f","arguments":"{}"}])", "input[0].call_id"},
      {R"("input":[{"type":"function_call","call_id":"c","arguments":"{}"}])", "input[0].name"},
      {R"("input":[{"type":"function_call","call_id":"c","name":"f"}])", "input[0].arguments"},
      {R"("input":[{"type":"function_call","call_id":"c","name":"f","arguments":{}}])",
       "input[0].arguments"},
      {R"("input":[{"type":"custom_tool_call","call_id":"c","name":"f"}])", "input[0].input"},
      {R"("input":[{"type":"function_call_output","output":"x"}])", "input[0].call_id"},
      {R"("input":[{"type":"function_call_output","call_id":"c"}])", "input[0].output"},
      {R"("input":[{"type":"function_call_output","call_id":"c","output":[
          {"type":"input_image","image_url":"u"}]}])",
       "input[0].output[0].type"},
      {R"("input":[{"type":"reasoning","summary":"x"}])", "input[0].summary"},
      {R"("input":[{"type":"item_reference","id":"msg_1"}])", "input[0].id"},
      {R"("input":[{"type":"item_reference"}])", "input[0].id"},
      {R"("input":[{"type":"compaction","encrypted_content":"x"}])", "input[0].type"},
      {R"("input":[{"type":"computer_call_output","call_id":"c","output":{}}])", "input[0].type"},
      {R"("input":[{"role":"user","content":"x","color":"red"}])", "input[0].color"},
      {R"("input":[{"role":"user","content":"x","type id":"red"}])", "input[0].type id"},
      {R"("input":[{"role":"user","content":[{"type":"encrypted_content","text":"x"}]}])",
       "input[0].content[0].type"},
      {R"("input":[{"role":"user","content":[{"type":"input_text","text":"x","size":1}]}])",
       "input[0].content[0].size"},
      {R"("input":[{"type":"custom_tool_call_output","output":"x"}])", "input[0].call_id"},
      {R"("store":true)", "input"},
  };
  for (const auto& [members, param] : cases) {
    const Error error = error_of(members);
    EXPECT_EQ(error.status, 400) << members;
    EXPECT_EQ(error.param, param) << members << ": " << error.message;
    EXPECT_FALSE(error.message.empty());
  }
}

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

TEST(ResponsesParameters, SettleWhatTheEngineDoes) {
  const auto request = parse_with(R"("temperature":0,"top_p":0.5,"top_k":4,"seed":11,"priority":2,
      "max_output_tokens":9,"top_logprobs":3,"stream":true,"reasoning":{"effort":"low"})");
  ASSERT_TRUE(request) << request.error().message;
  const GenerateJob& job = request->parsed.job;
  EXPECT_EQ(job.sampling.temperature, 0);
  EXPECT_EQ(job.sampling.top_p, 0.5f);
  EXPECT_EQ(job.sampling.top_k, 4);
  EXPECT_EQ(job.sampling.seed, 11u);
  EXPECT_EQ(job.priority, 2);
  EXPECT_EQ(job.max_tokens, 9);
  EXPECT_TRUE(job.sampling.logprobs);
  EXPECT_TRUE(request->shape.logprobs);
  EXPECT_TRUE(request->parsed.stream);
  EXPECT_EQ(request->seed, "11");
  EXPECT_EQ(json::parse(std::get<ChatPrompt>(request->parsed.prompts[0]).template_arguments_json),
            json::parse(R"({"reasoning_effort":"low","enable_thinking":true,"thinking":true})"));
}

TEST(ResponsesParameters, ALengthBeyondWhatFitsIsWhatFits) {
  const auto request = parse_with(R"("max_output_tokens":32000)");
  EXPECT_EQ(request->parsed.job.max_tokens, 32000);
  EXPECT_TRUE(request->parsed.text.cut_to_fit);
  EXPECT_EQ(parse_with(R"("store":false)")->parsed.job.max_tokens, kAsManyAsFit);
}

TEST(ResponsesParameters, AFormatIsAGrammar) {
  const auto schema = parse_with(R"("text":{"verbosity":"low","format":{"type":"json_schema",
      "name":"n","strict":true,"description":null,"schema":{"type":"object"}}})");
  ASSERT_TRUE(schema) << schema.error().message;
  EXPECT_EQ(schema->parsed.text.grammar->source.kind, GrammarSource::Kind::json_schema);
  EXPECT_EQ(schema->parsed.text.grammar->source.text, R"({"type":"object"})");
  EXPECT_EQ(schema->parsed.text.grammar->param, "text.format.schema");
  EXPECT_EQ(
      parse_with(R"("text":{"format":{"type":"json_object"}})")->parsed.text.grammar->source.kind,
      GrammarSource::Kind::json_object);
  EXPECT_FALSE(parse_with(R"("text":{"format":{"type":"text"}})")->parsed.text.grammar);
}

TEST(ResponsesParameters, WhatChangesNothingIsAccepted) {
  for (const char* members : {
           R"("background":false)",
           R"("truncation":"auto")",
           R"("truncation":"disabled")",
           R"("include":["reasoning.encrypted_content"])",
           R"("stream":false)",
           R"("stream_options":{"include_obfuscation":false})",
           R"("service_tier":"priority")",
           R"("metadata":{"a":"b"})",
           R"("user":"u")",
           R"("safety_identifier":"s")",
           R"("prompt_cache_key":"k")",
           R"("prompt_cache_retention":"24h")",
           R"("prompt_cache_options":{"mode":"implicit"})",
           R"("client_metadata":{"a":"b"})",
           R"("max_tool_calls":3)",
           R"("context_management":[])",
           R"("conversation":null)",
           R"("reasoning":{"effort":null,"summary":"auto"})",
           R"("tool_choice":"auto")",
           R"("text":{"verbosity":"high"})",
           R"("parallel_tool_calls":true)",
       }) {
    const auto request = parse_with(members);
    EXPECT_TRUE(request) << members << ": " << (request ? "" : request.error().message);
  }
}

TEST(ResponsesParameters, WhatIsWrongOrNotSupportedIsRefusedByName) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {R"("background":true)", "background", "unsupported_parameter"},
      {R"("conversation":"conv_1")", "conversation", "unsupported_parameter"},
      {R"("prompt":{"id":"p"})", "prompt", "unsupported_parameter"},
      {R"("context_management":[{"type":"compaction"}])", "context_management",
       "unsupported_parameter"},
      {R"("prompt_cache_options":{"prewarm":true})", "prompt_cache_options",
       "unsupported_parameter"},
      {R"("moderation":{"model":"m"})", "moderation", "unsupported_parameter"},
      {R"("max_tokens":5)", "max_tokens", "unknown_parameter"},
      {R"("messages":[])", "messages", "unknown_parameter"},
      {R"("max_output_tokens":0)", "max_output_tokens", "invalid_value"},
      {R"("max_output_tokens":"5")", "max_output_tokens", "invalid_type"},
      {R"("temperature":3)", "temperature", "invalid_value"},
      {R"("top_p":0)", "top_p", "invalid_value"},
      {R"("top_logprobs":21)", "top_logprobs", "invalid_value"},
      {R"("truncation":"some")", "truncation", "invalid_value"},
      {R"("include":["all"])", "include", "invalid_value"},
      {R"("include":"all")", "include", "invalid_type"},
      {R"("stream_options":{"include_obfuscation":true})", "stream_options.include_obfuscation",
       "unknown_parameter"},
      {R"("reasoning":{"effort":"huge"})", "reasoning.effort", "invalid_value"},
      {R"("reasoning":{"summary":"long"})", "reasoning.summary", "invalid_value"},
      {R"("reasoning":{"mode":"pro"})", "reasoning.mode", "unknown_parameter"},
      {R"("text":{"verbosity":"silent"})", "text.verbosity", "invalid_value"},
      {R"("text":{"format":{"type":"xml"}})", "text.format.type", "invalid_value"},
      {R"("text":{"format":{"type":"json_schema","name":"n"}})", "text.format.schema",
       "invalid_value"},
      {R"("text":{"format":{"type":"json_schema","schema":5}})", "text.format.schema",
       "invalid_type"},
      {R"("seed":"x")", "seed", "invalid_type"},
      {R"("timeout":1000)", "timeout", "invalid_value"},
      {R"("metadata":"x")", "metadata", "invalid_type"},
      {R"("previous_response_id":"resp_1")", "previous_response_id", "previous_response_not_found"},
      {R"("instructions":["x"])", "instructions", "invalid_type"},
  };
  for (const auto& [members, param, code] : cases) {
    const Error error = error_of(std::string(R"("input":"x",)") + members);
    EXPECT_EQ(error.status, 400) << members;
    EXPECT_EQ(error.param, param) << members << ": " << error.message;
    EXPECT_EQ(error.code, code) << members << ": " << error.message;
  }
  EXPECT_EQ(parse_body(R"({"input":"x"})").error().param, "model");
  EXPECT_EQ(parse_body(R"({"model":"nobody","input":"x"})").error().status, 404);
  EXPECT_EQ(parse_body("[]").error().code, "invalid_json");
}

TEST(ResponsesParameters, UnknownOnesAreNamedInTheHeaderWhenLenient) {
  const auto request = parse_body(R"({"model":"tiny","input":"x","color":"red"})", nullptr,
                                  {.lenient = true, .max_timeout_seconds = 300});
  ASSERT_TRUE(request);
  EXPECT_THAT(request->ignored, ElementsAre("color"));
}

TEST(ResponsesParameters, EveryRowSaysWhatItTakes) {
  for (const auto& row : parameters()) EXPECT_FALSE(row.describe().empty()) << row.name;
}

TEST(ResponsesParameters, TheAnswerRepeatsThem) {
  const auto request = parse_with(R"("temperature":0.5,"metadata":{"a":"b"},"store":false,
      "tools":[{"type":"web_search"}],"reasoning":{"effort":"low"},"top_k":3)");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(json::parse("{" + request->shape.echoed + "}"), json::parse(R"({
      "instructions":null,"previous_response_id":null,"store":false,"max_output_tokens":null,
      "temperature":0.5,"top_p":1.0,"top_logprobs":0,"text":{"format":{"type":"text"}},
      "reasoning":{"effort":"low"},"tools":[{"type":"web_search"}],"tool_choice":"auto",
      "parallel_tool_calls":true,"max_tool_calls":null,"metadata":{"a":"b"},"user":null,
      "safety_identifier":null,"prompt_cache_key":null})"));
}

TEST(ResponsesConversation, GoesOnFromTheStore) {
  auto store = std::make_shared<ResponseStore>();
  const auto item = [](std::string id, std::string text) {
    return std::make_shared<ResponseStore::Item>(
        ResponseStore::Item{std::move(id), std::move(text)});
  };
  store->put(7, "resp_1", "{}",
             {item("", R"({"type":"message","role":"user","content":"q"})"),
              item("rs_1", R"({"type":"reasoning","id":"rs_1","summary":[
                  {"type":"summary_text","text":"t"}]})"),
              item("msg_1", R"({"type":"message","id":"msg_1","role":"assistant","content":[
                  {"type":"output_text","text":"a","annotations":[]}]})")},
             2);
  const auto next = parse_body(
      R"({"model":"tiny","previous_response_id":"resp_1","input":"more","instructions":"i"})",
      store);
  EXPECT_EQ(json::parse(prompt_in(next, "next").messages_json), json::parse(R"([
      {"role":"system","content":"i"},{"role":"user","content":"q"},
      {"role":"assistant","content":"a","reasoning_content":"t"},
      {"role":"user","content":"more"}])"));
  EXPECT_EQ(next->shape.conversation.size(), 4u);
  const auto unstored = parse_body(
      R"({"model":"tiny","previous_response_id":"resp_1","input":"more","store":false})", store);
  EXPECT_EQ(unstored->shape.store, nullptr);

  const auto by_reference = parse_body(
      R"({"model":"tiny","input":[{"type":"item_reference","id":"msg_1"},{"id":"rs_1"}]})", store);
  EXPECT_EQ(json::parse(prompt_in(by_reference, "reference").messages_json), json::parse(R"([
      {"role":"assistant","content":"a","reasoning_content":"t"}])"));
}

}  // namespace
}  // namespace mlxd::api::responses
