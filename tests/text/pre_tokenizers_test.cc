// Each pre-tokeniser by name, with a vocabulary whose merges run across every cut:
// tests/golden/tokens/make_pre_tokenizers.py made the reference.
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "text/golden_tokens.h"
#include "text/tokenizer.h"

namespace mlxd {
namespace {

namespace json = boost::json;

const json::value& fixture() {
  static const json::value parsed = testing::read_golden("pre_tokenizers.json");
  return parsed;
}

Vocabulary vocabulary_of(const std::string& pre_tokenizer) {
  Vocabulary vocabulary;
  vocabulary.source = "pre_tokenizers.json";
  vocabulary.model = "gpt2";
  vocabulary.pre_tokenizer = pre_tokenizer;
  for (const json::value& byte : fixture().at("alphabet").as_array()) {
    vocabulary.tokens.emplace_back(std::string_view(byte.as_string()));
  }
  for (const json::value& merge : fixture().at("merges").as_array()) {
    std::string text(std::string_view{merge.as_string()});
    vocabulary.merges.push_back(text);
    vocabulary.tokens.push_back(text.erase(text.find(' '), 1));
  }
  return vocabulary;
}

TEST(PreTokenizers, CutTextsAsTheReferenceDoes) {
  const json::value cases = testing::read_golden("reference.json");
  for (const auto& [name, expected] : fixture().at("hashes").as_object()) {
    const auto tokenizer = Tokenizer::load(vocabulary_of(std::string(name)));
    testing::Fnv1a hash;
    for (const json::value& entry : cases.at("cases").as_array()) {
      if (entry.at(1).as_int64() == 1) continue;
      const auto ids = tokenizer->encode(std::string_view(entry.at(0).as_string()), false, false);
      ASSERT_TRUE(ids);
      hash.add(static_cast<std::uint32_t>(ids->size()));
      for (const int id : *ids) hash.add(static_cast<std::uint32_t>(id));
    }
    EXPECT_EQ(hash.str(), std::string_view(expected.as_string())) << name;
  }
}

}  // namespace
}  // namespace mlxd
