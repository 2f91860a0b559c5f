#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/parsers/answer_format.h"
#include "text/small_vocabulary.h"

namespace mlxd::testing {

// The bytes, and as control tokens the marks that the formats' models have as such.
inline std::shared_ptr<const Tokenizer> marks_tokenizer(
    const std::vector<std::string>& marks = {}) {
  Vocabulary vocabulary = byte_level_vocabulary();
  for (const std::string& mark : marks) {
    vocabulary.tokens.push_back(mark);
    vocabulary.types.push_back(3);
  }
  return Tokenizer::load(vocabulary);
}

// The control tokens of all formats.
inline const std::vector<std::string> kMarks = {"<tool_call>",
                                                "</tool_call>",
                                                "<arg_key>",
                                                "</arg_key>",
                                                "<arg_value>",
                                                "</arg_value>",
                                                "<minimax:tool_call>",
                                                "</minimax:tool_call>",
                                                "｜DSML｜",
                                                "<｜tool▁calls▁begin｜>",
                                                "<｜tool▁calls▁end｜>",
                                                "<｜tool▁call▁begin｜>",
                                                "<｜tool▁call▁end｜>",
                                                "<｜tool▁sep｜>",
                                                "<|tool_calls_section_begin|>",
                                                "<|tool_calls_section_end|>",
                                                "<|tool_call_begin|>",
                                                "<|tool_call_end|>",
                                                "<|tool_call_argument_begin|>",
                                                "[TOOL_CALLS]",
                                                "[ARGS]",
                                                "[CALL_ID]",
                                                "<|tool_call|>",
                                                "<|python_tag|>",
                                                "<|tool_call_start|>",
                                                "<|tool_call>",
                                                "<tool_call|>",
                                                "<|\"|>",
                                                "<|channel|>",
                                                "<|message|>",
                                                "<|end|>",
                                                "<|start|>",
                                                "<|constrain|>",
                                                "<|call|>",
                                                "<|return|>"};

// What the tests declare: f(s string, n integer, x number, b boolean, o object, l array, any) and
// g().
inline std::shared_ptr<const DeclaredTools> tools() {
  return std::make_shared<const DeclaredTools>(DeclaredTools{{"f",
                                                              {{{"s", kJsonString},
                                                                {"n", kJsonInteger},
                                                                {"x", kJsonNumber},
                                                                {"b", kJsonBoolean},
                                                                {"o", kJsonObject},
                                                                {"l", kJsonArray},
                                                                {"any", kAnyJson}}}},
                                                             {"g", {}}});
}

// An answer as a parser reads it, in pieces.
class Reading {
 public:
  Reading(const AnswerFormat& format, std::shared_ptr<const Tokenizer> tokenizer,
          bool in_reasoning = false)
      : tokenizer_(std::move(tokenizer)),
        parser_(make_answer_parser(format, tokenizer_, {tools(), in_reasoning})) {}
  // ... that is held to calls of these.
  Reading(const AnswerFormat& format, std::shared_ptr<const Tokenizer> tokenizer,
          std::shared_ptr<const DeclaredTools> tools)
      : tokenizer_(std::move(tokenizer)),
        parser_(make_answer_parser(format, tokenizer_, {std::move(tools), false, true, true})) {}

  // Text, in which the marks that are control tokens become them.
  void add(std::string_view text);
  // Each token's own bytes; of a control token none.
  void add_token(int token) {
    parser_->add(token, tokenizer_->token_bytes(token), parsed_);
    take();
  }
  void end() {
    parser_->end({}, parsed_);
    take();
  }

  // "content: Hi" for each stretch of a channel; calls as "call: name arguments".
  std::vector<std::string> words() const;
  // What the model wrote, put together again of what was read: all text that is not markup, and
  // the bytes of the rest.
  std::size_t read() const { return read_; }
  bool in_call() const { return parser_->in_call(); }
  const ChoiceText& choice() const { return choice_; }

 private:
  void take();

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<AnswerParser> parser_;
  std::vector<ParsedText> parsed_;
  ChoiceText choice_;
  std::size_t read_ = 0;
};

inline void Reading::add(std::string_view text) {
  std::string plain;
  const auto flush = [&] {
    if (plain.empty()) return;
    parser_->add('a', plain, parsed_);
    plain.clear();
  };
  while (!text.empty()) {
    int token = -1;
    for (int id = tokenizer_->vocab_size() - 1; id >= 256 && token < 0; --id) {
      if (tokenizer_->is_special(id) && text.starts_with(tokenizer_->token_bytes(id, true))) {
        token = id;
      }
    }
    if (token < 0) {
      plain += text.front();
      text.remove_prefix(1);
      continue;
    }
    flush();
    text.remove_prefix(tokenizer_->token_bytes(token, true).size());
    parser_->add(token, {}, parsed_);
  }
  flush();
  take();
}

inline void Reading::take() {
  for (ParsedText& parsed : parsed_) {
    read_ += parsed.read;
    TextDelta delta;
    delta.channel = parsed.channel;
    delta.call = parsed.call;
    delta.text = std::move(parsed.text);
    if (!delta.text.empty()) append(choice_, std::move(delta));
  }
  parsed_.clear();
}

inline std::vector<std::string> Reading::words() const {
  std::vector<std::string> words;
  for (const TextDelta& part : choice_) {
    switch (part.channel) {
      case AnswerChannel::content:
        words.push_back("content: " + part.text);
        break;
      case AnswerChannel::reasoning:
        words.push_back("reasoning: " + part.text);
        break;
      case AnswerChannel::tool_name:
        words.push_back("call: " + part.text);
        break;
      case AnswerChannel::tool_arguments:
        words.back() += " " + part.text;
        break;
    }
  }
  return words;
}

inline AnswerFormat format(const std::string& tools, const std::string& reasoning = "none") {
  return answer_format_of("", {tools, reasoning});
}

// Of a whole answer.
inline std::vector<std::string> read(const AnswerFormat& format, std::string_view text,
                                     const std::vector<std::string>& marks = {},
                                     bool in_reasoning = false) {
  Reading reading(format, marks_tokenizer(marks), in_reasoning);
  reading.add(text);
  reading.end();
  return reading.words();
}

}  // namespace mlxd::testing
