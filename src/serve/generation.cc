#include "serve/generation.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <utility>

#include "text/tokenizer.h"

namespace mlxd {
namespace {

std::vector<TokenDetail::Alternative> alternatives(const Tokenizer& tokenizer,
                                                   const std::vector<TokenLogprob>& top) {
  std::vector<TokenDetail::Alternative> result;
  result.reserve(top.size());
  for (const TokenLogprob& entry : top) {
    const std::string_view bytes = tokenizer.token_bytes(entry.token, true);
    result.push_back({entry.token, std::string(bytes), entry.logprob});
  }
  return result;
}

template <class Event>
TokenDetail detail_of(const Tokenizer& tokenizer, const Event& event) {
  TokenDetail detail;
  detail.token = event.token;
  detail.bytes = tokenizer.token_bytes(event.token, true);
  detail.logprob = event.logprob;
  detail.top = alternatives(tokenizer, event.top);
  return detail;
}

// One sample's way from tokens to text.
class SampleText {
 public:
  SampleText(const std::shared_ptr<const Tokenizer>& tokenizer, const Generation::Options& options)
      : tokenizer_(tokenizer),
        detokenizer_(tokenizer, options.continues_prompt ? Detokenizer::Begin::continuation
                                                         : Detokenizer::Begin::text),
        matcher_(options.stop),
        details_wanted_(options.token_details) {}

  bool ended() const { return ended_; }
  int completion_tokens() const { return completion_tokens_; }

  // What may be sent after this token; `stopped` when it completed a stop string.
  StopMatcher::Output push(const SampledToken& token) {
    ++completion_tokens_;
    if (details_wanted_) unsent_.push_back({decoded_, detail_of(*tokenizer_, token)});
    const std::string text = detokenizer_.push(token.token);
    decoded_ += text.size();
    return tokenizer_->is_special(token.token) ? matcher_.push_special(token.token)
                                               : matcher_.push(text);
  }

  // What is left when the sample ended by itself.
  StopMatcher::Output finish() {
    StopMatcher::Output output = matcher_.push(detokenizer_.finish());
    if (!output.stopped) output.text += matcher_.finish();
    return output;
  }

  // The details of the tokens whose text begins before the end of the text sent so far, `text`
  // included; of all that are left with `all`.
  std::vector<TokenDetail> details_for(const std::string& text, bool all) {
    sent_ += text.size();
    std::vector<TokenDetail> details;
    while (!unsent_.empty() && (all || unsent_.front().begin < sent_)) {
      details.push_back(std::move(unsent_.front().detail));
      unsent_.pop_front();
    }
    return details;
  }

  void end() { ended_ = true; }

 private:
  struct Unsent {
    std::size_t begin;  // where the token's text begins in the sample's text
    TokenDetail detail;
  };

  std::shared_ptr<const Tokenizer> tokenizer_;
  Detokenizer detokenizer_;
  StopMatcher matcher_;
  const bool details_wanted_;
  std::deque<Unsent> unsent_;
  std::size_t decoded_ = 0;  // bytes of text that came out of the detokenizer
  std::size_t sent_ = 0;     // and of these went out
  int completion_tokens_ = 0;
  bool ended_ = false;
};

}  // namespace

struct Generation::State {
  RequestHandle handle;
  std::shared_ptr<const Tokenizer> tokenizer;
  Options options;
  std::vector<int> prompt;
  std::vector<SampleText> samples;
  PromptEcho echo;  // being collected
  std::deque<StreamEvent> ready;

  State(RequestHandle request, std::shared_ptr<const Tokenizer> tokens, Options wanted,
        std::vector<int> prompt_tokens, int sample_count)
      : handle(std::move(request)),
        tokenizer(std::move(tokens)),
        options(std::move(wanted)),
        prompt(std::move(prompt_tokens)) {
    for (int i = 0; i < sample_count; ++i) samples.emplace_back(tokenizer, options);
    if (!options.echo) return;
    echo.text = options.echo_text.empty() ? tokenizer->decode(prompt) : options.echo_text;
    if (!options.prompt_details) ready.push_back(std::move(echo));
  }

  std::optional<StreamEvent> pop() {
    if (ready.empty()) return std::nullopt;
    StreamEvent event = std::move(ready.front());
    ready.pop_front();
    return event;
  }

  void take(TokenEvent event) {
    std::visit([this](auto& e) { on(e); }, event);
  }

  void on(PromptToken& token) {
    if (!options.prompt_details) return;
    TokenDetail detail = detail_of(*tokenizer, token);
    detail.has_logprob = token.has_logprob;
    echo.tokens.push_back(std::move(detail));
    if (echo.tokens.size() == prompt.size()) ready.push_back(std::move(echo));
  }

  void on(SampledToken& token) {
    SampleText& sample = samples.at(static_cast<std::size_t>(token.sample));
    if (sample.ended()) return;
    StopMatcher::Output output = sample.push(token);
    send(token.sample, std::move(output.text), false);
    if (output.stopped) {
      handle.stop_sample(token.sample);
      end(token.sample, FinishReason::stop);
    }
  }

  void on(SampleFinished& finished) {
    SampleText& sample = samples.at(static_cast<std::size_t>(finished.sample));
    if (sample.ended()) return;
    StopMatcher::Output output = sample.finish();
    send(finished.sample, std::move(output.text), !output.stopped);
    end(finished.sample, output.stopped ? FinishReason::stop : finished.reason);
  }

  void on(RequestFinished& finished) {
    GenerationEnd last;
    last.outcome = finished.outcome;
    last.error = std::move(finished.error);
    last.queue_seconds = finished.queue_seconds;
    last.usage.prompt_tokens = static_cast<int>(prompt.size());
    last.usage.cached_prompt_tokens = finished.cached_prompt_tokens;
    for (const SampleText& sample : samples) {
      last.usage.completion_tokens += sample.completion_tokens();
    }
    ready.push_back(std::move(last));
  }

  void send(int index, std::string text, bool all_details) {
    SampleText& sample = samples[static_cast<std::size_t>(index)];
    std::vector<TokenDetail> details = sample.details_for(text, all_details);
    if (text.empty() && details.empty()) return;
    ready.push_back(TextPiece{index, std::move(text), std::move(details)});
  }

  void end(int index, FinishReason reason) {
    SampleText& sample = samples[static_cast<std::size_t>(index)];
    sample.end();
    ready.push_back(SampleEnd{index, reason, sample.completion_tokens()});
  }
};

Generation::Generation(RequestHandle handle, std::shared_ptr<const Tokenizer> tokenizer,
                       Options options, std::vector<int> prompt, int samples)
    : state_(std::make_unique<State>(std::move(handle), std::move(tokenizer), std::move(options),
                                     std::move(prompt), samples)) {}

Generation::Generation(Generation&&) noexcept = default;
Generation::~Generation() = default;

std::optional<StreamEvent> Generation::try_next() {
  while (state_->ready.empty()) {
    std::optional<TokenEvent> event = state_->handle.try_next();
    if (!event) return std::nullopt;
    state_->take(*std::move(event));
  }
  return state_->pop();
}

std::optional<StreamEvent> Generation::next_until(TimePoint limit) {
  while (state_->ready.empty()) {
    std::optional<TokenEvent> event = state_->handle.next_until(limit);
    if (!event) return std::nullopt;
    state_->take(*std::move(event));
  }
  return state_->pop();
}

void Generation::cancel() { state_->handle.cancel(); }

}  // namespace mlxd
