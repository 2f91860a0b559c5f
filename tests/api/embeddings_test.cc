// Endpoints of embeddings, scores and rankings on a scripted model, whose vectors say how long
// their texts were.
#include <cmath>
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/embeddings/wire.h"
#include "api/scripted_api.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;

class Embeddings : public ScriptedApi {
 protected:
  json::value answer(const std::string& path, const std::string& body) {
    const auto exchange = post(path, body);
    EXPECT_EQ(exchange->response_.status, 200) << exchange->response_.body;
    return json::parse(exchange->response_.body);
  }
  std::string refusal(const std::string& path, const std::string& body) {
    const auto exchange = post(path, body);
    EXPECT_EQ(exchange->response_.status, 400) << body;
    const auto error = json::parse(exchange->response_.body).at("error");
    return std::string(error.is_string() ? error.as_string() : error.at("message").as_string());
  }
  void score_pairs() { model_->card.pooled = PooledOutput{.is_score = true}; }
};

TEST_F(Embeddings, OfOneTextAndOfSeveral) {
  const auto one = answer("/v1/embeddings", R"({"model":"tiny","input":"four"})");
  EXPECT_EQ(one.at("object"), "list");
  EXPECT_EQ(one.at("model"), "org/tiny");
  EXPECT_EQ(json::serialize(one.at("data")),
            R"([{"object":"embedding","index":0,"embedding":[4,1,0,0]}])");
  EXPECT_EQ(one.at("usage").at("prompt_tokens"), 4);
  EXPECT_EQ(one.at("usage").at("total_tokens"), 4);

  const auto two = answer("/v1/embeddings", R"({"model":"tiny","input":["a","bcd"]})");
  ASSERT_EQ(two.at("data").as_array().size(), 2u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(two.at("data").at(i).at("index"), i);
    EXPECT_EQ(two.at("data").at(i).at("embedding").at(0).to_number<int>(), i == 0 ? 1 : 3);
  }
}

TEST_F(Embeddings, OfTokens) {
  answer("/v1/embeddings", R"({"model":"tiny","input":[5,6,7]})");
  EXPECT_EQ(std::get<std::vector<int>>(model_->run(0)->embedded.inputs.at(0).text),
            (std::vector<int>{5, 6, 7}));
  answer("/v1/embeddings", R"({"model":"tiny","input":[[5],[6,7]]})");
  ASSERT_EQ(model_->run(1)->embedded.inputs.size(), 2u);
  EXPECT_EQ(std::get<std::vector<int>>(model_->run(1)->embedded.inputs[1].text),
            (std::vector<int>{6, 7}));
}

TEST_F(Embeddings, AsBase64OfFloats) {
  const auto body =
      answer("/v1/embeddings", R"({"model":"tiny","input":"four","encoding_format":"base64"})");
  EXPECT_EQ(body.at("data").at(0).at("embedding"), "AACAQAAAgD8AAAAAAAAAAA==");
  EXPECT_EQ(embeddings::base64_of({}), "");
  EXPECT_EQ(embeddings::base64_of({1}), "AACAPw==");
  EXPECT_EQ(embeddings::base64_of({1, -2, 0.5}), "AACAPwAAAMAAAAA/");
}

TEST_F(Embeddings, ParametersReachTheModel) {
  answer("/v1/embeddings", R"({"model":"tiny","input":"x","dimensions":2,"user":"u","priority":3,
      "truncate_prompt_tokens":-1,"add_special_tokens":false,"timeout":5})");
  const EmbedRequest& request = model_->run(0)->embedded;
  EXPECT_EQ(request.dimensions, 2);
  EXPECT_FALSE(request.add_special);
  EXPECT_GT(request.longest.value_or(0), 1 << 30);
  EXPECT_EQ(request.job.priority, 3);
  EXPECT_EQ(request.job.id, "req-1");
}

TEST_F(Embeddings, MistakesAreNamed) {
  const auto says = [&](const std::string& more) {
    return refusal("/v1/embeddings", R"({"model":"tiny")" + more + "}");
  };
  EXPECT_THAT(says(""), HasSubstr("'input' is missing"));
  EXPECT_THAT(says(R"(,"input":[])"), HasSubstr("0 entries; send 1 to 2048"));
  EXPECT_THAT(says(R"(,"input":7)"), HasSubstr("'input' is an integer"));
  EXPECT_THAT(says(R"(,"input":["a",null])"), HasSubstr("'input[1]'"));
  EXPECT_THAT(says(R"(,"input":[1,-2])"), HasSubstr("'input[1]' is not a token id"));
  EXPECT_THAT(says(R"(,"input":[[1],[2.5]])"), HasSubstr("'input[1][0]' is not a token id"));
  EXPECT_THAT(says(R"(,"input":"x","encoding_format":"int8")"), HasSubstr("base64"));
  EXPECT_THAT(says(R"(,"input":"x","dimensions":0)"), HasSubstr("'dimensions'"));
  EXPECT_THAT(says(R"(,"input":"x","truncate_prompt_tokens":0)"), HasSubstr("1 or more"));
  EXPECT_THAT(says(R"(,"input":"x","stream":true)"), HasSubstr("'stream'"));
  EXPECT_THAT(says(R"(,"input":"x","timeout":1e5)"), HasSubstr("'timeout'"));
  EXPECT_THAT(refusal("/v1/embeddings", R"({"input":"x"})"), HasSubstr("'model' is missing"));
  std::string many;
  for (int i = 0; i < 2049; ++i) many += i == 0 ? R"("x")" : R"(,"x")";
  EXPECT_THAT(says(R"(,"input":[)" + many + "]"), HasSubstr("2049 entries"));
}

TEST_F(Embeddings, WhatTheModelRefusesIsTheAnswer) {
  Error error;
  error.code = "context_length_exceeded";
  error.message = "too long";
  model_->refuse_after(0, error);
  EXPECT_EQ(refusal("/v1/embeddings", R"({"model":"tiny","input":"x"})"), "too long");
}

TEST_F(Embeddings, RankDocumentsByTheModelsScores) {
  score_pairs();
  for (const char* path : {"/v1/rerank", "/v2/rerank", "/rerank"}) {
    const auto body = answer(path, R"({"model":"tiny","query":"ab","documents":
        ["cd",{"text":"efghij"},"k"]})");
    const auto& results = body.at("results").as_array();
    ASSERT_EQ(results.size(), 3u);
    EXPECT_EQ(results[0].at("index"), 1);
    EXPECT_EQ(results[0].at("document").at("text"), "efghij");
    EXPECT_DOUBLE_EQ(results[0].at("relevance_score").to_number<double>(), 0.75);
    EXPECT_EQ(results[1].at("index"), 0);
    EXPECT_EQ(results[2].at("index"), 2);
  }
  const EmbedRequest& request = model_->run(0)->embedded;
  ASSERT_EQ(request.inputs.size(), 3u);
  EXPECT_EQ(std::get<std::string>(request.inputs[2].text), "ab");
  EXPECT_EQ(request.inputs[2].second, "k");
}

TEST_F(Embeddings, RankNoMoreThanWasAskedFor) {
  score_pairs();
  const auto body = answer("/v1/rerank", R"({"model":"tiny","query":"ab","top_n":1,
      "return_documents":false,"documents":["c","defg"]})");
  EXPECT_EQ(json::serialize(body.at("results")).find("document"), std::string::npos);
  ASSERT_EQ(body.at("results").as_array().size(), 1u);
  EXPECT_EQ(body.at("results").at(0).at("index"), 1);
}

TEST_F(Embeddings, RankByCosineWhereAModelEmbeds) {
  model_->card.pooled.emplace();
  const auto body =
      answer("/v1/rerank", R"({"model":"tiny","query":"abcd","documents":["x","efgh"]})");
  EXPECT_EQ(model_->run(0)->embedded.inputs.size(), 3u);
  EXPECT_EQ(body.at("results").at(0).at("index"), 1);
  EXPECT_NEAR(body.at("results").at(0).at("relevance_score").to_number<double>(), 1, 1e-12);
  EXPECT_NEAR(body.at("results").at(1).at("relevance_score").to_number<double>(),
              5 / std::sqrt(17.0 * 2), 1e-12);
}

TEST_F(Embeddings, ScorePairsAndOneAgainstAll) {
  score_pairs();
  const auto one = answer("/v1/score", R"({"model":"tiny","text_1":"ab","text_2":["c","defghi"]})");
  EXPECT_EQ(one.at("data").at(1).at("index"), 1);
  EXPECT_DOUBLE_EQ(one.at("data").at(1).at("score").to_number<double>(), 0.75);
  const auto each =
      answer("/score", R"({"model":"tiny","queries":["a","b"],"documents":["c","def"]})");
  EXPECT_DOUBLE_EQ(each.at("data").at(0).at("score").to_number<double>(), 0.5);
  EXPECT_DOUBLE_EQ(each.at("data").at(1).at("score").to_number<double>(), 0.75);
  EXPECT_THAT(refusal("/v1/score", R"({"model":"tiny","text_1":["a","b"],"text_2":"c"})"),
              HasSubstr("has 2 texts and 'text_2' 1"));
  EXPECT_THAT(refusal("/v1/score", R"({"model":"tiny","text_1":"a"})"),
              HasSubstr("'text_2' is missing"));
}

TEST_F(Embeddings, OfOllamasClients) {
  const auto body = answer("/api/embed", R"({"model":"tiny:latest","input":["a","bc"],
      "truncate":true,"options":{"num_ctx":8},"keep_alive":"5m"})");
  EXPECT_EQ(json::serialize(body.at("embeddings")), "[[1,1,0,0],[2,1,0,0]]");
  EXPECT_EQ(body.at("prompt_eval_count"), 3);
  EXPECT_TRUE(model_->run(0)->embedded.longest.has_value());
  answer("/api/embed", R"({"model":"tiny","input":"a","truncate":false})");
  EXPECT_FALSE(model_->run(1)->embedded.longest.has_value());
  const auto old = answer("/api/embeddings", R"({"model":"tiny","prompt":"abc"})");
  EXPECT_EQ(json::serialize(old.at("embedding")), "[3,1,0,0]");
  EXPECT_THAT(refusal("/api/embed", R"({"model":"tiny"})"), HasSubstr("'input' is missing"));
}

}  // namespace
}  // namespace mlxd::api
