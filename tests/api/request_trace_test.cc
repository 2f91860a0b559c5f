#include "api/request_trace.h"

#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/request_log.h"

namespace mlxd::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tracing::Span;

RequestRecord completed() {
  RequestRecord record;
  record.id = "r1";
  record.endpoint = "chat";
  record.path = "/v1/chat/completions";
  record.arrived = Clock::now();
  record.ask.name = "an-alias";
  record.model = "tiny";
  record.status = 200;
  record.outcome = Outcome::completed;
  record.finish = "stop,length";
  record.prompt_tokens = 40;
  record.cached_tokens = 32;
  record.completion_tokens = 9;
  record.accepted_seconds = 1;
  record.queue_seconds = 0.5;
  record.knows_queue = true;
  record.first_token_seconds = 2;
  record.total_seconds = 4;
  record.trace.emplace();
  record.trace->trace_id[0] = 0xab;
  record.trace->span_id[0] = 0xcd;
  record.trace->trace_state = "a=1";
  return record;
}

std::vector<Span> spans(const RequestRecord& record) {
  std::uint8_t last = 0;
  return spans_of(record, tracing::WallClock(), [&last] { return tracing::SpanId{++last}; });
}

// A span's attributes as texts.
std::map<std::string_view, std::string> attributes(const Span& span) {
  std::map<std::string_view, std::string> texts;
  for (const auto& [name, value] : span.attributes) {
    if (const auto* text = std::get_if<std::string>(&value)) texts[name] = *text;
    if (const auto* number = std::get_if<std::int64_t>(&value))
      texts[name] = std::to_string(*number);
    if (const auto* truth = std::get_if<bool>(&value)) texts[name] = *truth ? "true" : "false";
    if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
      for (const std::string& one : *list) texts[name] += "[" + one + "]";
    }
  }
  EXPECT_EQ(texts.size(), span.attributes.size()) << "a name stands twice";
  return texts;
}

// "queue 1-1.5": a part with its seconds since the request's beginning.
std::vector<std::string> parts(const std::vector<Span>& spans) {
  std::vector<std::string> texts;
  for (std::size_t i = 1; i < spans.size(); ++i) {
    EXPECT_EQ(spans[i].parent, spans[0].id);
    EXPECT_EQ(spans[i].trace_id, spans[0].trace_id);
    EXPECT_EQ(spans[i].id[0], i);
    const auto seconds = [&](std::int64_t time) {
      char text[32];
      std::snprintf(text, sizeof text, "%g", static_cast<double>(time - spans[0].begin) / 1e9);
      return std::string(text);
    };
    texts.push_back(spans[i].name + " " + seconds(spans[i].begin) + "-" + seconds(spans[i].end));
  }
  return texts;
}

TEST(RequestTrace, TellsOfARequestByTheConventions) {
  const auto all = spans(completed());
  const Span& request = all.at(0);
  EXPECT_EQ(request.name, "chat tiny");
  EXPECT_EQ(request.kind, tracing::SpanKind::server);
  EXPECT_EQ(request.trace_state, "a=1");
  EXPECT_FALSE(request.parent);
  EXPECT_FALSE(request.failed);
  EXPECT_EQ(request.end - request.begin, 4'000'000'000);
  const std::map<std::string_view, std::string> expected = {
      {"gen_ai.operation.name", "chat"},
      {"gen_ai.provider.name", "mlxd"},
      {"gen_ai.request.model", "an-alias"},
      {"gen_ai.response.model", "tiny"},
      {"gen_ai.request.stream", "false"},
      {"gen_ai.usage.input_tokens", "40"},
      {"gen_ai.usage.cache_read.input_tokens", "32"},
      {"gen_ai.usage.output_tokens", "9"},
      {"gen_ai.response.finish_reasons", "[stop][length]"},
      {"http.request.method", "POST"},
      {"http.route", "/v1/chat/completions"},
      {"url.path", "/v1/chat/completions"},
      {"url.scheme", "http"},
      {"http.response.header.x-request-id", "[r1]"},
      {"http.response.status_code", "200"},
  };
  EXPECT_EQ(attributes(request), expected);
}

TEST(RequestTrace, HasTheTimesOfItsParts) {
  RequestRecord record = completed();
  EXPECT_THAT(parts(spans(record)), ElementsAre("queue 1-1.5", "prefill 1.5-2", "decode 2-4"));
  record.ask.load_begun_seconds = 0.25;
  record.ask.load_ended_seconds = 0.75;
  EXPECT_THAT(parts(spans(record)),
              ElementsAre("load_model 0.25-0.75", "queue 1-1.5", "prefill 1.5-2", "decode 2-4"));
}

TEST(RequestTrace, HasNoPartsThatNobodyKnowsOf) {
  RequestRecord record = completed();
  record.outcome = Outcome::cancelled;
  record.knows_queue = false;
  EXPECT_THAT(parts(spans(record)), ElementsAre("queue_and_prefill 1-2", "decode 2-4"));
  record.first_token_seconds = -1;
  EXPECT_THAT(parts(spans(record)), ElementsAre("queue_and_prefill 1-4"));
  record.accepted_seconds = -1;
  EXPECT_THAT(parts(spans(record)), ElementsAre());
  record.ask.load_begun_seconds = 0.5;  // and its client left before it was loaded
  EXPECT_THAT(parts(spans(record)), ElementsAre("load_model 0.5-4"));
}

TEST(RequestTrace, PutsPartsInOrderWhateverTheirTimesSay) {
  RequestRecord record = completed();
  record.queue_seconds = 7;
  EXPECT_THAT(parts(spans(record)), ElementsAre("queue 1-2", "prefill 2-2", "decode 2-4"));
  record.first_token_seconds = 4.5;
  EXPECT_THAT(parts(spans(record)), ElementsAre("queue 1-4", "prefill 4-4", "decode 4-4"));
}

TEST(RequestTrace, OfEmbeddingsHasNoDecode) {
  RequestRecord record = completed();
  record.endpoint = "ollama_embed";
  record.first_token_seconds = -1;
  record.finish.clear();
  record.completion_tokens = 0;
  const auto all = spans(record);
  EXPECT_EQ(all[0].name, "embeddings tiny");
  EXPECT_THAT(parts(all), ElementsAre("queue 1-1.5", "prefill 1.5-4"));
  EXPECT_EQ(attributes(all[0]).count("gen_ai.response.finish_reasons"), 0u);
}

TEST(RequestTrace, TellsAClientsMistakeFromAFailureOfTheServer) {
  RequestRecord record = completed();
  record.outcome = Outcome::refused;
  record.status = 404;
  record.finish = "model_not_found";
  record.model.clear();
  record.ask.name = std::string(199, 'x') + "é";
  auto request = spans(record).at(0);
  EXPECT_FALSE(request.failed);
  EXPECT_EQ(request.name, "chat") << "a name that a client made up is no name of a span";
  auto said = attributes(request);
  EXPECT_EQ(said["error.type"], "model_not_found");
  EXPECT_EQ(said["http.response.status_code"], "404");
  EXPECT_EQ(said["gen_ai.request.model"], std::string(199, 'x'));
  EXPECT_EQ(said.count("gen_ai.response.model"), 0u);

  record.outcome = Outcome::error;
  record.status = 500;
  record.finish = "internal_error";
  request = spans(record).at(0);
  EXPECT_TRUE(request.failed);
  EXPECT_EQ(request.failure, "internal_error");
  EXPECT_EQ(attributes(request)["http.response.status_code"], "500");

  record.began_stream = true;
  EXPECT_EQ(attributes(spans(record).at(0))["http.response.status_code"], "200");
}

TEST(RequestTrace, OfAClientThatLeftHasNoStatus) {
  RequestRecord record = completed();
  record.outcome = Outcome::cancelled;
  record.status = 499;
  const auto request = spans(record).at(0);
  EXPECT_FALSE(request.failed);
  auto said = attributes(request);
  EXPECT_EQ(said["error.type"], "cancelled");
  EXPECT_EQ(said.count("http.response.status_code"), 0u);
  EXPECT_EQ(said.count("gen_ai.response.finish_reasons"), 0u);
}

TEST(RequestTrace, HangsBelowItsCallersSpan) {
  RequestRecord record = completed();
  record.trace->parent = tracing::SpanId{0xef};
  const auto all = spans(record);
  EXPECT_EQ(all[0].parent, tracing::SpanId{0xef});
  EXPECT_TRUE(all[0].parent_is_remote);
  EXPECT_FALSE(all[1].parent_is_remote);
}

TEST(RequestTrace, IsNamedByTheRequestsLine) {
  const RequestRecord record = completed();
  const std::string id = "ab" + std::string(30, '0');
  EXPECT_THAT(RequestLog::text_line(record), HasSubstr(" trace=" + id));
  EXPECT_THAT(RequestLog::json_line(record), HasSubstr("\"trace_id\":\"" + id + "\""));
  EXPECT_THAT(RequestLog::json_line(record), HasSubstr("\"span_id\":\"cd00000000000000\""));
}

}  // namespace
}  // namespace mlxd::api
