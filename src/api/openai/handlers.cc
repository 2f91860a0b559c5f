// One request of a generation endpoint, from its body to the last byte of its answer, as a
// coroutine on the I/O thread.
#include "api/openai/handlers.h"

#include <chrono>
#include <cstdint>
#include <exception>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/bell.h"
#include "api/core.h"
#include "api/errors.h"
#include "api/openai/admission.h"
#include "api/openai/fold.h"
#include "api/openai/progress.h"
#include "api/openai/wire.h"
#include "http/router.h"

namespace mlxd::api {
namespace {

using boost::asio::awaitable;

// Deltas turned into frames between two writes: bounds the buffer, not the answer.
constexpr std::size_t kMaxDeltas = 1024;
constexpr std::size_t kMaxHeader = 1024;

// The names as they may stand in a header: a client chose them.
std::string header_safe(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) {
    if (!text.empty()) text += ", ";
    for (const char c : name) text += c > ' ' && c < 0x7f && c != ',' ? c : '?';
    if (text.size() > kMaxHeader) return text.substr(0, kMaxHeader);
  }
  return text;
}

class GenerationHandler {
 public:
  GenerationHandler(Core& core, Endpoint endpoint, http::Exchange& exchange)
      : core_(core),
        endpoint_(endpoint),
        exchange_(exchange),
        bell_(std::make_shared<Bell>(exchange.wakeup())),
        progress_(core.metrics, core.log, exchange.request().id, endpoint) {}
  ~GenerationHandler() {
    bell_->silence();
    if (admission_) admission_->abandon();
  }

  awaitable<void> run();

 private:
  awaitable<void> answer();
  awaitable<bool> admit();
  awaitable<void> answer_whole();
  awaitable<void> answer_stream();
  awaitable<bool> flush();
  awaitable<void> refuse(Error error);
  bool take_events();
  void leave();
  http::Headers headers() const;
  ResponseHead head() const;

  Core& core_;
  const Endpoint endpoint_;
  http::Exchange& exchange_;
  const std::shared_ptr<Bell> bell_;
  Progress progress_;
  std::shared_ptr<Admission> admission_;
  ParsedRequest request_;
  std::vector<std::unique_ptr<EventSource>> sources_;
  std::optional<ResponseFold> fold_;
  std::vector<ChoiceDelta> deltas_;  // taken, and not yet answered
  std::optional<StreamWriter> writer_;
  std::string frames_;       // written by the writer, and not yet sent
  bool responding_ = false;  // respond or begin_stream was called
  bool streaming_ = false;
};

awaitable<void> GenerationHandler::run() {
  std::string failure;
  try {
    co_await answer();
    co_return;
  } catch (const std::exception& thrown) {
    failure = thrown.what();
  }
  spdlog::error("request {} failed: {}", exchange_.request().id, failure);
  leave();
  Error error;
  error.status = 500;
  error.code = "internal_error";
  error.message = "The server failed to answer this request.";
  progress_.failed(error);
  if (streaming_) {
    frames_.clear();
    writer_->fail(error, frames_);
    if (co_await exchange_.write(std::move(frames_))) co_await exchange_.end_stream();
  } else if (!responding_) {
    co_await refuse(std::move(error));
  }
}

awaitable<void> GenerationHandler::answer() {
  if (core_.draining) {
    Error error;
    error.status = 503;
    error.code = "draining";
    error.message = "The server is stopping; send the request to another one, or later.";
    error.retry_after_seconds = 5;
    co_await refuse(std::move(error));
    co_return;
  }
  const bool admitted = co_await admit();
  if (!admitted) co_return;
  fold_.emplace(static_cast<int>(sources_.size()), request_.wire.samples,
                [model = request_.model](int token) { return model->is_special(token); });
  if (request_.wire.stream) {
    co_await answer_stream();
  } else {
    co_await answer_whole();
  }
}

// False when the request was answered with an error, or nobody waits for an answer.
awaitable<bool> GenerationHandler::admit() {
  auto begun = Admission::begin(core_, endpoint_, exchange_.request(), bell_);
  if (!begun) {
    co_await refuse(begun.error());
    co_return false;
  }
  admission_ = *std::move(begun);
  while (!admission_->done()) {
    co_await exchange_.wakeup()->wait_for(core_.options.keep_alive_seconds);
    if (exchange_.peer_gone()) co_return false;
  }
  auto admitted = admission_->take();
  admission_.reset();
  if (!admitted) {
    co_await refuse(admitted.error());
    co_return false;
  }
  request_ = std::move(admitted->request);
  sources_ = std::move(admitted->sources);
  progress_.accepted(request_);
  co_return true;
}

awaitable<void> GenerationHandler::refuse(Error error) {
  responding_ = true;
  progress_.refused(error);
  co_await exchange_.respond(error_response(error));
}

// Moves what is ready into the deltas. True when there may be more.
bool GenerationHandler::take_events() {
  for (std::size_t prompt = 0; prompt < sources_.size(); ++prompt) {
    while (sources_[prompt]) {
      if (deltas_.size() >= kMaxDeltas) return true;
      auto event = sources_[prompt]->try_next();
      if (!event) break;
      progress_.note(static_cast<int>(prompt), *event);
      if (std::holds_alternative<GenerationEnd>(*event)) sources_[prompt].reset();
      fold_->apply(static_cast<int>(prompt), *std::move(event), deltas_);
    }
  }
  progress_.measure();
  return false;
}

void GenerationHandler::leave() {
  for (auto& source : sources_) {
    if (source) source->cancel();
  }
  sources_.clear();
}

awaitable<void> GenerationHandler::answer_whole() {
  std::vector<Choice> choices(static_cast<std::size_t>(fold_->choices()));
  while (!fold_->finished()) {
    const bool more = take_events();
    for (auto& delta : deltas_) {
      choices[static_cast<std::size_t>(delta.choice)].add(std::move(delta));
    }
    deltas_.clear();
    if (more || fold_->finished()) continue;
    co_await exchange_.wakeup()->wait_for(core_.options.keep_alive_seconds);
    if (exchange_.peer_gone()) {
      leave();
      co_return;
    }
  }
  responding_ = true;
  http::Response response;
  if (fold_->error()) {
    leave();
    progress_.failed(*fold_->error());
    response = error_response(*fold_->error());
  } else {
    choices = best_choices(std::move(choices), request_.wire);
    progress_.completed(fold_->usage(), fold_->queue_seconds());
    response.body = response_body(head(), request_.wire, choices, fold_->usage());
  }
  for (auto& header : headers()) response.headers.push_back(std::move(header));
  co_await exchange_.respond(std::move(response));
}

// The status line goes out with the first text, or after one keep-alive's silence: so a request
// that fails at once still gets an HTTP status.
awaitable<void> GenerationHandler::answer_stream() {
  writer_.emplace(head(), request_.wire);
  while (true) {
    const bool more = take_events();
    if (fold_->error() && !streaming_ && deltas_.empty()) {
      leave();
      co_await refuse(*fold_->error());
      co_return;
    }
    for (const auto& delta : deltas_) writer_->add(delta, frames_);
    deltas_.clear();
    if (fold_->error()) {
      leave();
      progress_.failed(*fold_->error());
      writer_->fail(*fold_->error(), frames_);
    } else if (fold_->finished()) {
      progress_.completed(fold_->usage(), fold_->queue_seconds());
      writer_->end(fold_->usage(), frames_);
    }
    if (!frames_.empty()) {
      const bool sent = co_await flush();
      if (!sent) break;
    }
    if (fold_->finished()) {
      co_await exchange_.end_stream();
      co_return;
    }
    if (more) continue;
    const bool news = co_await exchange_.wakeup()->wait_for(core_.options.keep_alive_seconds);
    if (exchange_.peer_gone()) break;
    if (!news) frames_ += ": keep-alive\n\n";
  }
  leave();
}

// Sends the frames, after the stream's head when they are the first; false when the peer is gone.
awaitable<bool> GenerationHandler::flush() {
  if (!streaming_) {
    responding_ = true;
    const bool begun = co_await exchange_.begin_stream(headers());
    if (!begun) co_return false;
    streaming_ = true;
    std::string first;
    writer_->begin(fold_->choices(), first);
    frames_.insert(0, first);
  }
  std::string frames = std::exchange(frames_, {});
  const bool sent = co_await exchange_.write(std::move(frames));
  co_return sent;
}

http::Headers GenerationHandler::headers() const {
  http::Headers headers;
  headers.emplace_back("x-seed", request_.seed);
  if (!request_.ignored.empty()) {
    headers.emplace_back("x-mlxd-ignored", header_safe(request_.ignored));
  }
  return headers;
}

ResponseHead GenerationHandler::head() const {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  ResponseHead head;
  head.id = make_response_id(endpoint_);
  head.created = static_cast<long>(std::chrono::duration_cast<std::chrono::seconds>(now).count());
  head.model = request_.model->id();
  head.fingerprint = request_.model->fingerprint();
  return head;
}

awaitable<void> generate(Core& core, Endpoint endpoint, http::Exchange& exchange) {
  GenerationHandler handler(core, endpoint, exchange);
  co_await handler.run();
}

}  // namespace

void mount_openai(http::Router& router, Core& core) {
  router.add("POST", "/v1/chat/completions", [&core](http::Exchange& exchange) {
    return generate(core, Endpoint::chat, exchange);
  });
  router.add("POST", "/v1/completions", [&core](http::Exchange& exchange) {
    return generate(core, Endpoint::completions, exchange);
  });
}

}  // namespace mlxd::api
