// /v1/responses: items become messages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/responses/readers.h"
#include "api/responses_requests.h"

namespace mlxd::api::responses {
namespace {

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

}  // namespace
}  // namespace mlxd::api::responses
