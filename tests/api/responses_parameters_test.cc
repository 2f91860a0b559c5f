// /v1/responses: parameters, and what goes on from an earlier answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/responses/parameters.h"
#include "api/responses/readers.h"
#include "api/responses_requests.h"

namespace mlxd::api::responses {
namespace {

using ::testing::ElementsAre;

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
