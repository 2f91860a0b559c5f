#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/token_event.h"
#include "serve/answer_parser.h"
#include "serve/text_delta.h"
#include "text/detokenizer.h"
#include "text/stop_matcher.h"

namespace mlxd {

TokenDetail detail_of(const Tokenizer& tokenizer, int token, float logprob,
                      const std::vector<TokenLogprob>& top);

// One sample's way from tokens to deltas: detokenised, parsed into channels, its content searched
// for stop strings, each delta with the details of its tokens. One thread at a time.
class SampleText {
 public:
  struct Options {
    int choice = 0;
    Detokenizer::Begin begin = Detokenizer::Begin::text;
    int first_offset = 0;  // of the content: the characters of an echoed prompt
    bool details = false;
    bool one_call = false;  // a second tool call ends the sample
  };
  SampleText(const std::shared_ptr<const Tokenizer>& tokenizer,
             std::unique_ptr<AnswerParser> parser, std::vector<std::string> stop, Options options);

  // Appends what may be said after this token. True when that completed a stop string: nothing may
  // follow then.
  bool push(const SampledToken& token, std::vector<TextDelta>& out);
  // Likewise what is left when the sample has ended by itself.
  bool finish(std::vector<TextDelta>& out);

  // A tool call has begun whose arguments are not whole.
  bool in_call() const { return parser_->in_call(); }
  // The stop string that ended it, as the request has it; "" where none did.
  const std::string& stop() const { return stop_; }
  int reasoning_tokens() const { return reasoning_tokens_; }

 private:
  // A token that no delta has told of. `begin` is where its text begins: in bytes, in the
  // detokenised text or in that of a channel.
  struct Untold {
    std::size_t begin;
    int offset;  // in characters, in a channel
    TokenDetail detail;
  };
  // The text of one channel (and call) so far. Of content, the stop strings hold back an end.
  struct Track {
    int call = -1;
    std::size_t read = 0, said = 0;  // bytes
    int characters = 0;              // read
    std::deque<Untold> untold;
  };

  bool take(std::vector<TextDelta>& out);
  bool say_content(StopMatcher::Output output, std::vector<TextDelta>& out);
  void read(Track& track, const ParsedText& parsed);
  void say(AnswerChannel channel, std::string text, bool all_details, std::vector<TextDelta>& out);
  Track& track(AnswerChannel channel) { return tracks_[static_cast<std::size_t>(channel)]; }

  const std::shared_ptr<const Tokenizer> tokenizer_;
  const Options options_;
  Detokenizer detokenizer_;
  std::unique_ptr<AnswerParser> parser_;
  StopMatcher matcher_;
  std::string stop_;
  std::vector<ParsedText> parsed_;  // by the parser, and not yet taken
  std::size_t decoded_ = 0;         // bytes of text that the detokeniser gave
  std::size_t read_ = 0;            // of these, what the parser gave back
  std::deque<Untold> unread_;       // tokens that begin beyond
  std::deque<std::size_t> begins_;  // where all of these begin, details or not
  int reasoning_tokens_ = 0;
  std::array<Track, 4> tracks_;  // by channel
};

}  // namespace mlxd
