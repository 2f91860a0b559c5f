#include "serve/sample_text.h"

#include <string_view>
#include <utility>

#include "serve/stops.h"
#include "serve/text_offsets.h"

namespace mlxd {

TokenDetail detail_of(const Tokenizer& tokenizer, int token, float logprob,
                      const std::vector<TokenLogprob>& top) {
  const auto bytes = [&](int id) { return std::string(tokenizer.token_bytes(id, true)); };
  TokenDetail detail;
  detail.token = token;
  detail.bytes = bytes(token);
  detail.logprob = logprob;
  detail.top.reserve(top.size());
  for (const TokenLogprob& other : top) {
    detail.top.push_back({other.token, bytes(other.token), other.logprob});
  }
  return detail;
}

SampleText::SampleText(const std::shared_ptr<const Tokenizer>& tokenizer,
                       std::unique_ptr<AnswerParser> parser, std::vector<std::string> stop,
                       Options options)
    : tokenizer_(tokenizer),
      options_(options),
      detokenizer_(tokenizer, options.begin),
      parser_(std::move(parser)),
      matcher_(std::move(stop)) {
  track(AnswerChannel::content).characters = options.first_offset;
}

bool SampleText::push(const SampledToken& token, std::vector<TextDelta>& out) {
  if (options_.details) {
    unread_.push_back({decoded_, 0, detail_of(*tokenizer_, token.token, token.logprob, token.top)});
  }
  begins_.push_back(decoded_);
  const std::string text = detokenizer_.push(token.token);
  decoded_ += text.size();
  parser_->add(token.token, text, parsed_);
  if (take(out)) return true;
  if (!tokenizer_->is_special(token.token)) return false;
  return say_content(matcher_.push_special(token.token), out);
}

bool SampleText::finish(std::vector<TextDelta>& out) {
  const std::string text = detokenizer_.finish();
  decoded_ += text.size();
  parser_->end(text, parsed_);
  std::vector<TextDelta> last;
  const bool stopped = take(last);
  if (!stopped) {
    Track& content = track(AnswerChannel::content);
    for (Untold& token : unread_) {
      content.untold.push_back({content.read, content.characters, std::move(token.detail)});
    }
    unread_.clear();
    say(AnswerChannel::content, matcher_.finish(), true, last);
  }
  ChoiceText joined;
  for (TextDelta& delta : last) append(joined, std::move(delta));
  for (TextDelta& delta : joined) out.push_back(std::move(delta));
  return stopped;
}

// What the parser gave goes on: content through the stop strings, the rest as it is.
bool SampleText::take(std::vector<TextDelta>& out) {
  for (ParsedText& parsed : std::exchange(parsed_, {})) {
    if (options_.one_call && parsed.call > 0) return true;
    Track& at = track(parsed.channel);
    if (at.call != parsed.call) {
      at = Track();
      at.call = parsed.call;
    }
    read(at, parsed);
    if (parsed.channel != AnswerChannel::content) {
      say(parsed.channel, std::move(parsed.text), false, out);
      continue;
    }
    if (say_content(matcher_.push(parsed.text), out)) return true;
  }
  return false;
}

bool SampleText::say_content(StopMatcher::Output output, std::vector<TextDelta>& out) {
  say(AnswerChannel::content, std::move(output.text), false, out);
  if (output.stopped) stop_ = stop_as_sent(*tokenizer_, std::move(output.stop));
  return output.stopped;
}

// The tokens that begin in this text, or in markup before it, get their places in the channel's.
void SampleText::read(Track& track, const ParsedText& parsed) {
  const std::size_t start = read_;
  read_ += parsed.read;
  for (; !begins_.empty() && begins_.front() < read_; begins_.pop_front()) {
    reasoning_tokens_ += parsed.channel == AnswerChannel::reasoning ? 1 : 0;
  }
  if (parsed.text.empty()) return;
  const bool as_written = parsed.text.size() == parsed.read;
  while (!unread_.empty() && unread_.front().begin < read_) {
    Untold token = std::move(unread_.front());
    unread_.pop_front();
    const std::size_t in_text = as_written && token.begin > start ? token.begin - start : 0;
    token.begin = track.read + in_text;
    token.offset =
        track.characters + count_characters(std::string_view(parsed.text).substr(0, in_text));
    track.untold.push_back(std::move(token));
  }
  track.read += parsed.text.size();
  track.characters += count_characters(parsed.text);
}

// A delta of this text, with the tokens that begin before its end, or all.
void SampleText::say(AnswerChannel channel, std::string text, bool all_details,
                     std::vector<TextDelta>& out) {
  Track& at = track(channel);
  at.said += text.size();
  TextDelta delta;
  delta.choice = options_.choice;
  delta.channel = channel;
  delta.call = at.call;
  while (!at.untold.empty() && (all_details || at.untold.front().begin < at.said)) {
    delta.details.push_back(std::move(at.untold.front().detail));
    delta.offsets.push_back(at.untold.front().offset);
    at.untold.pop_front();
  }
  if (text.empty() && delta.details.empty()) return;
  delta.text = std::move(text);
  out.push_back(std::move(delta));
}

}  // namespace mlxd
