// Whole texts through a served model: from their characters to vectors and scores, on the cpu
// backend.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "golden/encoders.h"
#include "models/local_models.h"

namespace mlxd {
namespace {

using ::testing::HasSubstr;

EngineSettings settings_with(int step_tokens) {
  EngineSettings settings;
  settings.backend.name = "cpu";
  settings.backend.threads = 2;
  settings.kv_cache_gb = 0.01;
  settings.max_running = 64;
  settings.step_tokens = step_tokens;
  return settings;
}

std::unique_ptr<ServedModel> serve(const std::filesystem::path& model, int step_tokens = 256) {
  LocalModels local({{"tiny", model}}, settings_with(step_tokens), "1");
  admit(local.memory());
  return local.load(0);
}

struct Embedded {
  std::map<int, std::vector<float>> vectors;
  GenerationEnd end;
  Error error;  // where it was refused
};

Embedded embed(ServedModel& model, EmbedRequest request) {
  Embedded result;
  auto generation = model.embed(std::move(request), {});
  if (!generation) {
    result.error = generation.error();
    return result;
  }
  while (auto event = (*generation)->next_until(Clock::now() + std::chrono::minutes(1))) {
    if (auto* delta = std::get_if<TextDelta>(&*event)) {
      result.vectors[delta->choice] = std::move(delta->vector);
    } else if (auto* end = std::get_if<GenerationEnd>(&*event)) {
      result.end = std::move(*end);
      break;
    }
  }
  return result;
}

EmbedRequest request_of(const std::vector<golden::EncodedText>& texts) {
  EmbedRequest request;
  for (const golden::EncodedText& text : texts) {
    EmbedInput& input = request.inputs.emplace_back(EmbedInput{text.first});
    if (text.second_begin > 0) input.second = text.second;
  }
  return request;
}

EmbedRequest request_of(const std::string& text) {
  EmbedRequest request;
  request.inputs.push_back({text});
  return request;
}

void expect_reference(ServedModel& model, const std::string& name, double near) {
  const auto texts = golden::encoded_texts(name);
  const Embedded result = embed(model, request_of(texts));
  ASSERT_TRUE(result.error.message.empty()) << result.error.message;
  ASSERT_EQ(result.vectors.size(), texts.size());
  int tokens = 0;
  const bool of_length_1 = name.ends_with(".gguf");  // which does not say whether
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto& vector = result.vectors.at(static_cast<int>(i));
    const auto& expected = texts[i].expected;
    ASSERT_EQ(vector.size(), expected.size());
    if (expected.size() == 1) {
      EXPECT_NEAR(vector[0], expected[0], 5 * near) << i;
    } else {
      EXPECT_GT(golden::cosine(vector, expected), 1 - near) << i;
      const double length = of_length_1 ? 1 : golden::dot(expected, expected);
      EXPECT_NEAR(golden::dot(vector, vector) / length, 1, 1e-3) << i;
    }
    tokens += static_cast<int>(texts[i].tokens.size());
  }
  EXPECT_EQ(result.end.usage.prompt_tokens, tokens);
}

TEST(ServedEmbeddings, AreThoseOfTransformers) {
  for (const char* name : golden::kTinyEncoders) {
    SCOPED_TRACE(name);
    expect_reference(*serve(golden::tiny_model(name)), name, 1e-4);
  }
}

TEST(ServedEmbeddings, OfADecoderAreItsLastRows) {
  const auto model = serve(golden::tiny_model("qwen3-embed"), 64);
  EXPECT_TRUE(model->card.generates);
  expect_reference(*model, "qwen3-embed", 1e-4);
  expect_reference(*model, "qwen3-embed", 1e-4);  // with the prefixes of before
}

TEST(ServedEmbeddings, OfMiniLmAreThoseOfSentenceTransformers) {
  const auto path = std::filesystem::path(MLXD_TEST_MODELS) / "all-MiniLM-L6-v2";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const auto model = serve(path, 512);
  EXPECT_EQ(model->info().context_length, 256);  // as its sentence_bert_config.json says
  expect_reference(*model, "minilm", 1e-3);
}

TEST(ServedEmbeddings, OfManyTextsAreBitForBitThoseOfEachAlone) {
  const auto model = serve(golden::tiny_model("bert"), 300);
  auto texts = golden::encoded_texts("bert");
  const std::size_t known = texts.size();
  while (texts.size() < 64) texts.push_back(texts[texts.size() % known]);
  const Embedded together = embed(*model, request_of(texts));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(embed(*model, request_of(texts[i].first)).vectors.at(0),
              together.vectors.at(static_cast<int>(i)));
  }
}

TEST(ServedEmbeddings, HaveNoMoreDimensionsThanAreAskedFor) {
  const auto model = serve(golden::tiny_model("bert"));
  EmbedRequest request = request_of("the cat");
  const auto whole = embed(*model, request).vectors.at(0);
  request.dimensions = 8;
  const auto part = embed(*model, request).vectors.at(0);
  ASSERT_EQ(part.size(), 8u);
  EXPECT_NEAR(golden::dot(part, part), 1, 1e-6);
  EXPECT_NEAR(golden::cosine(part, std::span(whole).first(8)), 1, 1e-6);
  request.dimensions = 33;
  EXPECT_THAT(embed(*model, request).error.message, HasSubstr("this model's vectors have 32"));
}

TEST(ServedEmbeddings, TextsThatAreTooLongAreRefusedOrCut) {
  const auto model = serve(golden::tiny_model("bert"));
  std::string text;
  for (int i = 0; i < 300; ++i) text += "cat ";
  EmbedRequest request = request_of(text);
  const Error error = embed(*model, request).error;
  EXPECT_EQ(error.code, "context_length_exceeded");
  EXPECT_THAT(error.message, HasSubstr("maximum context length is 200 tokens, but 'input' has"));

  // [CLS], as many of the text, [SEP].
  request.longest = 7;
  const auto cut = embed(*model, request);
  EXPECT_EQ(cut.end.usage.prompt_tokens, 7);
  EXPECT_EQ(cut.vectors.at(0), embed(*model, request_of("cat cat cat cat cat")).vectors.at(0));
  request.longest = 1 << 30;
  EXPECT_EQ(embed(*model, request).end.usage.prompt_tokens, 200);
}

TEST(ServedEmbeddings, WhiteSpaceAndCharactersThatNoTokenHasCountAsTheTokensThatTheyMake) {
  for (const char* name : {"bert.gguf", "xlm-roberta", "xlm-roberta.gguf"}) {
    SCOPED_TRACE(name);
    const auto model = serve(golden::tiny_model(name));
    const auto spaced = embed(*model, request_of("a" + std::string(5000, ' ') + "\u2603 cat"));
    ASSERT_EQ(spaced.error.message, "");
    EXPECT_EQ(spaced.vectors.at(0), embed(*model, request_of("a \u2603 cat")).vectors.at(0));
  }
}

TEST(ServedEmbeddings, OfAPairThatIsTooLongTheSecondTextIsCut) {
  const auto model = serve(golden::tiny_model("bert-cross"));
  EmbedRequest request = request_of("what cat");
  request.inputs[0].second = "on the mat in a box";
  const auto whole = embed(*model, request);
  EXPECT_EQ(whole.end.usage.prompt_tokens, 11);
  request.longest = 8;
  const auto cut = embed(*model, request);
  EXPECT_EQ(cut.end.usage.prompt_tokens, 8);
  request.longest.reset();
  request.inputs[0].second = "on the mat";
  EXPECT_EQ(cut.vectors.at(0), embed(*model, request).vectors.at(0));
  request.longest = 4;  // which the first has alone
  EXPECT_EQ(embed(*model, request).error.code, "context_length_exceeded");
}

TEST(ServedEmbeddings, NeedMemoryForWeightsAndAStepAndForNothingElse) {
  const LocalModels local({{"tiny", golden::tiny_model("bert")}}, settings_with(256), "1");
  const ModelMemory& memory = local.memory().models.at(0);
  EXPECT_EQ(local.memory().refusal, "");
  EXPECT_EQ(memory.kv_cache, 0u);
  EXPECT_EQ(memory.kv_token(), 0u);
  EXPECT_LT(memory.total(), std::size_t{16} << 20);
}

TEST(ServedEmbeddings, OfTokensTakeThemAsTheyAre) {
  const auto model = serve(golden::tiny_model("bert"));
  const auto text = golden::encoded_texts("bert").at(1);
  EmbedRequest request;
  request.inputs.push_back({text.tokens});
  EXPECT_EQ(embed(*model, request).vectors.at(0),
            embed(*model, request_of(text.first)).vectors.at(0));
  request.inputs = {{std::vector<int>{1, 86}}};
  EXPECT_EQ(embed(*model, request).error.code, "invalid_token_id");
  request.inputs = {{std::vector<int>{}}};
  EXPECT_EQ(embed(*model, request).error.code, "empty_prompt");
}

TEST(ServedEmbeddings, EachModelSaysWhatItIsFor) {
  const auto encoder = serve(golden::tiny_model("bert"));
  GenerateRequest chat;
  chat.prompt = TextPrompt{"a"};
  auto refused = encoder->start(std::move(chat), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 400);
  EXPECT_THAT(refused.error().message, HasSubstr("encoder and generates no text"));
  EXPECT_THAT(refused.error().message, HasSubstr("/v1/embeddings"));

  EmbedRequest pair = request_of("a");
  pair.inputs[0].second = "b";
  EXPECT_EQ(embed(*encoder, pair).error.code, "unsupported_model");

  const auto cross = serve(golden::tiny_model("bert-cross"));
  EXPECT_THAT(embed(*cross, request_of("a")).error.message, HasSubstr("/v1/rerank"));

  const auto decoder = serve(golden::tiny_model("qwen3"));
  EXPECT_THAT(embed(*decoder, request_of("a")).error.message, HasSubstr("embedding model"));
}

}  // namespace
}  // namespace mlxd
