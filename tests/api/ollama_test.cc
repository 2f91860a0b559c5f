// Ollama's API on a scripted model: what is asked of the model, and the objects of its answers.
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/handlers.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr auto kChat = "/api/chat";
constexpr auto kGenerate = "/api/generate";

std::string chat_body(const std::string& more = "") {
  return R"({"model":"tiny","messages":[{"role":"user","content":"x"}])" + more + "}";
}
std::string generate_body(const std::string& more = "") {
  return R"({"model":"tiny","prompt":"x")" + more + "}";
}

TextDelta in_channel(AnswerChannel channel, std::string text, int call = -1) {
  TextDelta delta = piece(std::move(text));
  delta.channel = channel;
  delta.call = call;
  return delta;
}

std::vector<json::value> lines_of(const std::string& stream) {
  std::vector<json::value> lines;
  std::size_t begin = 0;
  while (begin < stream.size()) {
    const auto end = stream.find('\n', begin);
    EXPECT_NE(end, std::string::npos) << "a line without an end";
    if (end == std::string::npos) break;
    lines.push_back(json::parse(stream.substr(begin, end - begin)));
    begin = end + 1;
  }
  return lines;
}

class Ollama : public Handlers {
 protected:
  std::vector<GenerationEvent> hello() {
    return {piece("Hel"), piece("lo"), sample_end(), generation_end(5, 7)};
  }
  // The request that the model got of a body that is accepted.
  GenerateRequest accepted(const std::string& path, const std::string& body) {
    model_->play(hello());
    const auto exchange = post(path, body);
    EXPECT_TRUE(exchange->streaming_ || exchange->response_.status == 200)
        << body << exchange->response_.body;
    const auto run = model_->run(runs_taken_++);
    EXPECT_NE(run, nullptr) << body;
    return run ? run->request : GenerateRequest{};
  }
  std::string messages(const std::string& messages, const std::string& more = "") {
    const auto request = accepted(kChat, R"({"model":"tiny","messages":)" + messages + more + "}");
    return std::get<ChatPrompt>(request.prompt).messages_json;
  }
  std::string refusal(const std::string& path, const std::string& body, int status = 400) {
    const auto exchange = post(path, body);
    EXPECT_EQ(exchange->response_.status, status) << body;
    const auto error = json::parse(exchange->response_.body);
    EXPECT_EQ(error.as_object().size(), 1u);
    return std::string(error.at("error").as_string());
  }

  std::size_t runs_taken_ = 0;
};

TEST_F(Ollama, ChatStreamsLinesByDefault) {
  model_->play(hello());
  const auto exchange = post(kChat, chat_body());
  EXPECT_EQ(exchange->stream_type_, "application/x-ndjson");
  EXPECT_FALSE(header_of(exchange->stream_headers_, "x-seed").empty());
  const auto lines = lines_of(exchange->streamed());
  ASSERT_EQ(lines.size(), 3u);
  std::string text;
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(lines[i].at("model"), "tiny");
    EXPECT_EQ(lines[i].at("created_at").as_string().size(), 27u);
    EXPECT_EQ(lines[i].at("message").at("role"), "assistant");
    EXPECT_EQ(lines[i].at("done"), false);
    EXPECT_FALSE(lines[i].as_object().contains("done_reason"));
    text += lines[i].at("message").at("content").as_string();
  }
  EXPECT_EQ(text, "Hello");
  const auto& last = lines[2];
  EXPECT_EQ(last.at("message"), json::parse(R"({"role":"assistant","content":""})"));
  EXPECT_EQ(last.at("done"), true);
  EXPECT_EQ(last.at("done_reason"), "stop");
  EXPECT_EQ(last.at("prompt_eval_count"), 5);
  EXPECT_EQ(last.at("eval_count"), 7);
  const auto seconds = [&](const char* name) { return last.at(name).as_int64(); };
  EXPECT_GT(seconds("total_duration"), 0);
  EXPECT_GE(seconds("load_duration"), 0);
  EXPECT_GE(seconds("prompt_eval_duration"), 0);
  EXPECT_GE(seconds("eval_duration"), 0);
  EXPECT_NEAR(static_cast<double>(seconds("load_duration") + seconds("prompt_eval_duration") +
                                  seconds("eval_duration")),
              static_cast<double>(seconds("total_duration")), 5);
}

TEST_F(Ollama, DurationsArePartsOfTheTimeThatTheAnswerTook) {
  const auto exchange = start("POST", kChat, chat_body());
  const auto run = wait_for_run(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  run->push({piece("Hel")});
  io_.restart();
  io_.run_for(std::chrono::milliseconds(40));
  GenerationEnd end = generation_end(5, 7);
  end.queue_seconds = 0.03;
  run->push({sample_end(), end});
  finish();
  const auto last = lines_of(exchange->streamed()).back();
  const auto ms = [&](const char* name) { return last.at(name).as_int64() / 1000000; };
  EXPECT_GE(ms("load_duration"), 30);
  EXPECT_GE(ms("prompt_eval_duration"), 20);
  EXPECT_GE(ms("load_duration") + ms("prompt_eval_duration"), 59);
  EXPECT_GE(ms("eval_duration"), 39);
  EXPECT_GE(ms("total_duration"), 100);
}

TEST_F(Ollama, AWholeAnswerIsTheStreamsPutTogether) {
  const std::vector<GenerationEvent> script = {
      in_channel(AnswerChannel::reasoning, "Hm"), piece("Hel"), piece("lo"),
      sample_end(0, FinishReason::length), generation_end(5, 7)};
  model_->play(script);
  model_->play(script);
  const auto whole = json::parse(post(kChat, chat_body(R"(,"stream":false)"))->response_.body);
  EXPECT_EQ(whole.at("message"),
            json::parse(R"({"role":"assistant","content":"Hello","thinking":"Hm"})"));
  EXPECT_EQ(whole.at("done"), true);
  EXPECT_EQ(whole.at("done_reason"), "length");
  EXPECT_EQ(whole.at("eval_count"), 7);
  const auto lines = lines_of(post(kChat, chat_body())->streamed());
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].at("message"),
            json::parse(R"({"role":"assistant","content":"","thinking":"Hm"})"));
  EXPECT_EQ(lines[3].at("done_reason"), "length");
}

TEST_F(Ollama, GenerateHasAResponse) {
  model_->play(
      {in_channel(AnswerChannel::reasoning, "Hm"), piece("Hello"), sample_end(), generation_end()});
  model_->play(hello());
  const auto whole =
      json::parse(post(kGenerate, generate_body(R"(,"stream":false)"))->response_.body);
  EXPECT_EQ(whole.at("response"), "Hello");
  EXPECT_EQ(whole.at("thinking"), "Hm");
  EXPECT_FALSE(whole.as_object().contains("message"));
  const auto lines = lines_of(post(kGenerate, generate_body())->streamed());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].at("response"), "Hel");
  EXPECT_EQ(lines[2].at("response"), "");
  EXPECT_EQ(lines[2].at("done_reason"), "stop");
}

TEST_F(Ollama, CallsComeInOnePieceWithObjects) {
  const std::string tools =
      R"(,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":
         {"type":"object","properties":{"a":{"type":"integer"}}}}}])";
  const std::vector<GenerationEvent> script = {
      piece("Well."),
      in_channel(AnswerChannel::tool_name, "f", 0),
      in_channel(AnswerChannel::tool_arguments, "{\"a\":\n", 0),
      in_channel(AnswerChannel::tool_arguments, " 1}", 0),
      in_channel(AnswerChannel::tool_name, "f", 1),
      in_channel(AnswerChannel::tool_arguments, "{}", 1),
      sample_end(),
      generation_end()};
  model_->play(script);
  model_->play(script);
  const auto stream = lines_of(post(kChat, chat_body(tools))->streamed());
  ASSERT_EQ(stream.size(), 4u);
  json::array calls;
  for (const auto* line : {&stream[1], &stream[2]}) {
    EXPECT_EQ(line->at("message").at("content"), "");
    for (const auto& call : line->at("message").at("tool_calls").as_array()) calls.push_back(call);
  }
  EXPECT_EQ(stream[3].at("done_reason"), "stop");
  const auto whole =
      json::parse(post(kChat, chat_body(tools + R"(,"stream":false)"))->response_.body);
  EXPECT_EQ(whole.at("message").at("content"), "Well.");
  for (const auto& list : {calls, whole.at("message").at("tool_calls").as_array()}) {
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[0].at("function"), json::parse(R"({"name":"f","arguments":{"a":1}})"));
    EXPECT_EQ(list[1].at("function"), json::parse(R"({"name":"f","arguments":{}})"));
    EXPECT_NE(list[0].at("id"), list[1].at("id"));
  }
  const auto& chat = std::get<ChatPrompt>(model_->run(0)->request.prompt);
  EXPECT_THAT(chat.tools_json, HasSubstr(R"("name":"f")"));
  EXPECT_TRUE(chat.tools->contains("f"));
}

TEST_F(Ollama, ACallThatBreaksOffIsNone) {
  model_->play({in_channel(AnswerChannel::tool_name, "f", 0),
                in_channel(AnswerChannel::tool_arguments, "{\"a\":", 0),
                sample_end(0, FinishReason::length), generation_end()});
  const auto whole = json::parse(post(kChat, chat_body(R"(,"stream":false)"))->response_.body);
  EXPECT_FALSE(whole.at("message").as_object().contains("tool_calls"));
  EXPECT_EQ(whole.at("done_reason"), "length");
}

TEST_F(Ollama, LogProbabilitiesOfEachPiece) {
  auto first = piece("He", 0, {detail(7, "He", -0.5f)});
  first.details[0].top.push_back({8, "Ho", -1.5f});
  model_->play({first, sample_end(), generation_end()});
  const auto lines =
      lines_of(post(kChat, chat_body(R"(,"logprobs":true,"top_logprobs":1)"))->streamed());
  EXPECT_EQ(lines[0].at("logprobs"),
            json::parse(R"([{"token":"He","logprob":-0.5,"bytes":[72,101],"top_logprobs":
                            [{"token":"Ho","logprob":-1.5,"bytes":[72,111]}]}])"));
  const auto& sampling = model_->run(0)->request.job.sampling;
  EXPECT_TRUE(sampling.logprobs);
  EXPECT_EQ(sampling.top_logprobs, 1);
}

TEST_F(Ollama, WithoutAPromptTheModelIsLoadedAndDoesNothing) {
  struct Case {
    const char *path, *body, *reason;
  };
  for (const Case& each : {
           Case{kChat, R"({"model":"tiny"})", "load"},
           Case{kChat, R"({"model":"tiny","messages":[],"stream":false})", "load"},
           Case{kChat, R"({"model":"tiny","messages":[],"keep_alive":"0s"})", "unload"},
           Case{kGenerate, R"({"model":"tiny"})", "load"},
           Case{kGenerate, R"({"model":"tiny","prompt":"","keep_alive":"10m"})", "load"},
           Case{kGenerate, R"({"model":"tiny","keep_alive":0,"stream":false})", "unload"},
       }) {
    const auto exchange = post(each.path, each.body);
    const auto said =
        json::parse(exchange->streaming_ ? exchange->streamed() : exchange->response_.body);
    EXPECT_EQ(said.at("done"), true);
    EXPECT_EQ(said.at("done_reason"), each.reason) << each.body;
    EXPECT_FALSE(said.as_object().contains("eval_count"));
  }
  EXPECT_EQ(model_->run(0), nullptr);
  EXPECT_THAT(refusal(kChat, R"({"model":"other"})", 404), StartsWith("model 'other' not found"));
}

TEST_F(Ollama, OptionsReachTheSampler) {
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

TEST_F(Ollama, RepeatLastNOfNothingTurnsPenaltiesOff) {
  const auto request = accepted(
      kChat,
      chat_body(R"(,"options":{"repeat_last_n":0,"repeat_penalty":2,"presence_penalty":1})"));
  EXPECT_EQ(request.job.sampling.repetition_penalty, 1);
  EXPECT_EQ(request.job.sampling.presence_penalty, 0);
  accepted(kChat, chat_body(R"(,"options":{"repeat_last_n":64})"));
  EXPECT_THAT(refusal(kChat, chat_body(R"(,"options":{"repeat_last_n":64,"repeat_penalty":1.1})")),
              HasSubstr("'options.repeat_last_n'"));
}

TEST_F(Ollama, SeedsAreToldAndMinusOneIsRandom) {
  const auto seed_of = [&](const std::string& options) {
    model_->play(hello());
    const auto exchange = post(kChat, chat_body(",\"options\":{" + options + "}"));
    return header_of(exchange->stream_headers_, "x-seed");
  };
  EXPECT_EQ(seed_of(R"("seed":-5)"), std::to_string(std::numeric_limits<std::uint64_t>::max() - 4));
  EXPECT_NE(seed_of(R"("seed":-1)"), seed_of(R"("seed":-1)"));
}

TEST_F(Ollama, AContextThatIsTooLargeIsCutAndTold) {
  const auto context_of = [&](const std::string& context) {
    model_->play(hello());
    const auto exchange = post(kChat, chat_body(R"(,"options":{"num_ctx":)" + context + "}"));
    return header_of(exchange->stream_headers_, "x-mlxd-num-ctx");
  };
  EXPECT_EQ(context_of("2048"), "");
  EXPECT_EQ(context_of("2049"), "2048");
}

TEST_F(Ollama, FormatsAreGrammars) {
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
}

TEST_F(Ollama, ThinkingIsForTheTemplate) {
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

TEST_F(Ollama, MessagesComeInOpenAisForm) {
  EXPECT_EQ(messages(R"([{"role":"system","content":"s"},{"role":"user","content":"u","images":[]},
                         {"role":"assistant","content":"a","thinking":"t"},
                         {"role":"user","content":"v"}])"),
            R"([{"role":"system","content":"s"},{"role":"user","content":"u"},)"
            R"({"role":"assistant","content":"a","reasoning_content":"t"},)"
            R"({"role":"user","content":"v"}])");
}

TEST_F(Ollama, ResultsFindTheirCalls) {
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

TEST_F(Ollama, GenerateIsAChatOfOneTurnOrTheTextItself) {
  const auto chat = accepted(kGenerate, generate_body(R"(,"system":"s")"));
  EXPECT_EQ(std::get<ChatPrompt>(chat.prompt).messages_json,
            R"([{"role":"system","content":"s"},{"role":"user","content":"x"}])");
  const auto raw = accepted(kGenerate, generate_body(R"(,"raw":true)"));
  EXPECT_EQ(std::get<TextPrompt>(raw.prompt).text, "x");
  model_->card.chat_template.clear();  // a base model
  EXPECT_EQ(std::get<TextPrompt>(accepted(kGenerate, generate_body()).prompt).text, "x");
  EXPECT_THAT(refusal(kGenerate, generate_body(R"(,"system":"s")")), HasSubstr("'system'"));
}

TEST_F(Ollama, AcceptsWhatAsksForNothing) {
  accepted(kGenerate,
           generate_body(R"(,"suffix":"","template":"","context":[],"images":[],"width":0,
                                       "truncate":false,"shift":false,"think":null,
                                       "keep_alive":-1)"));
}

TEST_F(Ollama, NamesMayHaveATag) {
  model_->play(hello());
  model_->aliases.push_back("with:tag");
  const auto lines =
      lines_of(post(kChat, R"({"model":"tiny:latest","messages":[{"role":"user","content":"x"}]})")
                   ->streamed());
  EXPECT_EQ(lines.at(0).at("model"), "tiny:latest");
  EXPECT_EQ(post("/api/show", R"({"model":"with:tag"})")->response_.status, 200);
  refusal("/api/show", R"({"model":"tiny:other"})", 404);
  refusal("/api/show", R"({"model":"with:latest"})", 404);
}

TEST_F(Ollama, RefusesByName) {
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

TEST_F(Ollama, RefusesMessagesByTheirPlace) {
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

TEST_F(Ollama, LenientServersNameWhatTheyIgnore) {
  options_.lenient = true;
  model_->play(hello());
  const auto exchange = post(kChat, chat_body(R"(,"speed":1,"options":{"warp":2},"stream":false)"));
  EXPECT_EQ(header_of(exchange->response_.headers, "x-mlxd-ignored"), "speed, options.warp");
}

TEST_F(Ollama, ErrorsUnderWayAreALineAndOverloadIs503) {
  const auto exchange = start("POST", kChat, chat_body());
  const auto run = wait_for_run(0);
  run->push({piece("Hel")});
  io_.restart();
  io_.run_for(std::chrono::milliseconds(40));
  GenerationEnd end;
  end.outcome = RequestFinished::Outcome::error;
  end.error.message = "It broke.";
  run->push({end});
  finish();
  EXPECT_EQ(lines_of(exchange->streamed()).back(), json::parse(R"({"error":"It broke."})"));

  Error full;
  full.status = 429;
  full.message = "Too many.";
  full.retry_after_seconds = 1;
  model_->refuse_after(1, full);
  EXPECT_EQ(refusal(kChat, chat_body(), 503), "Too many.");
}

TEST_F(Ollama, ASilentStreamIsStillLinesOfJson) {
  const auto exchange = start("POST", kChat, chat_body());
  const auto run = wait_for_run(0);
  io_.restart();
  io_.run_for(std::chrono::milliseconds(100));
  EXPECT_THAT(exchange->streamed(), StartsWith(" "));
  run->push(hello());
  finish();
  EXPECT_EQ(lines_of(exchange->streamed()).size(), 3u);
}

TEST_F(Ollama, ModelsAreListedAndShown) {
  model_->card.summary.parameters = 1543714304;
  model_->card.summary.fingerprint = "0123456789ab";
  model_->card.summary.formats = {{"Q4_K", 10, 1000}, {"F32", 2, 24}};
  const auto details =
      json::parse(R"({"parent_model":"","format":"gguf","family":"llama","families":["llama"],
                      "parameter_size":"1.5B","quantization_level":"Q4_K"})");
  const auto tags = json::parse(run("GET", "/api/tags")->response_.body).at("models");
  ASSERT_EQ(tags.as_array().size(), 1u);
  EXPECT_EQ(tags.at(0), json::value({{"name", "org/tiny"},
                                     {"model", "org/tiny"},
                                     {"size", 1024},
                                     {"digest", "0123456789ab"},
                                     {"details", details},
                                     {"modified_at", "2023-11-14T22:13:20Z"}}));
  const auto running = json::parse(run("GET", "/api/ps")->response_.body).at("models").at(0);
  EXPECT_EQ(running.at("name"), "org/tiny");
  EXPECT_EQ(running.at("context_length"), 2048);
  const auto shown = json::parse(post("/api/show", R"({"name":"tiny"})")->response_.body);
  EXPECT_EQ(shown.at("details"), details);
  EXPECT_EQ(shown.at("template"), "{{ messages }}");
  EXPECT_EQ(shown.at("capabilities"), json::parse(R"(["completion","tools"])"));
  EXPECT_EQ(shown.at("model_info").at("general.architecture"), "llama");
  EXPECT_EQ(shown.at("model_info").at("llama.context_length"), 2048);
  model_->card.reasons = true;
  model_->card.chat_template.clear();
  EXPECT_EQ(json::parse(post("/api/show", R"({"model":"tiny","verbose":false})")->response_.body)
                .at("capabilities"),
            json::parse(R"(["completion","thinking"])"));
  const auto version = json::parse(run("GET", "/api/version")->response_.body);
  EXPECT_EQ(version.at("mlxd"), "1.2.3");
  EXPECT_FALSE(version.at("version").as_string().empty());
}

TEST_F(Ollama, ShowRefusesByName) {
  EXPECT_EQ(refusal("/api/show", "{}"), "model is required");
  EXPECT_THAT(refusal("/api/show", R"({"model":5})"), HasSubstr("'model'"));
  EXPECT_THAT(refusal("/api/show", R"({"model":"tiny","verbose":true})"), HasSubstr("'verbose'"));
  EXPECT_THAT(refusal("/api/show", R"({"model":"tiny","speed":1})"), HasSubstr("'speed'"));
  EXPECT_THAT(refusal("/api/show", R"({"model":"other"})", 404),
              StartsWith("model 'other' not found"));
}

TEST_F(Ollama, HttpsOwnRefusalsHaveItsShapeOnAllOfItsPaths) {
  Error error;
  error.status = 404;
  error.message = "Not here.";
  const auto of_http = api().http_error_body();
  for (const char* path : {kChat, kGenerate, "/api/tags", "/api/show", "/api/pull"}) {
    EXPECT_EQ(of_http(path, error), R"({"error":"Not here."})");
  }
  EXPECT_THAT(of_http("/v1/models", error), HasSubstr(R"("message":"Not here.")"));
}

}  // namespace
}  // namespace mlxd::api
