// What model files leave unsaid or say in several places, against llama.cpp and transformers:
// tests/golden/tokens/make_gguf_defaults.py and make_folders.py made the references.
#include <algorithm>
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "model/sample_models.h"
#include "model/vocabulary_reader.h"
#include "text/golden_tokens.h"
#include "text/tokenizer.h"

namespace mlxd {
namespace {

namespace json = boost::json;

std::string text_of(const json::value& value) { return std::string(value.as_string()); }
std::vector<int> ids_of(const json::value& value) {
  return json::value_to<std::vector<int>>(value);
}

// The vocabulary that one case of gguf_defaults.json describes.
Vocabulary read_case(const json::value& alphabet, const json::value& each) {
  std::vector<std::string> tokens;
  for (const json::value& byte : alphabet.as_array()) tokens.push_back(text_of(byte));
  tokens.push_back("ab");
  std::vector<std::int32_t> types(tokens.size(), 1);
  for (const json::value& token : each.at("tokens").as_array()) {
    tokens.push_back(text_of(token.at(0)));
    types.push_back(token.at(1).to_number<int>());
  }
  const auto id_of = [&](const char* role) {
    const auto found = std::find(tokens.begin(), tokens.end(), text_of(each.at(role)));
    return static_cast<std::uint32_t>(found - tokens.begin());
  };
  test::GgufWriter writer;
  writer.text("general.name", text_of(each.at("general_name")))
      .text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", text_of(each.at("pre")))
      .texts("tokenizer.ggml.tokens", tokens)
      .integers("tokenizer.ggml.token_type", types)
      .texts("tokenizer.ggml.merges", {"a b"})
      .number("tokenizer.ggml.bos_token_id", id_of("bos"))
      .number("tokenizer.ggml.eos_token_id", id_of("eos"));
  for (const auto& [flag, value] : each.at("flags").as_object()) {
    writer.boolean("tokenizer.ggml." + std::string(flag), value.as_bool());
  }
  const auto bytes = writer.bytes();
  return read_gguf_vocabulary(*GgufFile::parse(bytes, "small.gguf"));
}

TEST(GgufDefaults, AreThoseOfLlamaCpp) {
  const json::value fixture = testing::read_golden("gguf_defaults.json");
  for (const json::value& each : fixture.at("cases").as_array()) {
    SCOPED_TRACE(text_of(each.at("name")));
    const Vocabulary vocabulary = read_case(fixture.at("alphabet"), each);
    std::vector<int> ends = vocabulary.stop_ids;
    std::sort(ends.begin(), ends.end());
    EXPECT_EQ(ends, ids_of(each.at("ends")));

    const auto tokenizer = Tokenizer::load(vocabulary);
    const auto& texts = each.at("texts").as_array();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto ids = tokenizer->encode(std::string_view(texts[i].as_string()), true, true);
      ASSERT_TRUE(ids);
      EXPECT_EQ(*ids, ids_of(each.at("ids").at(i))) << texts[i];
    }
    if (each.at("name") == "gpt-oss") continue;  // the script says why
    std::vector<int> control;
    for (int id = 0; id < tokenizer->vocab_size(); ++id) {
      if (vocabulary.types[static_cast<std::size_t>(id)] == 3) control.push_back(id);
    }
    EXPECT_EQ(control, ids_of(each.at("control")));
  }
}

// A folder with the files of one case of folders.json.
Vocabulary read_folder(const json::value& tokenizer, const json::value& files) {
  const test::TemporaryFolder folder;
  folder.write("tokenizer.json", json::serialize(tokenizer));
  for (const auto& [name, content] : files.as_object()) {
    folder.write(std::string(name), json::serialize(content));
  }
  return read_folder_vocabulary(folder.path(), JsonFields::parse("{}", "config.json"), 64);
}

TEST(FolderVocabulary, ReadsTheTokensOfEveryFileAsTransformersDoes) {
  const json::value fixture = testing::read_golden("folders.json");
  const auto& texts = fixture.at("texts").as_array();
  for (const json::value& each : fixture.at("cases").as_array()) {
    SCOPED_TRACE(text_of(each.at("name")));
    const Vocabulary vocabulary = read_folder(fixture.at("tokenizer"), each.at("files"));
    std::map<std::string, std::string> roles;
    for (const auto& [name, text] : each.at("roles").as_object()) {
      roles[std::string(name)] = text_of(text);
    }
    EXPECT_EQ(vocabulary.special_tokens, roles);

    const auto tokenizer = Tokenizer::load(vocabulary);
    for (const json::value& added : each.at("added").as_array()) {
      const int id = added.at(0).to_number<int>();
      EXPECT_EQ(tokenizer->token_bytes(id, true), text_of(added.at(1)));
      EXPECT_EQ(tokenizer->is_special(id), added.at(2).as_bool()) << id;
    }
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto ids = tokenizer->encode(std::string_view(texts[i].as_string()), true, true);
      ASSERT_TRUE(ids);
      EXPECT_EQ(*ids, ids_of(each.at("ids").at(i))) << texts[i];
    }
  }
}

TEST(FolderVocabulary, RefusesAnIdThatTheTokenCannotHave) {
  const json::value fixture = testing::read_golden("folders.json");
  const json::value files = json::parse(R"({"added_tokens.json": {"<s>": 12}})");
  const Vocabulary vocabulary = read_folder(fixture.at("tokenizer"), files);
  try {
    Tokenizer::load(vocabulary);
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_NE(std::string(error.what()).find("\"<s>\" has the id 12 in a file beside it"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace mlxd
