// What is asked of the model by a request in Ollama's words, and what is refused.
#include <limits>
#include <string>
#include <variant>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/ollama_handlers.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using OllamaRequests = OllamaHandlers;

TEST_F(OllamaRequests, OptionsReachTheSampler) {
  const auto defaults = accepted(kChat, chat_body());
  EXPECT_FLOAT_EQ(defaults.job.sampling.temperature, 0.8f);
  EXPECT_EQ(defaults.job.sampling.top_k, 40);
  EXPECT_FLOAT_EQ(defaults.job.sampling.top_p, 0.9f);
  EXPECT_EQ(defaults.job.max_tokens, kAsManyAsFit);
  EXPECT_TRUE(defaults.text.cut_to_fit);

  const auto request =
      accepted(kGenerate,
               generate_body(R"(,"options":{"num_predict":9,"temperature":0,"top_k":-1,"top_p":0.5,
        "min_p":0.25,"seed":42,"stop":["a","b"],"repeat_penalty":1.5,"presence_penalty":1,
        "frequency_penalty":-1,"repeat_last_n":-1,"num_ctx":4096,"num_keep":4,"num_gpu":1,
        "mirostat":0,"mirostat_tau":5,"typical_p":1.0,"tfs_z":1,"penalize_newline":true,
        "use_mmap":true,"numa":false,"num_thread":8})"));
  const auto& sampling = request.job.sampling;
  EXPECT_EQ(request.job.max_tokens, 9);
  EXPECT_EQ(sampling.temperature, 0);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.top_p, 0.5f);
  EXPECT_EQ(sampling.min_p, 0.25f);
  EXPECT_EQ(sampling.seed, 42u);
  EXPECT_EQ(sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(sampling.presence_penalty, 1);
  EXPECT_EQ(sampling.frequency_penalty, -1);
  EXPECT_THAT(request.text.stop, ElementsAre("a", "b"));
  EXPECT_EQ(accepted(kChat, chat_body(R"(,"options":{"num_predict":-2})")).job.max_tokens,
            kAsManyAsFit);
}

TEST_F(OllamaRequests, RepeatLastNOfNothingTurnsPenaltiesOff) {
  const auto request = accepted(
      kChat,
      chat_body(R"(,"options":{"repeat_last_n":0,"repeat_penalty":2,"presence_penalty":1})"));
  EXPECT_EQ(request.job.sampling.repetition_penalty, 1);
  EXPECT_EQ(request.job.sampling.presence_penalty, 0);
  accepted(kChat, chat_body(R"(,"options":{"repeat_last_n":64})"));
  EXPECT_THAT(refusal(kChat, chat_body(R"(,"options":{"repeat_last_n":64,"repeat_penalty":1.1})")),
              HasSubstr("'options.repeat_last_n'"));
}

TEST_F(OllamaRequests, SeedsAreToldAndMinusOneIsRandom) {
  const auto seed_of = [&](const std::string& options) {
    model_->play(hello());
    const auto exchange = post(kChat, chat_body(",\"options\":{" + options + "}"));
    return header_of(exchange->stream_headers_, "x-seed");
  };
  EXPECT_EQ(seed_of(R"("seed":-5)"), std::to_string(std::numeric_limits<std::uint64_t>::max() - 4));
  EXPECT_NE(seed_of(R"("seed":-1)"), seed_of(R"("seed":-1)"));
}

TEST_F(OllamaRequests, AContextThatIsTooLargeIsCutAndTold) {
  const auto context_of = [&](const std::string& context) {
    model_->play(hello());
    const auto exchange = post(kChat, chat_body(R"(,"options":{"num_ctx":)" + context + "}"));
    return header_of(exchange->stream_headers_, "x-mlxd-num-ctx");
  };
  EXPECT_EQ(context_of("2048"), "");
  EXPECT_EQ(context_of("2049"), "2048");
}

TEST_F(OllamaRequests, FormatsAreGrammars) {
  EXPECT_FALSE(accepted(kChat, chat_body(R"(,"format":"")")).text.grammar);
  const auto object = accepted(kChat, chat_body(R"(,"format":"json")")).text.grammar;
  ASSERT_TRUE(object);
  EXPECT_EQ(object->source.kind, GrammarSource::Kind::json_object);
  const auto schema =
      accepted(kGenerate, generate_body(R"(,"format":{"type":"integer"})")).text.grammar;
  ASSERT_TRUE(schema);
  EXPECT_EQ(schema->source.kind, GrammarSource::Kind::json_schema);
  EXPECT_EQ(schema->source.text, R"({"type":"integer"})");
  EXPECT_EQ(schema->param, "format");
  EXPECT_TRUE(accepted(kChat, chat_body(R"(,"format":"json","tools":[{"function":{"name":"f"}}])"))
                  .text.grammar);
}

TEST_F(OllamaRequests, ThinkingIsForTheTemplate) {
  model_->card.reasons = true;
  const auto arguments = [&](const std::string& more) {
    return std::get<ChatPrompt>(accepted(kChat, chat_body(more)).prompt).template_arguments_json;
  };
  EXPECT_EQ(arguments(""), "");
  EXPECT_EQ(arguments(R"(,"think":false)"), R"({"enable_thinking":false,"thinking":false})");
  EXPECT_EQ(arguments(R"(,"think":true)"), R"({"enable_thinking":true,"thinking":true})");
  EXPECT_EQ(json::parse(arguments(R"(,"think":"high")")),
            json::parse(R"({"reasoning_effort":"high","enable_thinking":true,"thinking":true})"));
  model_->card.reasons = false;
  EXPECT_THAT(refusal(kChat, chat_body(R"(,"think":true)")),
              HasSubstr("\"tiny\" does not support thinking"));
  accepted(kChat, chat_body(R"(,"think":false)"));
}

TEST_F(OllamaRequests, MessagesComeInOpenAisForm) {
  EXPECT_EQ(messages(R"([{"role":"system","content":"s"},{"role":"user","content":"u","images":[]},
                         {"role":"assistant","content":"a","thinking":"t"},
                         {"role":"user","content":"v"}])"),
            R"([{"role":"system","content":"s"},{"role":"user","content":"u"},)"
            R"({"role":"assistant","content":"a","reasoning_content":"t"},)"
            R"({"role":"user","content":"v"}])");
}

TEST_F(OllamaRequests, ResultsFindTheirCalls) {
  const auto said = json::parse(messages(R"([
      {"role":"user","content":"u"},
      {"role":"assistant","content":"","tool_calls":[
        {"function":{"name":"f","arguments":{"a":1}}},
        {"id":"given","function":{"index":1,"name":"g","arguments":{}}},
        {"function":{"name":"f"}}]},
      {"role":"tool","content":"of g","tool_name":"g"},
      {"role":"tool","content":"of f","tool_name":"f"},
      {"role":"tool","content":"of f again"},
      {"role":"tool","content":"of nobody","tool_name":"h"}])"));
  const auto& calls = said.at(1).at("tool_calls").as_array();
  EXPECT_TRUE(said.at(1).at("content").is_null());
  EXPECT_EQ(calls[0].at("function"), json::parse(R"({"name":"f","arguments":{"a":1}})"));
  EXPECT_EQ(calls[0].at("id").as_string().size(), 9u);
  EXPECT_EQ(calls[1].at("id"), "given");
  EXPECT_EQ(said.at(2).at("tool_call_id"), "given");
  EXPECT_EQ(said.at(2).at("name"), "g");
  EXPECT_EQ(said.at(3).at("tool_call_id"), calls[0].at("id"));
  EXPECT_EQ(said.at(4).at("tool_call_id"), calls[2].at("id"));
  EXPECT_EQ(said.at(4).at("name"), "f");
  EXPECT_EQ(said.at(5).at("name"), "h");
  const auto by_id = json::parse(messages(R"([
      {"role":"assistant","tool_calls":[{"id":"one","function":{"name":"f"}},
                                        {"id":"two","function":{"name":"f"}}]},
      {"role":"tool","content":"2","tool_call_id":"two"},{"role":"tool","content":"1"}])"));
  EXPECT_EQ(by_id.at(1).at("tool_call_id"), "two");
  EXPECT_EQ(by_id.at(2).at("tool_call_id"), "one");
}

TEST_F(OllamaRequests, GenerateIsAChatOfOneTurnOrTheTextItself) {
  const auto chat = accepted(kGenerate, generate_body(R"(,"system":"s")"));
  EXPECT_EQ(std::get<ChatPrompt>(chat.prompt).messages_json,
            R"([{"role":"system","content":"s"},{"role":"user","content":"x"}])");
  const auto raw = accepted(kGenerate, generate_body(R"(,"raw":true)"));
  EXPECT_EQ(std::get<TextPrompt>(raw.prompt).text, "x");
  model_->card.chat_template.clear();  // a base model
  EXPECT_EQ(std::get<TextPrompt>(accepted(kGenerate, generate_body()).prompt).text, "x");
  EXPECT_THAT(refusal(kGenerate, generate_body(R"(,"system":"s")")), HasSubstr("'system'"));
}

TEST_F(OllamaRequests, AcceptsWhatAsksForNothing) {
  accepted(kGenerate,
           generate_body(R"(,"suffix":"","template":"","context":[],"images":[],"width":0,
                                       "truncate":false,"shift":false,"think":null,
                                       "keep_alive":-1)"));
  const auto request =
      accepted(kChat, chat_body(R"(,"options":{"num_keep":1,"num_batch":1,"num_gpu":1,"main_gpu":0,
        "num_thread":1,"draft_num_predict":4,"numa":true,"low_vram":true,"f16_kv":true,
        "use_mmap":null,"use_mlock":true,"logits_all":false,"vocab_only":false,
        "embedding_only":false,"mirostat_tau":1,"mirostat_eta":0.1},"tools":[],"format":null)"));
  EXPECT_EQ(std::get<ChatPrompt>(request.prompt).tools_json, "");
  EXPECT_FALSE(request.text.grammar);
}

TEST_F(OllamaRequests, RefusesByName) {
  struct Case {
    const char *path, *more, *named;
  };
  for (const Case& each : {
           Case{kChat, R"("options":{"speed":1})", "'options.speed'"},
           Case{kChat, R"("options":[])", "'options'"},
           Case{kChat, R"("options":{"mirostat":1})", "'options.mirostat'"},
           Case{kChat, R"("options":{"typical_p":0.5})", "'options.typical_p'"},
           Case{kChat, R"("options":{"tfs_z":0.5})", "'options.tfs_z'"},
           Case{kChat, R"("options":{"penalize_newline":false})", "'options.penalize_newline'"},
           Case{kChat, R"("options":{"embedding_only":true})", "'options.embedding_only'"},
           Case{kChat, R"("options":{"temperature":-1})", "'options.temperature'"},
           Case{kChat, R"("options":{"temperature":"hot"})", "'options.temperature'"},
           Case{kChat, R"("options":{"top_p":0})", "'options.top_p'"},
           Case{kChat, R"("options":{"min_p":2})", "'options.min_p'"},
           Case{kChat, R"("options":{"top_k":1.5})", "'options.top_k'"},
           Case{kChat, R"("options":{"seed":"x"})", "'options.seed'"},
           Case{kChat, R"("options":{"num_predict":"x"})", "'options.num_predict'"},
           Case{kChat, R"("options":{"num_ctx":0})", "'options.num_ctx'"},
           Case{kChat, R"("options":{"num_gpu":"all"})", "'options.num_gpu'"},
           Case{kChat, R"("options":{"stop":[""]})", "'options.stop'"},
           Case{kChat, R"("options":{"repeat_penalty":0})", "'options.repeat_penalty'"},
           Case{kChat, R"("format":"xml")", "'format'"},
           Case{kChat, R"("format":5)", "'format'"},
           Case{kChat, R"("think":"some")", "'think'"},
           Case{kChat, R"("think":1)", "'think'"},
           Case{kChat, R"("keep_alive":"soon")", "'keep_alive'"},
           Case{kChat, R"("keep_alive":"5")", "'keep_alive'"},
           Case{kChat, R"("keep_alive":true)", "'keep_alive'"},
           Case{kChat, R"("stream":"yes")", "'stream'"},
           Case{kChat, R"("top_logprobs":21)", "'top_logprobs'"},
           Case{kChat, R"("top_logprobs":2)", "'logprobs'"},
           Case{kChat, R"("truncate":true)", "'truncate'"},
           Case{kChat, R"("shift":true)", "'shift'"},
           Case{kChat, R"("_debug_render_only":true)", "'_debug_render_only'"},
           Case{kChat, R"("prompt":"x")", "'prompt'"},
           Case{kChat, R"("tools":{})", "'tools'"},
           Case{kChat, R"("tools":[{"type":"web_search"}])", "'tools[0].type'"},
           Case{kChat, R"("tools":[{"type":"function"}])", "'tools[0].function'"},
           Case{kChat, R"("tools":[{"function":{"name":"a b"}}])", "'tools[0].function.name'"},
           Case{kChat, R"("tools":[{"function":{"name":"f","parameters":[]}}])",
                "'tools[0].function.parameters'"},
           Case{kChat, R"("tools":[{"function":{"name":"f","speed":1}}])",
                "'tools[0].function.speed'"},
           Case{kGenerate, R"("suffix":"x")", "'suffix'"},
           Case{kGenerate, R"("template":"x")", "'template'"},
           Case{kGenerate, R"("context":[1])", "'context'"},
           Case{kGenerate, R"("images":["aaaa"])", "'images'"},
           Case{kGenerate, R"("width":512)", "'width'"},
           Case{kGenerate, R"("raw":true,"system":"s")", "raw mode"},
           Case{kGenerate, R"("tools":[])", "'tools'"},
           Case{kGenerate, R"("messages":[])", "'messages'"},
       }) {
    const auto body = each.path == kChat ? chat_body(std::string(",") + each.more)
                                         : generate_body(std::string(",") + each.more);
    EXPECT_THAT(refusal(each.path, body), HasSubstr(each.named)) << each.more;
  }
  EXPECT_EQ(refusal(kChat, R"({"messages":[]})"), "model is required");
  EXPECT_THAT(refusal(kChat, "[]"), HasSubstr("JSON object"));
  EXPECT_EQ(model_->run(0), nullptr);
}

TEST_F(OllamaRequests, RefusesMessagesByTheirPlace) {
  struct Case {
    const char *message, *named;
  };
  for (const Case& each : {
           Case{R"("x")", "'messages[0]'"},
           Case{R"({"content":"x"})", "'messages[0].role'"},
           Case{R"({"role":"owner","content":"x"})", "'messages[0].role'"},
           Case{R"({"role":"user","content":5})", "'messages[0].content'"},
           Case{R"({"role":"user","content":"x","images":["aaaa"]})", "'messages[0].images'"},
           Case{R"({"role":"user","content":"x","thinking":"x"})", "'messages[0].thinking'"},
           Case{R"({"role":"user","content":"x","tool_name":"x"})", "'messages[0].tool_name'"},
           Case{R"({"role":"assistant","tool_calls":{}})", "'messages[0].tool_calls'"},
           Case{R"({"role":"assistant","tool_calls":[{}]})",
                "'messages[0].tool_calls[0].function'"},
           Case{R"({"role":"assistant","tool_calls":[{"function":{}}]})",
                "'messages[0].tool_calls[0].function.name'"},
           Case{R"({"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]})",
                "'messages[0].tool_calls[0].function.arguments'"},
       }) {
    EXPECT_THAT(
        refusal(kChat, std::string(R"({"model":"tiny","messages":[)") + each.message + "]}"),
        HasSubstr(each.named))
        << each.message;
  }
}

TEST_F(OllamaRequests, LenientServersNameWhatTheyIgnore) {
  options_.lenient = true;
  model_->play(hello());
  const auto exchange = post(kChat, chat_body(R"(,"speed":1,"options":{"warp":2},"stream":false)"));
  EXPECT_EQ(header_of(exchange->response_.headers, "x-mlxd-ignored"), "speed, options.warp");
}

}  // namespace
}  // namespace mlxd::api
