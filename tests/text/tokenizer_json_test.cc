// tokenizer.json files, as they should be and as an attacker would have them.
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace mlxd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Parts {
  std::string added = R"([{"id":4,"content":"<s>","single_word":false,"lstrip":false,
    "rstrip":false,"normalized":false,"special":true}])";
  std::string normalizer = "null";
  std::string pre_tokenizer =
      R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
  std::string post_processor = R"({"type":"TemplateProcessing",
    "single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
    "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
    "special_tokens":{"<s>":{"id":"<s>","ids":[4],"tokens":["<s>"]}}})";
  std::string decoder =
      R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
  std::string vocabulary = R"({"a":0,"b":1,"ab":2,"\u0120":3})";
  std::string merges = R"(["a b"])";
  std::string extra;

  std::string json() const {
    return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)" + added +
           R"(,"normalizer":)" + normalizer + R"(,"pre_tokenizer":)" + pre_tokenizer +
           R"(,"post_processor":)" + post_processor + R"(,"decoder":)" + decoder +
           R"(,"model":{"type":"BPE","dropout":null,"unk_token":null,)" + extra + R"("vocab":)" +
           vocabulary + R"(,"merges":)" + merges + "}}";
  }
};

std::shared_ptr<const Tokenizer> load(const std::string& json) {
  Vocabulary vocabulary;
  vocabulary.source = "tokenizer.json";
  vocabulary.tokenizer_json = json;
  return Tokenizer::load(vocabulary);
}

std::string load_error(const std::string& json) {
  try {
    load(json);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

TEST(TokenizerJson, IsRead) {
  const auto tokenizer = load(Parts().json());
  EXPECT_EQ(tokenizer->vocab_size(), 5);
  const auto ids = tokenizer->encode("ab a<s>", true, true);
  ASSERT_TRUE(ids);
  EXPECT_THAT(*ids, ElementsAre(4, 2, 3, 0, 4));
  EXPECT_EQ(tokenizer->decode(*ids), "ab a");
  EXPECT_TRUE(tokenizer->is_special(4));
}

TEST(TokenizerJson, SentencePieceDecodersAreUnderstood) {
  Parts parts;
  parts.pre_tokenizer = R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"first",
    "split":false})";
  parts.decoder = R"({"type":"Sequence","decoders":[
    {"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},
    {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})";
  parts.vocabulary = R"({"a":0,"b":1,"ab":2,"▁":3,"<s>":4,"<0xE2>":5})";
  const auto tokenizer = load(parts.json());
  EXPECT_TRUE(tokenizer->strips_leading_space());
  EXPECT_EQ(tokenizer->token_bytes(3), " ");
  EXPECT_EQ(tokenizer->token_bytes(5), "\xE2");
  const auto ids = tokenizer->encode("a b", false, false);
  ASSERT_TRUE(ids);
  EXPECT_EQ(tokenizer->decode(*ids), "a b");
}

// What Detokenizer makes of the tokens one by one, and decode of all; they must agree.
std::string shown(const std::shared_ptr<const Tokenizer>& tokenizer, std::vector<int> tokens) {
  Detokenizer detokenizer(tokenizer);
  std::string text;
  for (const int token : tokens) text += detokenizer.push(token);
  text += detokenizer.finish();
  EXPECT_EQ(text, tokenizer->decode(tokens));
  return text;
}

// The expected texts are those of `tokenizers` 0.22 for the same tokens.
TEST(TokenizerJson, EveryDecoderJoinsAsItsLibraryDoes) {
  Parts parts;
  parts.merges = "[]";
  parts.vocabulary = R"({"play":0,"##ing":1,",":2,"'s":3,"do":4})";
  parts.added = "[]";
  parts.post_processor = "null";
  parts.decoder = R"({"type":"WordPiece","prefix":"##","cleanup":true})";
  EXPECT_EQ(shown(load(parts.json()), {0, 1, 2, 4, 3}), "playing, do's");
  parts.decoder = R"({"type":"WordPiece","prefix":"##","cleanup":false})";
  EXPECT_EQ(shown(load(parts.json()), {0, 1, 2, 4, 3}), "playing , do 's");

  parts.vocabulary = R"({"play":0,"ing</w>":1,"do</w>":2,"\u00e9</w>":3})";
  parts.decoder = R"({"type":"BPEDecoder","suffix":"</w>"})";
  EXPECT_EQ(shown(load(parts.json()), {0, 1, 2, 3}), "playing do \u00e9");
  EXPECT_EQ(shown(load(parts.json()), {0, 1, 0}), "playing play");

  parts.vocabulary = R"({"<pad>":0,"h":1,"i":2,"|":3})";
  parts.decoder = R"({"type":"CTC","pad_token":"<pad>","word_delimiter_token":"|","cleanup":true})";
  EXPECT_EQ(shown(load(parts.json()), {0, 1, 1, 0, 2, 3, 3, 2, 0, 2}), "hi ii");

  parts.vocabulary = R"({"play":0,"do":1})";
  parts.decoder = "null";
  EXPECT_EQ(shown(load(parts.json()), {0, 1, 0}), "play do play");
}

TEST(TokenizerJson, TheDecoderRunsOverAddedTokensThatAreNotSpecial) {
  Parts parts;
  parts.pre_tokenizer = "null";
  parts.post_processor = "null";
  parts.normalizer = R"({"type":"Replace","pattern":{"String":" "},"content":"▁"})";
  parts.decoder = R"({"type":"Sequence","decoders":[
    {"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},
    {"type":"Fuse"}]})";
  parts.vocabulary = R"({"a":0,"b":1,"ab":2,"▁":3,"▁▁▁▁":4,"<s▁>":5})";
  parts.added = R"([{"id":4,"content":"▁▁▁▁","single_word":false,"lstrip":false,
    "rstrip":false,"normalized":false,"special":false},
    {"id":5,"content":"<s▁>","single_word":false,"lstrip":false,
    "rstrip":false,"normalized":false,"special":true}])";
  const auto tokenizer = load(parts.json());
  EXPECT_EQ(shown(tokenizer, {0, 4, 1}), "a    b");
  EXPECT_EQ(tokenizer->token_bytes(5, true), "<s▁>");  // as a template writes it
}

TEST(TokenizerJson, DropoutDoesNotMakePromptsRandom) {
  Parts parts;
  std::string json = parts.json();
  json.replace(json.find("\"dropout\":null"), 14, "\"dropout\":0.9 ");
  const auto tokenizer = load(json);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(tokenizer->encode("abab", false, false)->size(), 2U);
}

TEST(TokenizerJson, HostileFilesAreRefused) {
  EXPECT_THAT(load_error(repeated("[", 1000000)), HasSubstr("tokenizer.json"));
  EXPECT_NE(load_error("{}"), "");
  EXPECT_NE(load_error("[]"), "");
  EXPECT_NE(load_error("\xFF"), "");

  Parts nested;  // the untagged forms of `tokenizers` are tried in exponentially many ways
  nested.normalizer = repeated(R"({"normalizers":[)", 30) + repeated("]}", 30);
  EXPECT_THAT(load_error(nested.json()), HasSubstr("nested"));

  Parts long_token;  // a Unigram trie of such depth overflows the stack when it is freed
  long_token.vocabulary = "{\"" + std::string(1 << 20, 'a') + "\":0}";
  EXPECT_THAT(load_error(long_token.json()), HasSubstr("1048576 bytes"));
  std::string unigram = Parts().json();
  unigram = unigram.substr(0, unigram.find("\"model\"")) +
            R"("model":{"type":"Unigram","unk_id":0,"vocab":[[")" + std::string(1 << 20, 'a') +
            R"(",-1.0]]}})";
  EXPECT_THAT(load_error(unigram), HasSubstr("1048576 bytes"));

  Parts huge_id;
  huge_id.vocabulary = R"({"a":0,"b":1,"ab":4294967295})";
  EXPECT_THAT(load_error(huge_id.json()), HasSubstr("4294967295"));
  Parts negative_id;
  negative_id.vocabulary = R"({"a":0,"b":1,"ab":-1})";
  EXPECT_NE(load_error(negative_id.json()), "");
  Parts moved;
  moved.added.replace(moved.added.find("\"id\":4"), 6, "\"id\":9");
  EXPECT_THAT(load_error(moved.json()), HasSubstr("\"<s>\" has the id 9"));

  Parts bomb;  // each character of a prompt would become a megabyte
  bomb.normalizer = R"({"type":"Replace","pattern":{"String":"a"},"content":")" +
                    std::string(1 << 20, 'b') + "\"}";
  EXPECT_THAT(load_error(bomb.json()), HasSubstr("content"));

  Parts regex;
  regex.pre_tokenizer = R"({"type":"Split","behavior":"Isolated","invert":false,
    "pattern":{"Regex":"(((a{1000}){1000}){1000}){1000}"}})";
  EXPECT_NE(load_error(regex.json()), "");

  Parts missing;
  missing.merges = R"(["a zz"])";
  EXPECT_NE(load_error(missing.json()), "");

  Parts decoder;
  decoder.decoder = R"({"type":"Nonesuch"})";
  EXPECT_THAT(load_error(decoder.json()), HasSubstr("Nonesuch"));
  decoder.decoder = R"({"type":"BPEDecoder","suffix":""})";
  EXPECT_THAT(load_error(decoder.json()), HasSubstr("empty suffix"));

  Parts processor;  // an added id that no token has
  const std::size_t at = processor.post_processor.find("\"ids\":[4]");
  processor.post_processor.replace(at, 9, "\"ids\":[77]");
  EXPECT_THAT(load_error(processor.json()), HasSubstr("77"));
}

TEST(TokenizerJson, WhatPanicsInsideIsAnError) {
  Parts parts;  // chunks of no length
  parts.pre_tokenizer = R"({"type":"FixedLength","length":0})";
  std::string message = load_error(parts.json());
  if (message.empty()) {
    const auto ids = load(parts.json())->encode("ab", false, false);
    ASSERT_FALSE(ids);
    message = ids.error().message;
  }
  EXPECT_THAT(message, HasSubstr("chunk"));
}

TEST(TokenizerJson, APatternThatBacktracksEndsInTime) {
  Parts parts;
  parts.pre_tokenizer = R"({"type":"Split","behavior":"Isolated","invert":false,
    "pattern":{"Regex":"(a|a|aa)+(?=b)c"}})";
  const auto ids = load(parts.json())->encode(std::string(5000, 'a'), false, false);
  EXPECT_TRUE(ids);
}

TEST(TokenizerJson, MutationsNeverCrash) {
  const std::string original = Parts().json();
  const std::string alphabet = "{}[]\",:0919-aeu\\ntrl ";
  std::mt19937 random(7);
  int loaded = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string json = original;
    for (unsigned i = 0; i < 1 + random() % 4; ++i) {
      const std::size_t at = random() % json.size();
      switch (random() % 3) {
        case 0:
          json[at] = alphabet[random() % alphabet.size()];
          break;
        case 1:
          json.erase(at, 1 + random() % 20);
          break;
        default:
          json.insert(at, json.substr(random() % json.size(), random() % 30));
          break;
      }
    }
    try {
      const auto tokenizer = load(json);
      ++loaded;
      const auto ids = tokenizer->encode("ab <s> \xC3\xA9", true, true);
      if (ids) tokenizer->decode(*ids);
    } catch (const LoadError&) {
    }
  }
  EXPECT_GT(loaded, 100);
}

}  // namespace
}  // namespace mlxd
