// What transformers makes of texts with the tiny models that embed and score them
// (make_tiny_encoders.py), and a runner asked for the same.
#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "engine/model_runner.h"
#include "model/encoder_plan.h"

namespace mlxd::golden {

inline constexpr const char* kTinyEncoders[] = {
    "bert",        "bert.gguf",        "bert-cross",        "bert-cross.gguf",
    "xlm-roberta", "xlm-roberta.gguf", "xlm-roberta-cross", "xlm-roberta-cross.gguf",
    "nomic-bert",  "nomic-bert.gguf",  "modernbert",        "modernbert.gguf"};

struct EncodedText {
  std::string first, second;  // `second` of a pair alone
  std::vector<int> tokens;
  int second_begin = 0;
  std::vector<float> expected;  // as it is answered: of length 1, a score below 1
};

inline std::filesystem::path tiny_model(const std::string& name) {
  return std::filesystem::path(MLXD_TEST_DATA) / "golden/tiny" / name;
}

// Of "bert", "bert-cross", ...; a GGUF file has those of its folder. "minilm": what
// sentence-transformers makes of some with all-MiniLM-L6-v2 (make_minilm.py).
inline std::vector<EncodedText> encoded_texts(const std::string& name) {
  const std::string stem = std::filesystem::path(name).stem().string();
  std::ifstream file(name == "minilm" ? std::filesystem::path(MLXD_TEST_DATA) / "golden/minilm.json"
                                      : tiny_model(stem + ".json"));
  const std::string json{std::istreambuf_iterator<char>(file), {}};
  const auto root = boost::json::parse(json).as_object();
  const bool pairs = root.contains("pairs");
  std::vector<EncodedText> texts;
  for (const auto& each : root.at(pairs ? "pairs" : "texts").as_array()) {
    EncodedText text;
    text.tokens = boost::json::value_to<std::vector<int>>(each.at("tokens"));
    text.first = each.at(pairs ? "first" : "text").as_string().c_str();
    if (pairs) {
      text.second = each.at("second").as_string().c_str();
      text.second_begin = static_cast<int>(each.at("second_begin").as_int64());
      text.expected = {static_cast<float>(each.at("score").as_double())};
    } else {
      text.expected = boost::json::value_to<std::vector<float>>(each.at("vector"));
    }
    texts.push_back(std::move(text));
  }
  return texts;
}

inline double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}
inline double cosine(std::span<const float> a, std::span<const float> b) {
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

// What an encoder gives for the texts in one step: [texts][pooled_size].
inline std::vector<std::vector<float>> pool_together(ModelRunner& runner,
                                                     std::span<const EncodedText> texts) {
  Batch batch;
  for (const EncodedText& text : texts) {
    const auto length = static_cast<int>(text.tokens.size());
    BatchSequence sequence;
    sequence.first_row = batch.rows();
    sequence.query_length = sequence.context_length = length;
    sequence.second_begin = text.second_begin;
    batch.sequences.push_back(sequence);
    for (int i = 0; i < length; ++i) {
      batch.tokens.push_back(text.tokens[i]);
      batch.positions.push_back(i);
    }
    batch.wanted.push_back({batch.rows() - 1, RowOutput::pooled});
  }
  StepOutput output;
  runner.step(batch, output);
  const auto size = static_cast<std::size_t>(runner.info().pooled_size);
  std::vector<std::vector<float>> pooled;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto begin = output.pooled.begin() + static_cast<std::ptrdiff_t>(i * size);
    pooled.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(size));
  }
  return pooled;
}

}  // namespace mlxd::golden
