#include "api/openai/parameters.h"

#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/fakes.h"
#include "api/generation/model_directory.h"
#include "api/openai/parse_request.h"

namespace mlxd::api {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kChat =
    R"("model":"org/tiny","messages":[{"role":"user","content":"x"}])";
constexpr std::string_view kCompletion = R"("model":"org/tiny","prompt":"x")";

ModelDirectory directory() {
  std::vector<std::shared_ptr<TextModel>> models;
  models.push_back(std::make_shared<FakeModel>());
  return ModelDirectory(std::move(models));
}

Result<OpenAiRequest> parse_body(Endpoint endpoint, std::string_view body, bool lenient = false) {
  static const ModelDirectory models = directory();
  ParseOptions options;
  options.endpoint = endpoint;
  options.lenient = lenient;
  return parse_request(body, options, models);
}

// A minimal body of that endpoint with `members` (JSON, without braces) added.
Result<OpenAiRequest> parse(Endpoint endpoint, std::string_view members, bool lenient = false) {
  const std::string body =
      fmt::format("{{{}{}{}}}", endpoint == Endpoint::chat ? kChat : kCompletion,
                  members.empty() ? "" : ",", members);
  return parse_body(endpoint, body, lenient);
}
Result<OpenAiRequest> chat(std::string_view members) { return parse(Endpoint::chat, members); }
Result<OpenAiRequest> completion(std::string_view members) {
  return parse(Endpoint::completions, members);
}

struct Values {
  const char* name;
  std::vector<std::string> bad;
  std::vector<std::string> good;
};

const std::vector<std::string> kNotText = {"1", "true", "[]", "{}"};
const std::vector<std::string> kNotFlag = {"1", "0", "\"true\"", "[]", "{}"};

const std::vector<Values> kBoth = {
    {"temperature",
     {"-0.1", "2.1", "\"1\"", "true", "[]", "{}", "1e999"},
     {"0", "2", "0.7", "null"}},
    {"top_p", {"0", "-1", "1.1", "\"1\"", "1e-300"}, {"1", "0.01"}},
    {"top_k", {"-2", "0.5", "\"1\"", "3000000000", "1e30", "true"}, {"-1", "0", "50", "40.0"}},
    {"min_p", {"-0.1", "1.1", "\"\""}, {"0", "1"}},
    {"seed",
     {"1.5", "\"1\"", "18446744073709551616", "-9223372036854775809", "true"},
     {"0", "-1", "18446744073709551615", "-9223372036854775808"}},
    {"stop",
     {"\"\"", "[\"\"]", "[1]", "5", "{}", "[\"a\",\"\"]",
      R"(["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"])"},
     {"\"a\"", "[\"a\",\"b\"]", "[]", "\"\\n\""}},
    {"presence_penalty", {"-2.1", "2.1", "\"\""}, {"-2", "2"}},
    {"frequency_penalty", {"-2.1", "2.1", "\"\""}, {"-2", "2"}},
    {"repetition_penalty", {"0", "-1", "\"\"", "1e300"}, {"0.5", "2"}},
    {"logit_bias",
     {"[]", "1", R"({"a":1})", R"({"":1})", R"({"-1":1})", R"({"100":1})", R"({"1.0":1})",
      R"({"07":1})", R"({"99999999999":1})", R"({"5":101})", R"({"5":-100.1})", R"({"5":"1"})",
      R"({"5":null})"},
     {"{}", R"({"0":-100,"99":100})"}},
    {"return_tokens_as_token_ids", kNotFlag, {"true", "false"}},
    {"n", {"0", "9", "1.5", "\"1\"", "-1"}, {"1", "8"}},
    {"best_of", {"0", "9", "true"}, {"1", "8"}},
    {"stream", kNotFlag, {"true", "false"}},
    {"stream_options",
     {"true", "[]", R"({"include_usage":1})", R"({"continuous_usage_stats":1})",
      R"({"other":true})"},
     {"null"}},
    {"ignore_eos", kNotFlag, {"true", "false"}},
    {"min_tokens", {"-1", "\"1\"", "0.5"}, {"0", "5"}},
    {"max_tokens", {"-1", "\"1\"", "0.5", "1e12", "99999999999"}, {"0", "5"}},
    {"priority", {"-1", "10", "1.5", "\"1\"", "true", "[]"}, {"0", "9", "3.0"}},
    {"timeout", {"0", "-1", "301", "\"1\"", "[]"}, {"0.5", "300"}},
    {"model", {"1", "[]", "{}"}, {}},
    {"user", kNotText, {"\"me\""}},
    {"metadata", {"1", "[]", "\"\""}, {"{\"a\":\"b\"}"}},
    {"store", kNotFlag, {"true"}},
    {"service_tier", kNotText, {"\"auto\""}},
    {"safety_identifier", kNotText, {"\"x\""}},
    {"prompt_cache_key", kNotText, {"\"x\""}},
    {"prompt_cache_retention", kNotText, {"\"24h\""}},
    {"prompt_cache_options", {"1"}, {"{}"}},
    {"cache_prompt", kNotFlag, {"true", "false"}},
    {"return_progress", kNotFlag, {"true", "false"}},
    {"skip_special_tokens", {"false", "1"}, {"true"}},
    {"spaces_between_special_tokens", {"false"}, {"true"}},
    {"include_stop_str_in_output", {"true"}, {"false"}},
    {"use_beam_search", {"true"}, {"false"}},
    {"typical_p", {"0.5"}, {"1", "1.0"}},
    {"mirostat", {"2"}, {"0"}},
    {"response_format",
     {R"({"type":"xml"})", "1", R"({"type":"text","schema":{}})", R"({"type":"json_schema"})"},
     {R"({"type":"text"})", R"({"type":"json_object"})",
      R"({"type":"json_schema","json_schema":{"name":"x","schema":{}}})"}},
    {"structured_outputs", {"1", R"({"regex":1})", R"({"yaml":""})"}, {R"({"regex":"a"})", "{}"}},
    {"guided_json", {"1", "[]", "\"\""}, {"{}", "true", "\"{}\""}},
    {"guided_regex", {"1", "\"\""}, {"\"a\""}},
    {"guided_choice", {"[]", "[1]", "\"a\""}, {R"(["a","b"])"}},
    {"guided_grammar", {"{}", "\"\""}, {"\"start: /a/\""}},
    {"json_schema", {"1", "[]"}, {"{}"}},
    {"grammar", {"{}", "\"\""}, {R"("root ::= \"a\"")"}},
    {"no_such_parameter", {"1", "{}"}, {"null"}},
};
const std::vector<Values> kChatAlone = {
    {"max_completion_tokens", {"-1", "\"1\""}, {"0", "9"}},
    {"logprobs", {"1", "\"x\""}, {"true", "false"}},
    {"top_logprobs", {"-1", "21", "1.5", "5"}, {"0"}},  // 5: without logprobs
    {"tools",
     {"[{}]", "{}", R"([{"type":"function"}])", R"([{"type":"function","function":{}}])",
      R"([{"type":"custom","custom":{"name":"f"}}])",
      R"([{"type":"function","function":{"name":"a b"}}])",
      R"([{"type":"function","function":{"name":"f","parameters":1}}])",
      R"([{"type":"function","function":{"name":"f","strict":1}}])",
      R"([{"type":"function","function":{"name":"f","x":1}}])",
      R"([{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}])"},
     {"[]", R"([{"type":"function","function":{"name":"f"}}])",
      R"([{"type":"function","function":{"name":"a.b-c_1","strict":true,"parameters":{}}}])"}},
    {"tool_choice",
     {"{}", "1", "\"maybe\"", "\"required\"", R"({"type":"function","function":{"name":"f"}})",
      R"({"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}})"},
     {"\"none\"", "\"auto\""}},
    {"functions", {"[{}]", "[1]", R"([{"name":"f","x":1}])"}, {"[]", R"([{"name":"f"}])"}},
    {"function_call", {"\"required\"", R"({"name":"f"})", "1"}, {"\"none\"", "\"auto\""}},
    {"parallel_tool_calls", kNotFlag, {"true", "false"}},
    {"documents", {"{}", "[1]"}, {"[]", R"([{"title":"t","text":"x"}])"}},
    {"chat_template_kwargs", {"[]", "1", R"({"messages":[]})"}, {"{}", R"({"a":{"b":[1]}})"}},
    {"enable_thinking", kNotFlag, {"true", "false"}},
    {"add_generation_prompt", kNotFlag, {"true", "false"}},
    {"continue_final_message", kNotFlag, {"true", "false"}},
    {"modalities", {R"(["text","audio"])", "[]"}, {R"(["text"])"}},
    {"audio", {"{}"}, {}},
    {"verbosity", {"1"}, {"\"low\""}},
    {"prediction", {"1"}, {R"({"type":"content","content":"x"})"}},
    {"reasoning_effort", {"\"very\"", "1"}, {"\"none\"", "\"high\""}},
    {"reasoning",
     {"1", R"({"effort":"very"})", R"({"enabled":1})", R"({"max_tokens":-2})", R"({"x":1})",
      R"({"exclude":true})"},
     {"{}", R"({"effort":"low","enabled":true,"max_tokens":100,"exclude":false})"}},
    {"thinking_budget", {"-2", "\"1\"", "1.5", "99999999999"}, {"-1", "0", "100"}},
    {"thinking_token_budget", {"-2", "true"}, {"0", "100"}},
    {"thinking_budget_tokens", {"-2", "[]"}, {"0", "100"}},
    {"reasoning_budget_tokens", {"-2", "{}"}, {"0", "100"}},
    {"web_search_options", {"{}"}, {}},
    {"echo", {"true"}, {}},
    {"suffix", {"\"x\""}, {}},
    {"prompt", {"\"x\""}, {}},
};
const std::vector<Values> kCompletionsAlone = {
    {"logprobs", {"-1", "21", "true", "1.5"}, {"0", "20"}},
    {"echo", kNotFlag, {"true", "false"}},
    {"suffix", {"\"x\""}, {"\"\""}},
    {"max_completion_tokens", {"5"}, {}},
    {"top_logprobs", {"5"}, {}},
    {"messages", {"[]"}, {}},
};

void expect_values(Endpoint endpoint, const std::vector<Values>& rows) {
  for (const auto& row : rows) {
    const std::string key = fmt::format("\"{}\":", row.name);
    const bool in_body = std::string_view(row.name) == "model";
    for (const auto& bad : row.bad) {
      const auto parsed = in_body ? parse_body(endpoint, fmt::format("{{{}{}}}", key, bad))
                                  : parse(endpoint, key + bad);
      ASSERT_FALSE(parsed) << key << bad;
      EXPECT_EQ(parsed.error().status, 400) << key << bad;
      EXPECT_THAT(parsed.error().param, StartsWith(row.name)) << key << bad;
      EXPECT_THAT(parsed.error().message, HasSubstr(row.name)) << key << bad;
      EXPECT_FALSE(parsed.error().code.empty());
    }
    for (const auto& good : row.good) {
      const auto parsed = parse(endpoint, key + good);
      EXPECT_TRUE(parsed) << key << good << ": " << (parsed ? "" : parsed.error().message);
    }
  }
}

TEST(Parameters, ABadValueIsA400ThatNamesTheParameterInChat) {
  expect_values(Endpoint::chat, kBoth);
  expect_values(Endpoint::chat, kChatAlone);
}

TEST(Parameters, ABadValueIsA400ThatNamesTheParameterInCompletions) {
  expect_values(Endpoint::completions, kBoth);
  expect_values(Endpoint::completions, kCompletionsAlone);
}

TEST(Parameters, EveryRowOfTheTableHasItsValuesInThisTest) {
  const auto covered = [](std::string_view name, const std::vector<Values>& rows) {
    return std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return row.name == name; });
  };
  for (const auto& row : parameters()) {
    if (row.name == "messages" || row.name == "prompt") continue;  // tests of their own
    EXPECT_TRUE(covered(row.name, kBoth) || covered(row.name, kChatAlone) ||
                covered(row.name, kCompletionsAlone))
        << row.name;
    EXPECT_FALSE(row.describe().empty()) << row.name;
  }
}

TEST(Parameters, NullCountsAsAbsentForEveryRow) {
  for (const auto endpoint : {Endpoint::chat, Endpoint::completions}) {
    for (const auto& row : parameters()) {
      if (!row.applies_to(endpoint) || row.default_value == "required") continue;
      EXPECT_TRUE(parse(endpoint, fmt::format("\"{}\":null", row.name))) << row.name;
    }
  }
}

TEST(Parameters, WhatIsRequiredIsAskedFor) {
  for (const auto* body : {R"({"messages":[{"role":"user","content":"x"}]})",
                           R"({"model":null,"messages":[{"role":"user","content":"x"}]})"}) {
    const auto parsed = parse_body(Endpoint::chat, body);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().param, "model");
    EXPECT_EQ(parsed.error().code, "missing_required_parameter");
  }
  EXPECT_EQ(parse_body(Endpoint::chat, R"({"model":"tiny"})").error().param, "messages");
  EXPECT_EQ(parse_body(Endpoint::completions, R"({"model":"tiny"})").error().param, "prompt");
}

TEST(Parameters, AnUnknownModelIs404AndAnAliasFinds) {
  const auto parsed = parse_body(Endpoint::completions, R"({"model":"gpt-4","prompt":"x"})");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().status, 404);
  EXPECT_EQ(parsed.error().code, "model_not_found");
  EXPECT_EQ(parsed.error().param, "model");
  EXPECT_THAT(parsed.error().message, HasSubstr("org/tiny"));
  EXPECT_TRUE(parse_body(Endpoint::completions, R"({"model":"tiny","prompt":"x"})"));
}

TEST(Parameters, DefaultsAreTheContracts) {
  const auto parsed = chat("");
  const auto& request = parsed->request.job;
  EXPECT_EQ(request.max_tokens, -1);
  EXPECT_EQ(request.sampling.temperature, 1);
  EXPECT_EQ(request.sampling.top_p, 1);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_EQ(request.sampling.min_p, 0);
  EXPECT_EQ(request.sampling.repetition_penalty, 1);
  EXPECT_FALSE(request.sampling.logprobs);
  EXPECT_EQ(request.samples, 1);
  EXPECT_NEAR(seconds_between(Clock::now(), request.deadline), 300, 60);
  EXPECT_EQ(request.priority, 0);
  EXPECT_FALSE(parsed->request.stream);
  EXPECT_EQ(completion("")->request.job.max_tokens, 16);
  EXPECT_EQ(completion("")->request.job.prompt_logprobs, -1);
}

TEST(Parameters, ValuesReachTheRequest) {
  const auto good = chat(
      R"("temperature":0.5,"top_p":0.25,"top_k":7,"min_p":0.125,"presence_penalty":-1,
         "frequency_penalty":1.5,"repetition_penalty":1.25,"logit_bias":{"3":-5},"logprobs":true,
         "top_logprobs":4,"n":3,"min_tokens":2,"max_completion_tokens":9,"ignore_eos":true,
         "stop":["a","b"],"timeout":12,"priority":7,"stream":true,
         "stream_options":{"include_usage":true})");
  ASSERT_TRUE(good);
  const auto& request = good->request.job;
  EXPECT_EQ(request.sampling.temperature, 0.5F);
  EXPECT_EQ(request.sampling.top_p, 0.25F);
  EXPECT_EQ(request.sampling.top_k, 7);
  EXPECT_EQ(request.sampling.min_p, 0.125F);
  EXPECT_EQ(request.sampling.presence_penalty, -1);
  EXPECT_EQ(request.sampling.frequency_penalty, 1.5F);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.25F);
  ASSERT_EQ(request.sampling.logit_bias.size(), 1U);
  EXPECT_EQ(request.sampling.logit_bias[0].token, 3);
  EXPECT_EQ(request.sampling.logit_bias[0].bias, -5);
  EXPECT_TRUE(request.sampling.logprobs);
  EXPECT_EQ(request.sampling.top_logprobs, 4);
  EXPECT_EQ(request.samples, 3);
  EXPECT_EQ(request.min_tokens, 2);
  EXPECT_EQ(request.max_tokens, 9);
  EXPECT_TRUE(request.ignore_eos);
  EXPECT_EQ(good->request.text.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_NEAR(seconds_between(Clock::now(), request.deadline), 6, 6);
  EXPECT_EQ(request.priority, 7);
  EXPECT_TRUE(good->request.stream);
  EXPECT_TRUE(good->wire.include_usage);
  EXPECT_EQ(good->request.choices, 3);
}

TEST(Parameters, AChatsLengthIsAtMostWhatFitsACompletionsIsExact) {
  const auto asked = chat(R"("max_tokens":32000)");
  EXPECT_EQ(asked->request.job.max_tokens, 32000);
  EXPECT_TRUE(asked->request.text.cut_to_fit);
  EXPECT_FALSE(completion(R"("max_tokens":32000)")->request.text.cut_to_fit);
}

TEST(Parameters, ASeedOf64BitsStaysExactAndComesBackAsItWasSent) {
  const auto largest = chat("\"seed\":18446744073709551615");
  EXPECT_EQ(largest->request.job.sampling.seed, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(largest->seed, "18446744073709551615");
  const auto negative = chat("\"seed\":-9223372036854775808");
  EXPECT_EQ(negative->request.job.sampling.seed, std::uint64_t{1} << 63);
  EXPECT_EQ(negative->seed, "-9223372036854775808");
  const auto odd = chat("\"seed\":9007199254740993");
  EXPECT_EQ(odd->request.job.sampling.seed, 9007199254740993U);
}

TEST(Parameters, AnAbsentSeedIsDrawnAndToldAndExactAsADouble) {
  const auto one = chat("");
  const auto other = chat("");
  EXPECT_NE(one->seed, other->seed);
  EXPECT_EQ(one->seed, std::to_string(one->request.job.sampling.seed));
  EXPECT_LT(one->request.job.sampling.seed, std::uint64_t{1} << 53);
}

TEST(Parameters, PairsThatContradictEachOtherAreRefused) {
  EXPECT_EQ(chat(R"("max_tokens":5,"max_completion_tokens":6)").error().param, "max_tokens");
  EXPECT_TRUE(chat(R"("max_tokens":5,"max_completion_tokens":5)"));
  EXPECT_EQ(chat(R"("max_tokens":5,"min_tokens":6)").error().param, "min_tokens");
  EXPECT_EQ(completion(R"("min_tokens":17)").error().param, "min_tokens");
  EXPECT_EQ(chat(R"("stream_options":{"include_usage":true})").error().param, "stream_options");
  EXPECT_EQ(completion(R"("n":3,"best_of":2)").error().param, "best_of");
  EXPECT_EQ(completion(R"("n":2,"best_of":3,"stream":true)").error().param, "best_of");
  EXPECT_TRUE(completion(R"("n":2,"best_of":2,"stream":true)"));
}

// A stop string is held for as long as the answer takes, by every choice, with tables.
TEST(Parameters, AStopStringHasABoundedLength) {
  const auto stop = [](std::size_t bytes) {
    return chat("\"stop\":[\"a\",\"" + std::string(bytes, 'x') + "\"]");
  };
  EXPECT_TRUE(stop(1024));
  const auto refused = stop(1025);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "stop");
  EXPECT_THAT(refused.error().message, HasSubstr("1024"));
}

TEST(Parameters, BestOfDrawsMoreAndKeepsLogprobsToItself) {
  const auto parsed = completion(R"("n":2,"best_of":5)");
  EXPECT_EQ(parsed->request.job.samples, 5);
  EXPECT_EQ(parsed->request.choices, 2);
  EXPECT_TRUE(parsed->request.job.sampling.logprobs);
  EXPECT_FALSE(parsed->wire.logprobs);
}

TEST(Parameters, EchoWithLogprobsAsksForThePromptsLogprobs) {
  const auto parsed = completion(R"("echo":true,"logprobs":3,"max_tokens":0)");
  EXPECT_EQ(parsed->request.job.prompt_logprobs, 3);
  EXPECT_TRUE(parsed->request.text.echo);
  EXPECT_EQ(parsed->request.job.max_tokens, 0);
  EXPECT_EQ(completion(R"("echo":true)")->request.job.prompt_logprobs, -1);
}

TEST(Parameters, LenientCollectsUnknownKeysAndStillRefusesUnsupportedOnes) {
  const auto parsed = parse(
      Endpoint::chat, R"("zap":1,"echo":true,"stream":true,"stream_options":{"zip":1})", true);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->ignored, (std::vector<std::string>{"zap", "echo", "stream_options.zip"}));
  EXPECT_FALSE(parse(Endpoint::chat, R"("tools":[{}])", true));
}

TEST(Parameters, LenientNeverDropsWhatTheAnswerIsHeldTo) {
  for (const std::string member :
       {R"("stop_token_ids":[5])", R"("bad_words":["x"])", R"("allowed_token_ids":[5])",
        R"("structured_outputs":{"grammar_lazy":true})", R"("ebnf":"root ::= x")"}) {
    const auto parsed = parse(Endpoint::chat, member, true);
    ASSERT_FALSE(parsed) << member;
    EXPECT_EQ(parsed.error().code, "unknown_parameter");
  }
}

TEST(Parameters, AllThatNobodyKnowsIsToldAtOnce) {
  const auto parsed = parse(Endpoint::chat, R"("zap":1,"temperature":1,"echo":true,"zip":2)");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, "unknown_parameter");
  EXPECT_EQ(parsed.error().param, "zap");
  EXPECT_EQ(parsed.error().message,
            "'zap', 'echo', 'zip' are not parameters of this endpoint; leave them out.");
  EXPECT_EQ(parse(Endpoint::chat, R"("zap":1,"temperature":9)").error().param, "temperature")
      << "a wrong value is told by itself";
}

TEST(Parameters, ABudgetOfReasoningIsSentOnce) {
  EXPECT_EQ(chat(R"("thinking_token_budget":5)")->request.text.reasoning->tokens, 5);
  EXPECT_EQ(chat(R"("reasoning":{"max_tokens":7})")->request.text.reasoning->param,
            "reasoning.max_tokens");
  EXPECT_FALSE(chat(R"("thinking_budget":-1)")->request.text.reasoning);
  EXPECT_FALSE(chat(R"("thinking_budget":5,"reasoning_budget_tokens":5)"));
}

TEST(Parameters, APromptIsAStringATokenArrayOrAnArrayOfEither) {
  const auto prompts = [](std::string_view prompt) {
    return parse_body(Endpoint::completions,
                      R"({"model":"tiny","prompt":)" + std::string(prompt) + "}");
  };
  const auto text = [](const Result<OpenAiRequest>& parsed, std::size_t i) {
    return std::get<TextPrompt>(parsed->request.prompts.at(i)).text;
  };
  const auto tokens = [](const Result<OpenAiRequest>& parsed, std::size_t i) {
    return std::get<TokenPrompt>(parsed->request.prompts.at(i)).tokens;
  };
  EXPECT_EQ(text(prompts(R"("abc")"), 0), "abc");
  EXPECT_EQ(tokens(prompts("[1,2,99]"), 0), (std::vector<int>{1, 2, 99}));
  const auto texts = prompts(R"(["a","b"])");
  ASSERT_EQ(texts->request.prompts.size(), 2U);
  EXPECT_EQ(text(texts, 1), "b");
  const auto arrays = prompts("[[1],[2,3]]");
  ASSERT_EQ(arrays->request.prompts.size(), 2U);
  EXPECT_EQ(tokens(arrays, 1), (std::vector<int>{2, 3}));
  std::string many = "[\"a\"";
  for (int i = 0; i < 128; ++i) many += ",\"a\"";
  for (const auto& bad :
       {std::string("1"), std::string("{}"), std::string("[]"), std::string("[[]]"),
        std::string("[-1]"), std::string("[1,\"a\"]"), std::string("[\"a\",1]"),
        std::string("[[1],\"a\"]"), std::string("[100]"), std::string("[1.5]"),
        std::string("[[1,[2]]]"), std::string("true"), many + "]"}) {
    const auto parsed = prompts(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().param, "prompt") << bad;
  }
}

}  // namespace
}  // namespace mlxd::api
