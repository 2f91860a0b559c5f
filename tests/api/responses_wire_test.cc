// Answers of /v1/responses: the response object, the events that lead to it, and what is kept.
#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/fakes.h"
#include "api/responses/freeform_input.h"
#include "api/responses/writer.h"

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::StartsWith;

TextDelta in_channel(AnswerChannel channel, std::string text, int call = -1) {
  TextDelta delta = piece(std::move(text));
  delta.channel = channel;
  delta.call = call;
  return delta;
}
TextDelta thought(std::string text) {
  return in_channel(AnswerChannel::reasoning, std::move(text));
}
TextDelta name(std::string text, int call = 0) {
  return in_channel(AnswerChannel::tool_name, std::move(text), call);
}
TextDelta arguments(std::string text, int call = 0) {
  return in_channel(AnswerChannel::tool_arguments, std::move(text), call);
}

Shape shape() {
  Shape shape;
  shape.id = "resp_1";
  shape.created = 5;
  shape.model = "m";
  shape.echoed = R"("tools":[])";
  shape.offered["mcp__git__log"] = {"mcp__git", "log", false};
  shape.offered["apply_patch"] = {"", "apply_patch", true};
  return shape;
}

constexpr Usage kUsage{10, 4, 6, 3};

struct Event {
  std::string type;
  json::object data;
};

std::vector<Event> events_in(std::string_view stream) {
  std::vector<Event> events;
  while (!stream.empty()) {
    const auto end = stream.find("\n\n");
    const auto line = stream.find('\n');
    EXPECT_TRUE(stream.starts_with("event: "));
    Event event{std::string(stream.substr(7, line - 7)), {}};
    const auto data = stream.substr(line + 7, end - line - 7);
    event.data = json::parse({data.data(), data.size()}).as_object();
    EXPECT_EQ(text_of(event.data.at("type")), event.type);
    EXPECT_EQ(event.data.at("sequence_number"), static_cast<std::int64_t>(events.size()));
    events.push_back(std::move(event));
    stream.remove_prefix(end + 2);
  }
  return events;
}

// As the handler calls a writer: the beginning is asked for when there is something to send.
std::vector<Event> stream(const std::vector<TextDelta>& deltas, Shape of = shape()) {
  ResponseWriter writer(std::move(of));
  std::string frames, first;
  for (const auto& delta : deltas) writer.add(delta, frames);
  writer.begin(1, first);
  writer.end(kUsage, frames);
  return events_in(first + frames);
}

json::object whole(const std::vector<TextDelta>& deltas, Shape of = shape()) {
  ChoiceText choice;
  for (const auto& delta : deltas) append(choice, delta);
  return json::parse(ResponseWriter(std::move(of)).whole({choice}, kUsage)).as_object();
}

std::vector<std::string> types_of(const std::vector<Event>& events) {
  std::vector<std::string> types;
  for (const auto& event : events) types.push_back(event.type);
  return types;
}

// Without what is random.
json::value bare(json::value value) {
  if (value.is_object()) {
    for (const char* key : {"id", "call_id", "completed_at"}) value.as_object().erase(key);
    for (auto& member : value.as_object()) member.value() = bare(member.value());
  } else if (value.is_array()) {
    for (auto& one : value.as_array()) one = bare(one);
  }
  return value;
}

TEST(ResponsesWire, TheWholeSequenceOfATextAfterReasoning) {
  const auto events =
      stream({thought("hm"), thought("m"), piece("Hel"), piece("lo"), sample_end()});
  EXPECT_THAT(
      types_of(events),
      ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                  "response.reasoning_summary_part.added", "response.reasoning_summary_text.delta",
                  "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done",
                  "response.reasoning_summary_part.done", "response.output_item.done",
                  "response.output_item.added", "response.content_part.added",
                  "response.output_text.delta", "response.output_text.delta",
                  "response.output_text.done", "response.content_part.done",
                  "response.output_item.done", "response.completed"));
  EXPECT_EQ(events[0].data.at("response").at("status"), "in_progress");
  EXPECT_EQ(events[0].data.at("response").at("output"), json::array());
  EXPECT_EQ(events[2].data.at("item").at("summary"), json::array());
  EXPECT_EQ(events[4].data.at("delta"), "hm");
  EXPECT_EQ(events[4].data.at("summary_index"), 0);
  EXPECT_EQ(events[6].data.at("text"), "hmm");
  EXPECT_EQ(events[9].data.at("item").at("status"), "in_progress");
  EXPECT_EQ(events[9].data.at("item").at("content"), json::array());
  EXPECT_EQ(events[10].data.at("part"),
            json::parse(R"({"type":"output_text","text":"","annotations":[],"logprobs":[]})"));
  EXPECT_EQ(events[11].data.at("delta"), "Hel");
  EXPECT_EQ(events[11].data.at("logprobs"), json::array());
  EXPECT_EQ(events[13].data.at("text"), "Hello");
  // One item has one id, and stands where it is told to.
  for (std::size_t i = 10; i < 15; ++i) {
    EXPECT_EQ(events[i].data.at("item_id"), events[9].data.at("item").at("id"));
    EXPECT_EQ(events[i].data.at("output_index"), 1);
  }
  const auto& response = events.back().data.at("response");
  EXPECT_EQ(response.at("output").at(0), events[8].data.at("item"));
  EXPECT_EQ(response.at("output").at(1), events[15].data.at("item"));
  EXPECT_EQ(response.at("id"), events[0].data.at("response").at("id"));
  EXPECT_TRUE(response.at("completed_at").is_int64());
}

TEST(ResponsesWire, AResponseHasWhatTheTypesOfClientsRequire) {
  EXPECT_EQ(bare(whole({thought("t"), piece("Hello"), sample_end()})), json::parse(R"({
      "object":"response","created_at":5,"status":"completed","model":"m","output":[
        {"type":"reasoning","summary":[{"type":"summary_text","text":"t"}],
         "encrypted_content":null},
        {"type":"message","status":"completed","role":"assistant","content":[
          {"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}],
      "usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":6,
        "cache_write_tokens":0},"output_tokens":4,"output_tokens_details":{"reasoning_tokens":3},
        "total_tokens":14},
      "error":null,"incomplete_details":null,"background":false,"service_tier":"default",
      "truncation":"disabled","tools":[]})"));
}

TEST(ResponsesWire, CallsAreItemsOfTheirKindWithNamespaceAndNameApart) {
  const std::vector<TextDelta> deltas = {piece("See:"),           name("mcp__git__log", 0),
                                         arguments(R"({"n)", 0),  arguments(R"(":1})", 0),
                                         name("plain", 1),        arguments("{}", 1),
                                         name("apply_patch", 2),  arguments(R"({"input": "a\)", 2),
                                         arguments(R"(nb"})", 2), sample_end()};
  const auto events = stream(deltas);
  EXPECT_THAT(
      types_of({events.begin() + 8, events.end()}),
      ElementsAre("response.output_item.added", "response.function_call_arguments.delta",
                  "response.function_call_arguments.delta", "response.function_call_arguments.done",
                  "response.output_item.done", "response.output_item.added",
                  "response.function_call_arguments.delta", "response.function_call_arguments.done",
                  "response.output_item.done", "response.output_item.added",
                  "response.custom_tool_call_input.delta", "response.custom_tool_call_input.delta",
                  "response.custom_tool_call_input.done", "response.output_item.done",
                  "response.completed"));
  EXPECT_EQ(events[8].data.at("item").at("arguments"), "");
  EXPECT_EQ(events[11].data.at("arguments"), R"({"n":1})");
  EXPECT_EQ(events[18].data.at("delta"), "a");
  EXPECT_EQ(events[19].data.at("delta"), "\nb");
  EXPECT_EQ(events[20].data.at("input"), "a\nb");
  const auto& output = events.back().data.at("response").at("output").as_array();
  EXPECT_EQ(bare(output.at(1)), json::parse(R"({"type":"function_call","status":"completed",
      "namespace":"mcp__git","name":"log","arguments":"{\"n\":1}"})"));
  EXPECT_EQ(bare(output.at(2)), json::parse(R"({"type":"function_call","status":"completed",
      "name":"plain","arguments":"{}"})"));
  EXPECT_EQ(bare(output.at(3)), json::parse(R"({"type":"custom_tool_call","status":"completed",
      "name":"apply_patch","input":"a\nb"})"));
  EXPECT_NE(output.at(1).at("call_id"), output.at(2).at("call_id"));
  EXPECT_EQ(bare(whole(deltas)), bare(events.back().data.at("response")));
}

TEST(ResponsesWire, WhatIsCutShortIsIncomplete) {
  const std::vector<TextDelta> deltas = {piece("So"), name("plain"), arguments(R"({"a)"),
                                         sample_end(0, FinishReason::length)};
  const auto events = stream(deltas);
  EXPECT_EQ(events.back().type, "response.incomplete");
  const auto& response = events.back().data.at("response");
  EXPECT_EQ(response.at("status"), "incomplete");
  EXPECT_EQ(response.at("incomplete_details"), json::parse(R"({"reason":"max_output_tokens"})"));
  EXPECT_TRUE(response.at("completed_at").is_null());
  EXPECT_EQ(response.at("output").at(0).at("status"), "completed");
  EXPECT_EQ(response.at("output").at(1).at("status"), "incomplete");
  EXPECT_EQ(bare(whole(deltas)), bare(response));
}

TEST(ResponsesWire, AnAnswerWithoutWordsHasAnEmptyMessage) {
  const auto events = stream({sample_end()});
  EXPECT_THAT(
      types_of(events),
      ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                  "response.content_part.added", "response.output_text.done",
                  "response.content_part.done", "response.output_item.done", "response.completed"));
  EXPECT_EQ(bare(whole({sample_end()})), bare(events.back().data.at("response")));
}

TEST(ResponsesWire, LogProbabilitiesStandWithTheTextWhenAskedFor) {
  TokenDetail token = detail(3, "Hi", -0.5f);
  token.top.push_back({4, "Ho", -1.0f});
  Shape of = shape();
  of.logprobs = true;
  const auto expected = json::parse(R"([{"token":"Hi","logprob":-0.5,"bytes":[72,105],
      "top_logprobs":[{"token":"Ho","logprob":-1,"bytes":[72,111]}]}])");
  const auto events = stream({piece("Hi", 0, {token}), sample_end()}, of);
  const auto same = [&](const json::value& got) {
    EXPECT_EQ(got.at(0).at("token"), "Hi");
    EXPECT_EQ(got.at(0).at("logprob").to_number<double>(), -0.5);
    EXPECT_EQ(got.at(0).at("top_logprobs").at(0).at("bytes"),
              expected.at(0).at("top_logprobs").at(0).at("bytes"));
  };
  same(events[4].data.at("logprobs"));
  same(events[5].data.at("logprobs"));
  same(events.back().data.at("response").at("output").at(0).at("content").at(0).at("logprobs"));
  // Nobody asked: none are shown.
  EXPECT_EQ(stream({piece("Hi", 0, {token}), sample_end()})[4].data.at("logprobs"), json::array());
}

// Codex waits for events, to which comments do not count.
TEST(ResponsesWire, ASilenceIsFilledWithEvents) {
  ResponseWriter writer(shape());
  std::string frames, first;
  writer.keep_alive(frames);
  writer.begin(1, first);
  writer.keep_alive(frames);
  writer.add(piece("Hi"), frames);
  const auto types = types_of(events_in(first + frames));
  EXPECT_THAT(std::vector(types.begin(), types.begin() + 5),
              ElementsAre("response.created", "response.in_progress", "keepalive", "keepalive",
                          "response.output_item.added"));
}

TEST(ResponsesWire, AFailureIsToldTwiceAsOpenAiDoes) {
  ResponseWriter writer(shape());
  std::string frames, first;
  writer.add(piece("Hal"), frames);
  writer.begin(1, first);
  Error error;
  error.status = 503;
  error.code = "server_stopping";
  error.message = "because";
  writer.fail(error, frames);
  const auto events = events_in(first + frames);
  EXPECT_THAT(types_of({events.end() - 2, events.end()}), ElementsAre("error", "response.failed"));
  EXPECT_EQ((events.end() - 2)->data.at("message"), "because");
  EXPECT_EQ((events.end() - 2)->data.at("code"), "server_error");
  const auto& response = events.back().data.at("response");
  EXPECT_EQ(response.at("status"), "failed");
  EXPECT_EQ(response.at("error"), json::parse(R"({"code":"server_error","message":"because"})"));
  EXPECT_EQ(response.at("output").at(0).at("status"), "incomplete");
}

TEST(ResponsesWire, WhatHasEndedIsKeptForTheNextTurn) {
  auto store = std::make_shared<ResponseStore>();
  Shape of = shape();
  of.store = store;
  of.caller = 3;
  of.conversation = {std::make_shared<ResponseStore::Item>(ResponseStore::Item{"", "{}"})};
  const auto answered = whole({thought("t"), piece("Hello"), sample_end()}, of);
  const auto items = store->conversation(3, "resp_1");
  ASSERT_TRUE(items);
  ASSERT_EQ(items->size(), 3u);
  EXPECT_EQ(json::parse(items->at(2)->json), answered.at("output").at(1));
  EXPECT_THAT(items->at(1)->id, StartsWith("rs_"));
  EXPECT_EQ(json::parse(*store->response(3, "resp_1")), answered);
  EXPECT_EQ(store->item(3, items->at(2)->id)->json, items->at(2)->json);
  EXPECT_EQ(store->item(4, items->at(2)->id), nullptr);
}

std::string freeform(const std::vector<std::string>& pieces) {
  FreeformInput input;
  std::string text;
  for (const auto& piece : pieces) text += input.add(piece);
  return text + input.end();
}

TEST(FreeformInput, IsTheStringHoweverItIsCut) {
  const std::string arguments = R"( { "input" : "a\"b\\c\n\u00e9\ud83d\ude00\/é" } )";
  const std::string text = "a\"b\\c\n\xc3\xa9\xf0\x9f\x98\x80/\xc3\xa9";
  EXPECT_EQ(freeform({arguments}), text);
  for (std::size_t cut = 0; cut <= arguments.size(); ++cut) {
    EXPECT_EQ(freeform({arguments.substr(0, cut), arguments.substr(cut)}), text) << cut;
  }
  std::vector<std::string> bytes;
  for (const char c : arguments) bytes.emplace_back(1, c);
  EXPECT_EQ(freeform(bytes), text);
}

TEST(FreeformInput, HalfASurrogatePairIsAReplacementCharacter) {
  EXPECT_EQ(freeform({R"({"input":"\ud83dx\ude00\ud83d"})"}),
            "\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(freeform({R"({"input":"\ud83d)"}), "\xef\xbf\xbd");
}

TEST(FreeformInput, WhatHasAnotherFormIsGivenAsItIs) {
  for (const char* arguments : {R"({"patch":"x"})", R"({"input":5})", "{}", "", R"(["input"])"}) {
    EXPECT_EQ(freeform({arguments}), arguments);
  }
  EXPECT_EQ(freeform({R"({"input":"x","more":"y"})"}), "x");
}

std::shared_ptr<ResponseStore::Item> item(std::string id, std::size_t bytes) {
  return std::make_shared<ResponseStore::Item>(
      ResponseStore::Item{std::move(id), std::string(bytes, ' ')});
}

TEST(ResponseStore, LetsGoOfTheLeastRecentlyUsed) {
  ResponseStore store(std::size_t{1} << 20, 2);
  store.put(1, "a", "A", {item("ia", 1)}, 1);
  store.put(1, "b", "B", {item("ib", 1)}, 1);
  EXPECT_TRUE(store.conversation(1, "a"));  // is used
  store.put(1, "c", "C", {item("ic", 1)}, 1);
  EXPECT_FALSE(store.response(1, "b"));
  EXPECT_EQ(store.item(1, "ib"), nullptr);
  EXPECT_EQ(store.response(1, "a"), "A");
  EXPECT_NE(store.item(1, "ia"), nullptr);
}

TEST(ResponseStore, IsBoundedInBytes) {
  ResponseStore store(2000, 100);
  for (int i = 0; i < 50; ++i) {
    store.put(1, fmt::format("r{}", i), std::string(300, ' '), {item(fmt::format("i{}", i), 300)},
              1);
    EXPECT_LE(store.bytes(), 2000u);
  }
  EXPECT_TRUE(store.response(1, "r49"));
  EXPECT_FALSE(store.response(1, "r0"));
  store.put(1, "huge", std::string(5000, ' '), {}, 0);
  EXPECT_FALSE(store.response(1, "huge"));
  EXPECT_TRUE(store.response(1, "r49"));
}

TEST(ResponseStore, GivesNothingToAnotherCallerAndForgetsWhatIsRemoved) {
  ResponseStore store;
  store.put(1, "a", "A", {item("ia", 1)}, 1);
  EXPECT_FALSE(store.response(2, "a"));
  EXPECT_FALSE(store.conversation(2, "a"));
  EXPECT_FALSE(store.remove(2, "a"));
  EXPECT_TRUE(store.remove(1, "a"));
  EXPECT_FALSE(store.response(1, "a"));
  EXPECT_EQ(store.item(1, "ia"), nullptr);
  EXPECT_EQ(store.bytes(), 0u);
}

}  // namespace
}  // namespace mlxd::api::responses
