// The shapes of answers, and that a stream put together is the answer that was not streamed.
#include "api/openai/wire.h"

#include <random>

#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include "api/fakes.h"
#include "api/generation/fold.h"
#include "api/stream_fold.h"
#include "base/utf8.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

const ResponseHead kHead{"id-1", 1700000000, "org/tiny", "mlxd-test"};
const Usage kUsage{5, 7, 2, 3};

WireOptions options(Endpoint endpoint, bool logprobs = false) {
  WireOptions wire;
  wire.endpoint = endpoint;
  wire.logprobs = logprobs;
  return wire;
}

TextDelta delta(std::string text, std::vector<TokenDetail> details = {},
                std::vector<int> offsets = {}) {
  TextDelta result;
  result.text = std::move(text);
  result.details = std::move(details);
  result.offsets = std::move(offsets);
  return result;
}

ChoiceText choice(std::string text, std::vector<TokenDetail> details = {},
                  std::vector<int> offsets = {}) {
  TextDelta whole = delta(std::move(text), std::move(details), std::move(offsets));
  whole.finish = FinishReason::stop;
  return {whole};
}

json::value body_of(const WireOptions& wire, const std::vector<ChoiceText>& choices) {
  return json::parse(OpenAiWriter(kHead, wire).whole(choices, kUsage));
}

TokenDetail with_top(TokenDetail token, std::vector<TokenDetail::Alternative> top) {
  token.top = std::move(top);
  return token;
}

TEST(Wire, AChatCompletionHasOpenAisFields) {
  EXPECT_EQ(body_of(options(Endpoint::chat), {choice("Hi")}), json::parse(R"({
    "id":"id-1","object":"chat.completion","created":1700000000,"model":"org/tiny",
    "system_fingerprint":"mlxd-test",
    "choices":[{"index":0,"message":{"role":"assistant","content":"Hi","refusal":null},
                "logprobs":null,"finish_reason":"stop"}],
    "usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,
             "prompt_tokens_details":{"cached_tokens":2},
             "completion_tokens_details":{"reasoning_tokens":3}}})"));
}

TEST(Wire, ATextCompletionHasOpenAisFields) {
  EXPECT_EQ(body_of(options(Endpoint::completions), {choice("Hi"), choice("Ho")}).at("choices"),
            json::parse(R"([{"index":0,"text":"Hi","logprobs":null,"finish_reason":"stop"},
                            {"index":1,"text":"Ho","logprobs":null,"finish_reason":"stop"}])"));
}

TEST(Wire, ChatLogprobsCarryTheBytesOfPartsOfCharacters) {
  const auto body = body_of(
      options(Endpoint::chat, true),
      {choice("€", {with_top(detail(1, "\xe2\x82", -0.5), {{1, "\xe2\x82", -0.5F}, {2, "a", -1}}),
                    detail(3, "\xac", 0)})});
  EXPECT_EQ(body.at("choices").at(0).at("logprobs"), json::parse(R"({"content":[
    {"token":"\ufffd","logprob":-0.5,"bytes":[226,130],"top_logprobs":[
      {"token":"\ufffd","logprob":-0.5,"bytes":[226,130]},
      {"token":"a","logprob":-1.0,"bytes":[97]}]},
    {"token":"\ufffd","logprob":0.0,"bytes":[172],"top_logprobs":[]}],"refusal":null})"));
}

TEST(Wire, CompletionLogprobsHaveFourListsOfOneLength) {
  auto first = detail(9, "é", 0);
  first.has_logprob = false;
  const auto body =
      body_of(options(Endpoint::completions, true),
              {choice("éab",
                      {first, with_top(detail(5, "a", -2), {{6, "x", -1}, {7, "y", -3}}),
                       detail(8, "b", -0.25)},
                      {0, 1, 2})});
  EXPECT_EQ(body.at("choices").at(0).at("logprobs"), json::parse(R"({
    "tokens":["é","a","b"],"token_logprobs":[null,-2.0,-0.25],
    "top_logprobs":[null,{"x":-1.0,"y":-3.0,"a":-2.0},{"b":-0.25}],
    "text_offset":[0,1,2]})"));
}

TEST(Wire, TokensThatPrintAlikeKeepTheLikelierOnesLogprob) {
  const auto body =
      body_of(options(Endpoint::completions, true),
              {choice("", {with_top(detail(2, "\x82", -2), {{1, "\x81", -1}, {2, "\x82", -2}})})});
  EXPECT_EQ(body.at("choices").at(0).at("logprobs").at("top_logprobs"),
            json::parse("[{\"\\ufffd\":-1.0}]"));
}

TEST(Wire, TokensAsIdsReplaceTheirTextEverywhere) {
  auto wire = options(Endpoint::completions, true);
  wire.token_ids = true;
  const std::vector<ChoiceText> choices = {
      choice("a", {with_top(detail(5, "a", -1), {{6, "b", -2}})})};
  const auto logprobs = body_of(wire, choices).at("choices").at(0).at("logprobs");
  EXPECT_EQ(logprobs.at("tokens"), json::parse(R"(["token_id:5"])"));
  EXPECT_EQ(logprobs.at("top_logprobs"), json::parse(R"([{"token_id:6":-2.0,"token_id:5":-1.0}])"));
  wire.endpoint = Endpoint::chat;
  const auto content = body_of(wire, choices).at("choices").at(0).at("logprobs").at("content");
  EXPECT_EQ(content.at(0).at("token").as_string(), "token_id:5");
  EXPECT_EQ(content.at(0).at("bytes"), json::parse("[97]"));
}

TextDelta in_channel(AnswerChannel channel, std::string text, int call = -1) {
  TextDelta result = delta(std::move(text));
  result.channel = channel;
  result.call = call;
  return result;
}

// Two calls after some reasoning, in pieces as they come.
std::vector<TextDelta> calling() {
  using enum AnswerChannel;
  return {in_channel(reasoning, "h"),          in_channel(reasoning, "m"),
          in_channel(tool_name, "f", 0),       in_channel(tool_arguments, R"({"a":)", 0),
          in_channel(tool_arguments, "1}", 0), in_channel(tool_name, "g", 1),
          in_channel(tool_arguments, "{}", 1), sample_end()};
}

ChoiceText joined(std::vector<TextDelta> deltas) {
  ChoiceText choice;
  for (TextDelta& one : deltas) append(choice, std::move(one));
  return choice;
}

// The ids, which are random, are taken out.
std::vector<std::string> take_ids(json::array& calls) {
  std::vector<std::string> ids;
  for (json::value& call : calls) {
    if (const auto* id = call.as_object().if_contains("id")) {
      ids.push_back(text_of(*id));
      call.as_object().erase("id");
    }
  }
  return ids;
}

TEST(Wire, AnAnswerWithCallsHasNoContentAndEndsForThem) {
  auto body = body_of(options(Endpoint::chat), {joined(calling())});
  json::object& choice = body.at("choices").at(0).as_object();
  const auto ids = take_ids(choice.at("message").at("tool_calls").as_array());
  ASSERT_EQ(ids.size(), 2U);
  EXPECT_EQ(ids[0].size(), 9U);
  EXPECT_NE(ids[0], ids[1]);
  EXPECT_EQ(choice, json::parse(R"({"index":0,"message":{"role":"assistant","content":null,
    "refusal":null,"reasoning_content":"hm","reasoning":"hm","tool_calls":[
      {"type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
      {"type":"function","function":{"name":"g","arguments":"{}"}}]},
    "logprobs":null,"finish_reason":"tool_calls"})"));
}

TEST(Wire, TheFirstDeltaOfACallNamesItAndTheOthersAddToItsArguments) {
  OpenAiWriter writer(kHead, options(Endpoint::chat));
  std::string frames;
  for (const TextDelta& one : calling()) writer.add(one, frames);
  json::array deltas;
  for (json::value& chunk : data_frames(frames)) {
    json::object& choice = chunk.at("choices").at(0).as_object();
    json::object& said = choice.at("delta").as_object();
    if (auto* calls = said.if_contains("tool_calls")) take_ids(calls->as_array());
    deltas.push_back(choice.at("finish_reason").is_null() ? json::value(said)
                                                          : choice.at("finish_reason"));
  }
  EXPECT_EQ(json::value(deltas), json::parse(R"([
    {"reasoning_content":"h","reasoning":"h"}, {"reasoning_content":"m","reasoning":"m"},
    {"tool_calls":[{"index":0,"type":"function","function":{"name":"f","arguments":""}}]},
    {"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]},
    {"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},
    {"tool_calls":[{"index":1,"type":"function","function":{"name":"g","arguments":""}}]},
    {"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]},
    "tool_calls"])"));
}

TEST(Wire, WhoSentFunctionsGetsAFunctionCall) {
  WireOptions wire = options(Endpoint::chat);
  wire.legacy_functions = true;
  using enum AnswerChannel;
  const std::vector<TextDelta> one = {in_channel(tool_name, "f", 0),
                                      in_channel(tool_arguments, "{}", 0), sample_end()};
  const auto choice = body_of(wire, {joined(one)}).at("choices").at(0);
  EXPECT_EQ(choice.at("message").at("function_call"),
            json::parse(R"({"name":"f","arguments":"{}"})"));
  EXPECT_EQ(choice.at("finish_reason"), "function_call");
  OpenAiWriter writer(kHead, wire);
  std::string frames;
  for (const TextDelta& delta : one) writer.add(delta, frames);
  const auto chunks = data_frames(frames);
  ASSERT_EQ(chunks.size(), 3U);
  EXPECT_EQ(chunks[0].at("choices").at(0).at("delta"),
            json::parse(R"({"function_call":{"name":"f","arguments":""}})"));
  EXPECT_EQ(chunks[1].at("choices").at(0).at("delta"),
            json::parse(R"({"function_call":{"arguments":"{}"}})"));
}

TEST(Wire, ChatChunksNameTheRoleFirstAndEndWithAnEmptyDelta) {
  auto wire = options(Endpoint::chat);
  wire.include_usage = true;
  OpenAiWriter writer(kHead, wire);
  std::string frames;
  writer.begin(1, frames);
  writer.add(delta("Hi"), frames);
  writer.add(delta("", {detail(1, "x", 0)}, {0}), frames);  // says nothing without logprobs
  writer.add(sample_end(0, FinishReason::length), frames);
  writer.end(kUsage, frames);
  const std::string head =
      R"(data: {"id":"id-1","object":"chat.completion.chunk","created":1700000000,)"
      R"("model":"org/tiny","system_fingerprint":"mlxd-test","choices":[)";
  EXPECT_EQ(
      frames,
      head +
          R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
          R"("finish_reason":null}],"usage":null})" +
          "\n\n" + head +
          R"({"index":0,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}],)"
          R"("usage":null})" +
          "\n\n" + head +
          R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}],"usage":null})" +
          "\n\n" + head +
          R"(],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,)"
          R"("prompt_tokens_details":{"cached_tokens":2},)"
          R"("completion_tokens_details":{"reasoning_tokens":3}}})" +
          "\n\ndata: [DONE]\n\n");
}

TEST(Wire, AStreamWithoutUsageHasNoUsageKey) {
  OpenAiWriter writer(kHead, options(Endpoint::completions));
  std::string frames;
  writer.begin(1, frames);
  writer.add(delta("Hi"), frames);
  writer.end(kUsage, frames);
  EXPECT_EQ(frames, R"(data: {"id":"id-1","object":"text_completion","created":1700000000,)"
                    R"("model":"org/tiny","system_fingerprint":"mlxd-test","choices":[{"index":0,)"
                    R"("text":"Hi","logprobs":null,"finish_reason":null}]})"
                    "\n\ndata: [DONE]\n\n");
}

TEST(Wire, AnErrorInAStreamIsFollowedByDone) {
  std::string frames;
  OpenAiWriter(kHead, options(Endpoint::chat)).fail({504, "timeout", "", "too long"}, frames);
  EXPECT_EQ(frames, R"(data: {"error":{"message":"too long","type":"server_error","param":null,)"
                    R"("code":"timeout"}})"
                    "\n\ndata: [DONE]\n\n");
}

TEST(BestOf, KeepsTheSamplesOfTheBestMeanLogprobOfEachPrompt) {
  std::vector<ChoiceText> all = {choice("long", {detail(0, "a", -1), detail(0, "b", -1)}),
                                 choice("worst", {detail(0, "a", -1.5F)}),
                                 choice("best", {detail(0, "a", -0.5F)}),
                                 choice("", {}),
                                 choice("x", {detail(0, "a", -9)}),
                                 choice("y", {detail(0, "a", -8)})};
  std::vector<std::string> kept;
  for (const auto& one : best_choices(all, 3, 2)) kept.push_back(one.front().text);
  EXPECT_EQ(kept, (std::vector<std::string>{"best", "long", "y", "x"}));
}

TEST(Fold, TheFirstPromptThatFailsFailsTheRequest) {
  AnswerFold fold({3, 3}, 1);
  std::vector<TextDelta> deltas;
  GenerationEnd end;
  end.outcome = RequestFinished::Outcome::timeout;
  fold.apply(1, end, deltas);
  EXPECT_TRUE(fold.finished());
  ASSERT_TRUE(fold.error());
  EXPECT_EQ(fold.error()->status, 504);
  EXPECT_EQ(fold.error()->code, "timeout");
}

// Random events of one request, as serve/ may send them.
class RandomEvents {
 public:
  explicit RandomEvents(unsigned seed) : random_(seed) {}

  int below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }

  std::vector<std::pair<int, GenerationEvent>> sequence(int prompts, int samples, bool echo) {
    std::vector<std::vector<GenerationEvent>> each(static_cast<std::size_t>(prompts));
    for (auto& events : each) events = of_one_prompt(samples, echo);
    std::vector<std::pair<int, GenerationEvent>> mixed;
    std::vector<std::size_t> next(each.size(), 0);
    std::size_t left = 0;
    for (const auto& events : each) left += events.size();
    while (left > 0) {
      const auto prompt = static_cast<std::size_t>(below(prompts));
      if (next[prompt] == each[prompt].size()) continue;
      mixed.emplace_back(static_cast<int>(prompt), std::move(each[prompt][next[prompt]++]));
      --left;
    }
    return mixed;
  }

 private:
  std::string text() {
    static const std::vector<std::string> parts = {"a", " b", "é", "€", "😀", "\"", "\\", "\n", ""};
    std::string out;
    for (int i = below(4); i > 0; --i) out += parts[static_cast<std::size_t>(below(9))];
    return out;
  }
  std::vector<TokenDetail> tokens() {
    std::vector<TokenDetail> out;
    for (int i = below(3); i > 0; --i) {
      auto token = detail(below(50), text() + (below(4) == 0 ? "\xe2\x82" : ""),
                          -0.01F * static_cast<float>(below(1000)));
      for (int j = below(3); j > 0; --j) token.top.push_back({below(50), text(), -1.0F * j});
      out.push_back(std::move(token));
    }
    return out;
  }
  std::vector<GenerationEvent> of_one_prompt(int samples, bool echo) {
    std::vector<GenerationEvent> events;
    if (echo) events.emplace_back(PromptEcho{piece(text(), 0, tokens())});
    std::vector<int> open;
    for (int i = 0; i < samples; ++i) open.push_back(i);
    while (!open.empty()) {
      const auto which = static_cast<std::size_t>(below(static_cast<int>(open.size())));
      if (below(5) == 0) {
        events.emplace_back(
            sample_end(open[which], below(2) == 0 ? FinishReason::stop : FinishReason::length));
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(which));
      } else {
        events.emplace_back(piece(text(), open[which], tokens()));
      }
    }
    events.emplace_back(generation_end(below(100), below(100)));
    return events;
  }

  std::mt19937 random_;
};

TEST(Fold, AStreamPutTogetherEqualsTheAnswerThatWasNotStreamed) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    RandomEvents random(seed);
    WireOptions wire;
    wire.endpoint = random.below(2) == 0 ? Endpoint::chat : Endpoint::completions;
    wire.logprobs = random.below(2) == 0;
    wire.token_ids = random.below(4) == 0;
    wire.include_usage = true;
    const int samples = 1 + random.below(3);
    const int prompts = wire.endpoint == Endpoint::chat ? 1 : 1 + random.below(3);
    const auto events = random.sequence(
        prompts, samples, wire.endpoint == Endpoint::completions && random.below(2) == 0);

    AnswerFold streamed(std::vector<int>(static_cast<std::size_t>(prompts), 3), samples);
    AnswerFold whole(std::vector<int>(static_cast<std::size_t>(prompts), 3), samples);
    OpenAiWriter writer(kHead, wire);
    std::string frames;
    writer.begin(streamed.choices(), frames);
    std::vector<ChoiceText> choices(static_cast<std::size_t>(whole.choices()));
    for (const auto& [prompt, event] : events) {
      std::vector<TextDelta> deltas;
      streamed.apply(prompt, event, deltas);
      for (const auto& added : deltas) writer.add(added, frames);
      deltas.clear();
      whole.apply(prompt, event, deltas);
      for (auto& added : deltas) append(choices[static_cast<std::size_t>(added.choice)], added);
    }
    writer.end(streamed.usage(), frames);
    ASSERT_TRUE(is_valid_utf8(frames));

    const auto chunks = data_frames(frames);
    auto body = json::parse(writer.whole(choices, whole.usage()));
    auto& expected = body.at("choices");
    forget_empty_logprobs(expected);
    ASSERT_EQ(put_together(chunks, wire.endpoint == Endpoint::chat, whole.choices()), expected)
        << "seed " << seed << "\n"
        << frames << "\n"
        << json::serialize(expected);
    ASSERT_EQ(chunks.back().at("usage"), body.at("usage")) << "seed " << seed;
  }
}

}  // namespace
}  // namespace mlxd::api
