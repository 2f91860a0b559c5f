#include "conversation.h"

#include <array>

#include <boost/json.hpp>

namespace mlxd::load {
namespace {

constexpr std::array<std::string_view, 32> kWords = {
    "time",    "year",    "people",   "way",    "day",   "man",    "thing",   "woman",
    "life",    "child",   "world",    "school", "state", "family", "student", "group",
    "country", "problem", "hand",     "part",   "place", "case",   "week",    "company",
    "system",  "program", "question", "work",   "night", "point",  "home",    "water"};

std::string some_words(int count, std::mt19937_64& random) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    if (i > 0) text += ' ';
    text += kWords[random() % kWords.size()];
  }
  return text;
}

}  // namespace

Conversation::Conversation(const ConversationOptions& options, int number)
    : options_(&options), random_(options.seed * 1'000'003 + static_cast<std::uint64_t>(number)) {
  if (options.scenario == Scenario::chat) return;
  std::mt19937_64 shared(options.seed);
  messages_.push_back({"system", some_words(options.system_words, shared)});
}

std::string Conversation::ask() {
  messages_.push_back({"user", some_words(options_->prompt_words, random_)});
  boost::json::array messages;
  for (const Message& message : messages_) {
    messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  const boost::json::object body = {{"model", options_->model},
                                    {"messages", std::move(messages)},
                                    {"max_tokens", options_->max_tokens},
                                    {"temperature", 0},
                                    {"ignore_eos", true},
                                    {"stream", true},
                                    {"stream_options", {{"include_usage", true}}}};
  return boost::json::serialize(body);
}

void Conversation::hear(std::string_view answer) {
  messages_.push_back({"assistant", std::string(answer)});
}

}  // namespace mlxd::load
