// The real vocabularies against llama.cpp: tests/golden/tokens/make.py made the reference.
#include "text/golden_tokens.h"

#include <cstdint>
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "text/real_vocabulary.h"

namespace mlxd {
namespace {

namespace json = boost::json;

std::string hash_of(const std::vector<int>& ids) {
  testing::Fnv1a hash;
  for (const int id : ids) hash.add(static_cast<std::uint32_t>(id));
  return hash.str();
}

const json::value& reference() {
  static const json::value parsed = testing::read_golden("reference.json");
  return parsed;
}

// Whole ids where the reference has them, so that a difference can be read; else the hash.
std::string as_reference(const json::value& expected, const std::vector<int>& ids) {
  return expected.is_string() ? hash_of(ids) : json::serialize(json::value_from(ids));
}

class GoldenTokens : public ::testing::TestWithParam<std::string> {
 protected:
  const json::value& model() const { return reference().at("models").at(GetParam()); }
  std::shared_ptr<const Tokenizer> load() const {
    const std::string file(model().at("file").as_string());
    return Tokenizer::load(testing::read_vocabulary(file));
  }
};

TEST_P(GoldenTokens, NastyStringsAreTokenisedAsByLlamaCpp) {
  const auto tokenizer = load();
  const json::array& cases = reference().at("cases").as_array();
  const json::array& expected = model().at("tokens").as_array();
  ASSERT_EQ(cases.size(), expected.size());
  ASSERT_GT(cases.size(), 3000U);
  int differing = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const json::string& text = cases[i].at(0).as_string();
    const bool parse_special = cases[i].at(1).as_int64() == 1;
    const auto ids = tokenizer->encode(std::string_view(text), false, parse_special);
    ASSERT_TRUE(ids) << ids.error().message;
    const std::string want = expected[i].is_string() ? std::string(expected[i].as_string())
                                                     : json::serialize(expected[i]);
    if (as_reference(expected[i], *ids) == want) continue;
    if (++differing > 20) continue;
    ADD_FAILURE() << "case " << i << ", special tokens " << parse_special << ": "
                  << json::serialize(cases[i].at(0)) << "\n  is "
                  << json::serialize(json::value_from(*ids)) << "\n  reference " << want;
  }
  EXPECT_EQ(differing, 0) << "of " << cases.size();
}

TEST_P(GoldenTokens, EveryTokenStandsForTheSameBytes) {
  const auto tokenizer = load();
  const int left_out = tokenizer->token_id("</s>");  // make.py says why
  testing::Fnv1a hash;
  for (int id = 0; id < tokenizer->vocab_size(); ++id) {
    const std::string_view bytes = id == left_out ? "" : tokenizer->token_bytes(id);
    hash.add(static_cast<std::uint32_t>(bytes.size()));
    hash.add(bytes);
  }
  EXPECT_EQ(hash.str(), std::string_view(model().at("pieces").as_string()));
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTokens, ::testing::Values("smollm2", "qwen2", "gemma3"),
                         [](const auto& p) { return p.param; });

}  // namespace
}  // namespace mlxd
