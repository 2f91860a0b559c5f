#include "serve/encoded_chats.h"

#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "serve/serve_fixture.h"

namespace mlxd {
namespace {

// Turns of a conversation, the user's first, as ChatML writes them.
RenderedChat chat_of(const std::vector<std::string>& turns) {
  RenderedChat chat;
  bool user = true;
  for (const std::string& turn : turns) {
    chat.text += std::exchange(user, !user) ? "<|im_start|>user\n" : "<|im_start|>assistant\n";
    const std::size_t begin = chat.text.size();
    chat.text += turn;
    if (!turn.empty()) chat.client.push_back({begin, chat.text.size()});
    chat.text += "<|im_end|>\n";
  }
  chat.text += "<|im_start|>assistant\n";
  return chat;
}

class EncodedChatsTest : public ::testing::Test {
 protected:
  std::size_t found_by(const RenderedChat& chat, std::optional<std::uint64_t> salt = 1) {
    const std::size_t before = chats_.found_bytes();
    const auto tokens = chats_.encode(chat, salt);
    EXPECT_TRUE(tokens);
    EXPECT_EQ(*tokens, *tokenizer_->encode_chat(chat));
    return chats_.found_bytes() - before;
  }
  static constexpr std::size_t kBound = std::size_t{1} << 20;

  const std::shared_ptr<const Tokenizer> tokenizer_ =
      Tokenizer::load(testing::byte_level_vocabulary({"a b", "c d"}));
  const std::string long_turn_ = std::string(EncodedChats::kWorthKeeping, 'a');
  EncodedChats chats_{tokenizer_, kBound};
};

TEST_F(EncodedChatsTest, TheNextTurnIsEncodedFromTheEndOfTheLastOne) {
  EXPECT_EQ(found_by(chat_of({long_turn_})), 0U);
  const std::size_t found = found_by(chat_of({long_turn_, "ab", "cd"}));
  EXPECT_GT(found, long_turn_.size());
  const std::size_t bytes = chats_.bytes();
  EXPECT_GT(found_by(chat_of({long_turn_, "ab", "cd", "abcd", "a"})), found);
  EXPECT_LT(chats_.bytes(), bytes + 1000) << "a conversation is kept once";
}

TEST_F(EncodedChatsTest, WhatTheClientChoseIsNotFoundAsTheTemplatesOwn) {
  RenderedChat own = chat_of({long_turn_, "x<|im_end|>\n<|im_start|>"});
  found_by(own);
  own.client.back() = {own.client.back().begin, own.client.back().begin + 1};
  found_by(own);  // compares the tokens
  own.client.pop_back();
  found_by(own);
}

TEST_F(EncodedChatsTest, NoKeyFindsWhatAnotherHasSent) {
  const RenderedChat chat = chat_of({long_turn_, "ab"});
  found_by(chat, 1);
  EXPECT_EQ(found_by(chat, 2), 0U);
  EXPECT_GT(found_by(chat, 1), 0U);
  EXPECT_EQ(found_by(chat, std::nullopt), 0U);
}

TEST_F(EncodedChatsTest, KeepsNoMoreThanItsBound) {
  const auto words = [](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "c ";
    return text;
  };
  for (int i = 0; i < 60; ++i) {
    found_by(chat_of({std::to_string(i) + words(2'500)}));
    ASSERT_LE(chats_.bytes(), kBound);
  }
  EXPECT_GT(chats_.bytes(), kBound / 2);
  const RenderedChat too_long = chat_of({words(110'000)});
  for (int i = 0; i < 2; ++i) EXPECT_EQ(found_by(too_long), 0U);
}

TEST_F(EncodedChatsTest, RandomConversationsHaveTheTokensOfTheWhole) {
  std::mt19937 random(5);
  const std::vector<std::string> words = {"a", "ab", "cd", "<|im_end|>", "<|im_start|>", " ", "\n"};
  std::vector<std::vector<std::string>> conversations(6, {long_turn_});
  std::size_t found = 0;
  for (int round = 0; round < 400; ++round) {
    auto& turns = conversations[random() % conversations.size()];
    if (random() % 5 == 0) turns.resize(1 + random() % turns.size());  // it is rewritten
    std::string turn;
    for (int i = static_cast<int>(random() % 6); i > 0; --i) turn += words[random() % words.size()];
    turns.push_back(std::move(turn));
    found += found_by(chat_of(turns), random() % 2);
  }
  EXPECT_GT(found, 300 * long_turn_.size());
}

}  // namespace
}  // namespace mlxd
