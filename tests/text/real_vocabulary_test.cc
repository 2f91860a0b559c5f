// The real vocabularies: pieces and whole, prompts as their templates make them, and hostile texts.
#include "text/real_vocabulary.h"

#include <ctime>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/utf8.h"
#include "text/chat_template.h"
#include "text/detokenizer.h"

namespace mlxd {
namespace {

class RealVocabulary : public ::testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<const Tokenizer> tokenizer_ =
      Tokenizer::load(testing::read_vocabulary(GetParam()));
};

TEST_P(RealVocabulary, PiecesJoinedEqualTheWholeForRandomTokens) {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    std::vector<int> tokens(random() % 30);
    for (int& token : tokens) {
      // Half of them from the start, where the bytes are.
      const int range = random() % 2 == 0 ? 300 : tokenizer_->vocab_size();
      token = static_cast<int>(random() % static_cast<unsigned>(range));
    }
    Detokenizer detokenizer(tokenizer_);
    std::string joined;
    for (const int token : tokens) {
      const std::string piece = detokenizer.push(token);
      ASSERT_TRUE(is_valid_utf8(piece));
      joined += piece;
    }
    joined += detokenizer.finish();
    ASSERT_EQ(joined, tokenizer_->decode(tokens));
  }
}

TEST_P(RealVocabulary, TextSurvivesTheWayThereAndBack) {
  for (const std::string text :
       {"Hello, world!", " two  spaces ", "na\xC3\xAFve \xF0\x9F\x98\x80\n\n\tif (x) { return; }",
        "<|im_end|> <end_of_turn>", "\xE4\xB8\xAD\xE6\x96\x87 1234567890"}) {
    const auto ids = tokenizer_->encode(text, false, false);
    ASSERT_TRUE(ids);
    EXPECT_EQ(tokenizer_->decode(*ids), text);
  }
}

TEST_P(RealVocabulary, HostileTextsTakeNoLongerThanTheirSize) {
  const auto times = [](std::string_view text, int count) {
    std::string result;
    for (int i = 0; i < count; ++i) result += text;
    return result;
  };
  const std::vector<std::pair<const char*, std::string>> texts = {
      {"a", times("a", 200000)},
      {"spaces", times(" ", 200000)},
      {"newlines", times("\n", 200000)},
      {"spaces and letters", times("   a", 50000)},
      {"emoji", times("\xF0\x9F\x98\x80", 50000)},
      {"marks", times("\xCC\x81", 100000)},
      {"special tokens", times("<|im_start|><bos>", 20000)},
      {"almost special tokens", times("<|im_start", 20000)},
      {"digits", times("1234567890", 20000)},
      {"punctuation", times("-=", 100000)},
      {"Chinese", times("\xE4\xB8\xAD", 70000)},
  };
  for (const auto& [name, text] : texts) {
    const std::clock_t start = std::clock();  // of this process, however busy the machine
    const auto ids = tokenizer_->encode(text, true, true);
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    ASSERT_TRUE(ids) << name;
    // 200 KB take some 50 ms; what is not linear takes minutes.
    EXPECT_LT(seconds, 5.0) << name;
    RecordProperty(name, static_cast<int>(seconds * 1000));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, RealVocabulary,
                         ::testing::Values(testing::kSmolLm2, testing::kQwen2, testing::kGemma3),
                         [](const auto& p) {
                           return p.param.substr(0, 5) == "gemma"  ? "gemma3"
                                  : p.param.substr(0, 4) == "qwen" ? "qwen2"
                                                                   : "smollm2";
                         });

TEST(RealTemplate, SmolLm2WritesChatMlWithItsSystemPrompt) {
  const auto chat_template = ChatTemplate::load(testing::read_vocabulary(testing::kSmolLm2));
  ASSERT_NE(chat_template, nullptr);
  const auto text = chat_template->render(R"({"messages":[{"role":"user","content":"Hi"}]})");
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(text->text,
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(RealTemplate, Qwen2WritesChatMl) {
  const auto chat_template = ChatTemplate::load(testing::read_vocabulary(testing::kQwen2));
  ASSERT_NE(chat_template, nullptr);
  const auto text = chat_template->render(
      R"({"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},
          {"role":"assistant","content":"Hello"},{"role":"user","content":"Bye"}]})");
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(text->text,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(RealTemplate, TheGemmaBaseModelHasNone) {
  EXPECT_EQ(ChatTemplate::load(testing::read_vocabulary(testing::kGemma3)), nullptr);
}

}  // namespace
}  // namespace mlxd
