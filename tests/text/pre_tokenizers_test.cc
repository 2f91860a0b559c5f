// Each pre-tokeniser by name, with a vocabulary whose merges run across every cut:
// tests/golden/tokens/make_pre_tokenizers.py made the reference.
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <fmt/format.h>
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

// The hash of all ids of the cases in which special tokens are not recognised.
std::string hash_of(const Vocabulary& vocabulary) {
  static const json::value cases = testing::read_golden("reference.json");
  const auto tokenizer = Tokenizer::load(vocabulary);
  testing::Fnv1a hash;
  for (const json::value& entry : cases.at("cases").as_array()) {
    if (entry.at(1).as_int64() == 1) continue;
    const auto ids = tokenizer->encode(std::string_view(entry.at(0).as_string()), false, false);
    if (!ids) return ids.error().message;
    hash.add(static_cast<std::uint32_t>(ids->size()));
    for (const int id : *ids) hash.add(static_cast<std::uint32_t>(id));
  }
  return hash.str();
}

TEST(PreTokenizers, CutTextsAsTheReferenceDoes) {
  for (const auto& [name, expected] : fixture().at("hashes").as_object()) {
    EXPECT_EQ(hash_of(vocabulary_of(std::string(name))), std::string_view(expected.as_string()))
        << name;
  }
}

TEST(PreTokenizers, CutTextsThatAreNotEncodedByteByByteAsTheReferenceDoes) {
  const json::value& unencoded = fixture().at("unencoded");
  Vocabulary vocabulary;
  vocabulary.source = "pre_tokenizers.json";
  vocabulary.model = "gpt2";
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(fmt::format("<0x{:02X}>", byte));
  }
  vocabulary.types.assign(256, 6);
  for (const json::value& letter : unencoded.at("alphabet").as_array()) {
    vocabulary.tokens.emplace_back(std::string_view(letter.as_string()));
  }
  for (const json::value& merge : unencoded.at("merges").as_array()) {
    std::string text(std::string_view{merge.as_string()});
    vocabulary.merges.push_back(text);
    vocabulary.tokens.push_back(text.erase(text.find(' '), 1));
  }
  vocabulary.types.resize(vocabulary.tokens.size(), 1);
  for (const auto& [name, expected] : unencoded.at("hashes").as_object()) {
    vocabulary.pre_tokenizer = std::string(name);
    EXPECT_EQ(hash_of(vocabulary), std::string_view(expected.as_string())) << name;
  }
}

}  // namespace
}  // namespace mlxd
