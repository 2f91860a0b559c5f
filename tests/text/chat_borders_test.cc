// A chat tokenised in two parts, at any border of it, has the tokens of the whole; and a chat that
// is the same up to where a border is settled has it too. Over random chats, in tokenisers of all
// kinds of added tokens, normalisers and pre-tokenisers.
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "text/small_vocabulary.h"
#include "text/tokenizer.h"

namespace mlxd {
namespace {

constexpr const char* kByteLevel =
    R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
constexpr const char* kMetaspace =
    R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false})";

// Tokens that begin alike, that take space along, that are words, that are found when normalised.
std::shared_ptr<const Tokenizer> tokenizer_with(const std::string& normalizer,
                                                const std::string& pre_tokenizer) {
  const auto added = [](int id, const std::string& content, const std::string& more) {
    return R"({"id":)" + std::to_string(id) + R"(,"content":")" + content + R"(",)" + more + "}";
  };
  const std::string plain = R"("single_word":false,"lstrip":false,"rstrip":false,)";
  const std::string special = plain + R"("normalized":false,"special":true)";
  const std::string tokens =
      "[" + added(20, "<s>", special) + "," + added(21, "<s>x", special) + "," +
      added(
          22, "<e>",
          R"("single_word":false,"lstrip":true,"rstrip":true,"normalized":false,"special":true)") +
      "," +
      added(23, "<w>",
            R"("single_word":true,"lstrip":false,"rstrip":false,)"
            R"("normalized":false,"special":true)") +
      "," + added(24, "<n>", plain + R"("normalized":true,"special":false)") + "," +
      added(25, "<s>xxab", special) + "]";
  Vocabulary vocabulary;
  vocabulary.source = "tokenizer.json";
  vocabulary.tokenizer_json =
      R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)" + tokens +
      R"(,"normalizer":)" + normalizer + R"(,"pre_tokenizer":)" + pre_tokenizer +
      R"(,"post_processor":null,"decoder":null,"model":{"type":"BPE","dropout":null,)"
      R"("unk_token":"?","vocab":{"?":0,"a":1,"b":2,"x":3,"<":4,">":5,"s":6,"e":7,"w":8,"n":9,)"
      R"("▁":10,"\u0120":11,"ab":12,"▁a":13,"\u0120a":14,"xx":15,"\u010a":16," ":17,"\n":18,)"
      R"("A":19},"merges":["a b","▁ a","\u0120 a","x x"]}})";
  return Tokenizer::load(vocabulary);
}

std::vector<std::shared_ptr<const Tokenizer>> tokenizers() {
  return {tokenizer_with("null", kByteLevel),
          tokenizer_with("null", kMetaspace),
          tokenizer_with(R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
                         R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]})",
                         "null"),
          tokenizer_with(R"({"type":"Lowercase"})", kMetaspace),
          Tokenizer::load(testing::byte_level_vocabulary({"a b", "x x"})),
          Tokenizer::load(testing::sentencepiece_vocabulary({"▁a", "ab", "xx"}))};
}

class RandomChats {
 public:
  RenderedChat chat(int parts) {
    RenderedChat chat;
    extend(chat, parts);
    return chat;
  }

  void extend(RenderedChat& chat, int parts) {
    static const std::vector<std::string> kTexts = {
        "<s>",        "<s>x", "<s>xxab", "<e>", "<w>", "<n>",       "</s>", "<|im_start|>",
        "<|im_end|>", "a",    "ab",      "x",   "xx",  " ",         "  \n", "<",
        ">",          "<s",   "A",       "é",   "",    "abxxab a b"};
    for (; parts > 0; --parts) {
      const std::string& text = kTexts[random_() % kTexts.size()];
      const std::size_t begin = chat.text.size();
      chat.text += text;
      if (random_() % 3 != 0 || text.empty()) continue;
      if (!chat.client.empty() && chat.client.back().end == begin) {
        chat.client.back().end = chat.text.size();
      } else {
        chat.client.push_back({begin, chat.text.size()});
      }
    }
  }

  std::size_t below(std::size_t count) { return random_() % count; }

 private:
  std::mt19937 random_{11};
};

// The first `size` bytes.
RenderedChat front_of(const RenderedChat& chat, std::size_t size) {
  RenderedChat front{chat.text.substr(0, size), {}};
  for (const ByteRange& range : chat.client) {
    if (range.begin < size) front.client.push_back({range.begin, std::min(range.end, size)});
  }
  return front;
}

bool is_whole(const std::string& text) {
  return text.empty() || static_cast<unsigned char>(text.back()) < 0x80;
}

TEST(ChatBorders, TwoPartsAreTheWhole) {
  RandomChats random;
  std::size_t borders_seen = 0;
  for (const auto& tokenizer : tokenizers()) {
    for (int round = 0; round < 300; ++round) {
      const RenderedChat chat = random.chat(24);
      const auto whole = tokenizer->encode_chat(chat);
      ASSERT_TRUE(whole) << whole.error().message;
      std::vector<int> tokens;
      std::vector<ChatBorder> borders;
      ASSERT_TRUE(tokenizer->continue_chat(chat, 0, tokens, borders));
      ASSERT_EQ(tokens, *whole);
      borders_seen += borders.size();
      for (std::size_t i = 0; i < borders.size(); ++i) {
        std::vector<int> parts(whole->begin(),
                               whole->begin() + static_cast<long>(borders[i].tokens));
        std::vector<ChatBorder> behind;
        ASSERT_TRUE(tokenizer->continue_chat(chat, borders[i].at, parts, behind));
        ASSERT_EQ(parts, *whole) << chat.text << " in parts at " << borders[i].at;
        ASSERT_EQ(behind.size(), borders.size() - i - 1);
      }
    }
  }
  EXPECT_GT(borders_seen, 3000U);
}

TEST(ChatBorders, AChatThatIsTheSameUpToThereHasTheBorder) {
  RandomChats random;
  std::size_t seen = 0;
  for (const auto& tokenizer : tokenizers()) {
    for (int round = 0; round < 300; ++round) {
      const RenderedChat chat = random.chat(24);
      std::vector<int> tokens;
      std::vector<ChatBorder> borders;
      ASSERT_TRUE(tokenizer->continue_chat(chat, 0, tokens, borders));
      for (const ChatBorder& border : borders) {
        RenderedChat other = front_of(chat, border.settled);
        if (!is_whole(other.text)) continue;
        random.extend(other, static_cast<int>(random.below(12)));
        const auto whole = tokenizer->encode_chat(other);
        ASSERT_TRUE(whole);
        std::vector<int> parts(tokens.begin(), tokens.begin() + static_cast<long>(border.tokens));
        std::vector<ChatBorder> behind;
        ASSERT_TRUE(tokenizer->continue_chat(other, border.at, parts, behind));
        ASSERT_EQ(parts, *whole) << chat.text << " | " << other.text << " at " << border.at;
        ++seen;
      }
    }
  }
  EXPECT_GT(seen, 3000U);
}

}  // namespace
}  // namespace mlxd
