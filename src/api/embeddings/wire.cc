#include "api/embeddings/wire.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "api/json_writer.h"
#include "api/request_parts.h"

namespace mlxd::api::embeddings {
namespace {

using Vectors = std::vector<const std::vector<float>*>;

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double product = 0, of_a = 0, of_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * b[i];
    of_a += static_cast<double>(a[i]) * a[i];
    of_b += static_cast<double>(b[i]) * b[i];
  }
  const double lengths = std::sqrt(of_a * of_b);
  return lengths > 0 ? product / lengths : 0;
}

class EmbeddingWriter final : public AnswerWriter {
 public:
  explicit EmbeddingWriter(AnswerForm form) : form_(std::move(form)) {}

  void took(const AnswerTimes& times) override { times_ = times; }

  std::string whole(const std::vector<ChoiceText>& choices, const Usage& usage) override {
    Vectors vectors;
    for (const ChoiceText& choice : choices) vectors.push_back(&choice.at(0).vector);
    std::string body;
    JsonWriter json(body);
    json.begin_object();
    switch (form_.endpoint) {
      case Endpoint::embeddings:
        write_embeddings(json, vectors);
        write_usage(json, usage);
        break;
      case Endpoint::rerank:
        write_ranking(json, scores_of(vectors));
        write_usage(json, usage);
        break;
      case Endpoint::score:
        write_scores(json, scores_of(vectors));
        write_usage(json, usage);
        break;
      case Endpoint::ollama_embed:
        write_ollama(json, vectors, usage);
        break;
      case Endpoint::ollama_embeddings:
        json.key("embedding");
        write_vector(json, *vectors.at(0));
        break;
    }
    json.end_object();
    return body;
  }

  // No request asks for a stream.
  void begin(int, std::string&) override {}
  void add(const TextDelta&, std::string&) override {}
  void end(const Usage&, std::string&) override {}
  void fail(const Error&, std::string&) override {}
  void keep_alive(std::string&) override {}

 private:
  static void write_vector(JsonWriter& json, const std::vector<float>& values) {
    json.begin_array();
    for (const float value : values) json.single(value);
    json.end_array();
  }

  static void write_usage(JsonWriter& json, const Usage& usage) {
    json.key("usage");
    json.begin_object();
    json.member("prompt_tokens", usage.prompt_tokens);
    json.member("total_tokens", usage.prompt_tokens);
    json.end_object();
  }

  void write_embeddings(JsonWriter& json, const Vectors& vectors) const {
    json.member("object", "list");
    json.key("data");
    json.begin_array();
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      json.begin_object();
      json.member("object", "embedding");
      json.member("index", i);
      json.key("embedding");
      form_.base64 ? json.string(base64_of(*vectors[i])) : write_vector(json, *vectors[i]);
      json.end_object();
    }
    json.end_array();
    json.member("model", form_.model);
  }

  // Of each pair.
  std::vector<double> scores_of(const Vectors& vectors) const {
    std::vector<double> scores;
    if (!form_.by_cosine) {
      for (const auto* score : vectors) scores.push_back(score->at(0));
      return scores;
    }
    for (std::size_t i = form_.queries; i < vectors.size(); ++i) {
      const std::size_t query = form_.queries == 1 ? 0 : i - form_.queries;
      scores.push_back(cosine(*vectors[query], *vectors[i]));
    }
    return scores;
  }

  // The best first; of equals the one that was sent first.
  void write_ranking(JsonWriter& json, const std::vector<double>& scores) const {
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order,
                             [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
    if (form_.most_results > 0) order.resize(std::min(order.size(), form_.most_results));
    json.member("id", "rerank-" + random_hex(32));
    json.member("object", "list");
    json.member("model", form_.model);
    json.key("results");
    json.begin_array();
    for (const std::size_t index : order) {
      json.begin_object();
      json.member("index", index);
      if (!form_.documents.empty()) {
        json.key("document");
        json.begin_object();
        json.member("text", form_.documents.at(index));
        json.end_object();
      }
      json.member("relevance_score", scores[index]);
      json.end_object();
    }
    json.end_array();
  }

  void write_scores(JsonWriter& json, const std::vector<double>& scores) const {
    json.member("id", "score-" + random_hex(32));
    json.member("object", "list");
    json.member("created", unix_time());
    json.member("model", form_.model);
    json.key("data");
    json.begin_array();
    for (std::size_t i = 0; i < scores.size(); ++i) {
      json.begin_object();
      json.member("index", i);
      json.member("object", "score");
      json.member("score", scores[i]);
      json.end_object();
    }
    json.end_array();
  }

  void write_ollama(JsonWriter& json, const Vectors& vectors, const Usage& usage) const {
    json.member("model", form_.model);
    json.key("embeddings");
    json.begin_array();
    for (const auto* vector : vectors) write_vector(json, *vector);
    json.end_array();
    json.member("total_duration", static_cast<std::int64_t>(times_.end * 1e9));
    json.member("load_duration", std::int64_t{0});
    json.member("prompt_eval_count", usage.prompt_tokens);
  }

  const AnswerForm form_;
  AnswerTimes times_;
};

}  // namespace

std::unique_ptr<AnswerWriter> make_writer(AnswerForm form) {
  return std::make_unique<EmbeddingWriter>(std::move(form));
}

std::string base64_of(const std::vector<float>& values) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::uint8_t> bytes;
  bytes.reserve(values.size() * 4 + 2);
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<std::uint8_t>(bits >> shift));
    }
  }
  const std::size_t padding = (3 - bytes.size() % 3) % 3;
  bytes.resize(bytes.size() + padding);
  std::string text;
  text.reserve(bytes.size() / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::uint32_t three = bytes[i] << 16 | bytes[i + 1] << 8 | bytes[i + 2];
    for (int shift = 18; shift >= 0; shift -= 6) text += kDigits[three >> shift & 63];
  }
  std::fill(text.end() - static_cast<std::ptrdiff_t>(padding), text.end(), '=');
  return text;
}

}  // namespace mlxd::api::embeddings
