// What the load generator says to the server: conversations of a scenario, as request bodies.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace mlxd::load {

enum class Scenario {
  chat,           // every conversation is one question unlike all others
  shared_prefix,  // the same, after a long system prompt that all share
  agent,          // several turns, each with the whole history of the turns before
};

struct ConversationOptions {
  Scenario scenario = Scenario::chat;
  std::string model;
  int prompt_words = 64;   // of each question; a word is about a token
  int system_words = 512;  // of the shared system prompt
  int turns = 4;           // of an agent's conversation
  int max_tokens = 64;     // of each answer; generation does not end before
  std::uint64_t seed = 1;
};

// One client's dialogue. Its words depend on (seed, number) alone.
class Conversation {
 public:
  Conversation(const ConversationOptions& options, int number);

  int turns() const { return options_->scenario == Scenario::agent ? options_->turns : 1; }
  // The next request's JSON body: a streamed chat completion.
  std::string ask();
  // What the server answered, which the next turn repeats to it.
  void hear(std::string_view answer);

 private:
  struct Message {
    const char* role;
    std::string content;
  };

  const ConversationOptions* options_;
  std::mt19937_64 random_;
  std::vector<Message> messages_;
};

}  // namespace mlxd::load
