// A model that plays scripts and an exchange that remembers what was written, so that handlers are
// tested without sockets, tokenisers or an engine.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "api/stream_fold.h"
#include "base/task.h"
#include "http/exchange.h"
#include "http/router.h"
#include "serve/text_model.h"

namespace mlxd::api {

inline TextDelta piece(std::string text, int sample = 0, std::vector<TokenDetail> details = {}) {
  TextDelta delta;
  delta.choice = sample;
  delta.text = std::move(text);
  delta.offsets.resize(details.size());
  delta.details = std::move(details);
  return delta;
}
inline TextDelta sample_end(int sample = 0, FinishReason reason = FinishReason::stop) {
  TextDelta delta;
  delta.choice = sample;
  delta.finish = reason;
  return delta;
}
inline GenerationEnd generation_end(int prompt_tokens = 3, int completion_tokens = 2) {
  GenerationEnd end;
  end.usage = {prompt_tokens, completion_tokens, 1};
  return end;
}
inline TokenDetail detail(int token, std::string bytes, float logprob) {
  TokenDetail result;
  result.token = token;
  result.bytes = std::move(bytes);
  result.logprob = logprob;
  return result;
}

// What became of one started prompt, and the events it has yet to give.
struct FakeRun {
  std::mutex mutex;
  GenerateRequest request;
  EmbedRequest embedded;
  std::function<void()> on_ready;
  std::deque<GenerationEvent> events;
  bool read = false;  // the handler has asked for its events
  bool cancelled = false;
  bool destroyed = false;

  void push(std::vector<GenerationEvent> more) {
    {
      std::lock_guard lock(mutex);
      for (auto& event : more) events.push_back(std::move(event));
    }
    on_ready();
  }
};

class FakeGeneration : public Generation {
 public:
  explicit FakeGeneration(std::shared_ptr<FakeRun> run) : run_(std::move(run)) {}
  ~FakeGeneration() override {
    std::lock_guard lock(run_->mutex);
    run_->destroyed = true;
  }
  std::optional<GenerationEvent> try_next() override {
    std::lock_guard lock(run_->mutex);
    run_->read = true;
    if (run_->events.empty()) return std::nullopt;
    auto event = std::move(run_->events.front());
    run_->events.pop_front();
    return event;
  }
  std::optional<GenerationEvent> next_until(TimePoint) override { return try_next(); }
  void cancel() override {
    std::lock_guard lock(run_->mutex);
    run_->cancelled = true;
  }
  int prompt_tokens() const override { return 3; }  // as generation_end says

 private:
  std::shared_ptr<FakeRun> run_;
};

// A vocabulary of 100 tokens and the scripts of the prompts to come, one each.
class FakeModel : public TextModel {
 public:
  FakeModel() {
    id = "org/tiny";
    aliases = {"tiny"};
    fingerprint = "mlxd-test";
    created = 1700000000;
    info_.vocab_size = 100;
    info_.context_length = 2048;
    info_.backend = "fake";
    card.summary.architecture = "llama";
    card.summary.file_format = "gguf";
    card.summary.context_length = 2048;
    card.summary.vocab_size = 100;
    card.chat_template = "{{ messages }}";
    card.special_tokens = {{"eos_token", "<eos>"}};
  }
  const RunnerInfo& info() const override { return info_; }
  EngineStats stats() const override { return stats_; }

  // One for each byte of a text or of a chat's messages.
  Result<std::vector<int>> tokens_of(const Prompt& prompt) const override {
    if (const auto* given = std::get_if<TokenPrompt>(&prompt)) return given->tokens;
    const auto* chat = std::get_if<ChatPrompt>(&prompt);
    return std::vector<int>(chat != nullptr ? chat->messages_json.size()
                                            : std::get<TextPrompt>(prompt).text.size());
  }
  // One for each byte, after a 1 where special tokens are added, before a 2 where they are not
  // looked for.
  Result<std::vector<int>> encode(std::string_view text, bool add_special,
                                  bool parse_special) const override {
    std::vector<int> tokens;
    if (add_special) tokens.push_back(1);
    for (const char c : text) tokens.push_back(c % 100);
    if (!parse_special) tokens.push_back(2);
    return tokens;
  }
  std::string decode(std::span<const int> tokens) const override {
    std::string text;
    for (const int token : tokens) text += bytes_of(token);
    return text;
  }
  std::string bytes_of(int token) const override {
    return token == 99 ? "\xc3" : "<" + std::to_string(token) + ">";
  }
  Result<std::string> render(const ChatPrompt& chat) const override { return chat.messages_json; }
  Result<std::unique_ptr<Generation>> start(GenerateRequest request,
                                            std::function<void()> on_ready) override {
    std::lock_guard lock(mutex_);
    if (refuse_after_ == static_cast<int>(runs_.size())) return refusal_;
    auto run = std::make_shared<FakeRun>();
    run->request = std::move(request);
    run->on_ready = std::move(on_ready);
    if (runs_.size() < scripts_.size()) {
      const auto& script = scripts_[runs_.size()];
      run->events.assign(script.begin(), script.end());
    }
    runs_.push_back(run);
    return std::unique_ptr<Generation>(std::make_unique<FakeGeneration>(run));
  }

  void play(std::vector<GenerationEvent> script) { scripts_.push_back(std::move(script)); }
  void refuse_after(int accepted, Error error) {
    refuse_after_ = accepted;
    refusal_ = std::move(error);
  }
  // The vector of a text is its length and 1, then zeros; the score of a pair the share of the
  // second text's length.
  Result<std::unique_ptr<Generation>> embed(EmbedRequest request,
                                            std::function<void()> on_ready) override {
    std::lock_guard lock(mutex_);
    if (refuse_after_ == static_cast<int>(runs_.size())) return refusal_;
    auto run = std::make_shared<FakeRun>();
    run->on_ready = std::move(on_ready);
    int tokens = 0;
    for (std::size_t i = request.inputs.size(); i-- > 0;) {  // in no order
      const EmbedInput& input = request.inputs[i];
      const auto length = std::visit([](const auto& text) { return text.size(); }, input.text);
      tokens += static_cast<int>(length);
      TextDelta delta;
      delta.choice = static_cast<int>(i);
      if (input.second) {
        const auto second = static_cast<float>(input.second->size());
        delta.vector = {second / (second + static_cast<float>(length))};
      } else {
        delta.vector.resize(request.dimensions > 0 ? request.dimensions : 4);
        delta.vector[0] = static_cast<float>(length);
        delta.vector[1] = 1;
      }
      run->events.push_back(std::move(delta));
    }
    run->events.push_back(generation_end(tokens, 0));
    run->embedded = std::move(request);
    runs_.push_back(run);
    return std::unique_ptr<Generation>(std::make_unique<FakeGeneration>(run));
  }

  std::shared_ptr<FakeRun> run(std::size_t index) {
    std::lock_guard lock(mutex_);
    return index < runs_.size() ? runs_[index] : nullptr;
  }

  EngineStats stats_;

 private:
  RunnerInfo info_;
  std::mutex mutex_;
  std::vector<std::vector<GenerationEvent>> scripts_;
  std::vector<std::shared_ptr<FakeRun>> runs_;
  int refuse_after_ = -1;
  Error refusal_;
};

class FakeExchange : public http::Exchange {
 public:
  FakeExchange(boost::asio::io_context& io, std::string method, std::string path, std::string body)
      : wakeup_(http::Wakeup::make(io.get_executor())) {
    request_.method = std::move(method);
    request_.path = std::move(path);
    request_.body.text = std::move(body);
    request_.id = "req-1";
  }
  const http::Request& request() const override { return request_; }
  http::Body take_body() override { return std::exchange(request_.body, {}); }
  bool peer_gone() const override { return gone_; }
  const std::shared_ptr<http::Wakeup>& wakeup() override { return wakeup_; }

  Task<> respond(http::Response response) override {
    ++answers_;
    response_ = std::move(response);
    co_return;
  }
  Task<bool> begin_stream(http::Headers headers, std::string_view content_type) override {
    ++answers_;
    stream_headers_ = std::move(headers);
    stream_type_ = content_type;
    streaming_ = true;
    co_return !gone_;
  }
  Task<bool> write(std::string frames) override {
    writes_.push_back(std::move(frames));
    if (on_write_) on_write_();
    co_return !gone_;
  }
  Task<> end_stream() override {
    ended_ = true;
    co_return;
  }

  void leave() {
    gone_ = true;
    wakeup_->notify();
  }
  std::string streamed() const {
    std::string all;
    for (const auto& frames : writes_) all += frames;
    return all;
  }

  http::Request request_;  // as it is when the handler begins
  http::Response response_;
  http::Headers stream_headers_;
  std::string stream_type_;
  std::vector<std::string> writes_;
  std::function<void()> on_write_;
  int answers_ = 0;
  bool streaming_ = false;
  bool ended_ = false;

 private:
  std::shared_ptr<http::Wakeup> wakeup_;
  bool gone_ = false;
};

inline std::string header_of(const http::Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

// A handler's coroutine on an io_context.
class HandlerRun final : private TaskRunner {
 public:
  HandlerRun(boost::asio::io_context& io, Task<> task, std::function<void()> on_end)
      : task_(std::move(task)), on_end_(std::move(on_end)) {
    task_.enter(*this);
    boost::asio::post(io, [this] { resume(); });
  }

 private:
  void ended() noexcept override {
    EXPECT_NO_THROW(task_.result());
    on_end_();
  }

  Task<> task_;
  std::function<void()> on_end_;
};

}  // namespace mlxd::api
