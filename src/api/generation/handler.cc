// One request of a generation endpoint, from its body to the last byte of its answer, as a
// coroutine on the I/O thread.
#include "api/generation/handler.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <spdlog/spdlog.h>

#include "api/generation/admission.h"
#include "api/generation/bell.h"
#include "api/generation/fold.h"
#include "api/generation/progress.h"
#include "api/generation/stream_log.h"
#include "http/router.h"

namespace mlxd::api {
namespace {

// Deltas turned into frames between two writes: bounds the buffer, not the answer.
constexpr std::size_t kMaxDeltas = 1024;

class GenerationHandler {
 public:
  GenerationHandler(GenerationShared& shared, const Dialect& dialect, http::Exchange& exchange)
      : shared_(shared),
        dialect_(dialect),
        exchange_(exchange),
        bell_(std::make_shared<Bell>(exchange.wakeup())),
        progress_(shared, exchange.request(), dialect) {}
  ~GenerationHandler() {
    if (log_ && !log_->ended()) log_->end(Clock::now());
    bell_->silence();
  }

  Task<> run();

 private:
  Task<> answer();
  Task<bool> admit();
  Task<> answer_whole();
  Task<> answer_stream();
  Task<> flush();
  bool may_go_on();
  Task<> refuse(Error error);
  bool take_events();
  http::Response whole_response();
  void leave();

  GenerationShared& shared_;
  const Dialect& dialect_;
  http::Exchange& exchange_;
  const std::shared_ptr<Bell> bell_;
  Progress progress_;
  ParsedRequest request_;
  std::vector<std::unique_ptr<Generation>> generations_;
  std::optional<AnswerFold> fold_;
  std::vector<TextDelta> deltas_;    // taken, and not yet answered
  std::vector<ChoiceText> choices_;  // of an answer that is not streamed
  std::string frames_;               // written by the writer, and not yet sent
  std::shared_ptr<StreamLog> log_;   // of a stream that may be resumed; else null
  bool unsent_ = false;              // a write has failed
  bool responding_ = false;          // respond or begin_stream was called
  bool streaming_ = false;
};

Task<> GenerationHandler::run() {
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
  error.request_id = exchange_.request().id;
  progress_.failed(error);
  if (streaming_) {
    frames_.clear();
    request_.writer->fail(error, frames_);
    if (co_await exchange_.write(std::move(frames_))) co_await exchange_.end_stream();
  } else if (!responding_) {
    co_await refuse(std::move(error));
  }
}

Task<> GenerationHandler::answer() {
  if (shared_.draining) {
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
  std::vector<int> prompt_tokens;
  for (const auto& generation : generations_) prompt_tokens.push_back(generation->prompt_tokens());
  fold_.emplace(prompt_tokens, request_.job.samples);
  if (request_.stream) {
    co_await answer_stream();
  } else {
    co_await answer_whole();
  }
}

// False when the request was answered with an error, or nobody waits for an answer.
Task<bool> GenerationHandler::admit() {
  auto admitted = co_await api::admit(shared_, dialect_, exchange_, bell_, progress_.ask());
  if (!admitted) co_return false;
  if (!*admitted) {
    co_await refuse(admitted->error());
    co_return false;
  }
  request_ = std::move((*admitted)->request);
  if (!dialect_.id_header().empty()) {
    request_.headers.emplace_back(dialect_.id_header(), exchange_.request().id);
  }
  generations_ = std::move((*admitted)->generations);
  progress_.accepted(request_, generations_.size());
  int prompt_tokens = 0;
  for (const auto& generation : generations_) prompt_tokens += generation->prompt_tokens();
  request_.writer->accepted(prompt_tokens);
  co_return true;
}

Task<> GenerationHandler::refuse(Error error) {
  responding_ = true;
  error = dialect_.in_own_terms(std::move(error));
  progress_.refused(error);
  error.request_id = exchange_.request().id;
  http::Response response = error_response(error, dialect_.error_body(error));
  if (!dialect_.id_header().empty()) {
    response.headers.emplace_back(dialect_.id_header(), error.request_id);
  }
  co_await exchange_.respond(std::move(response));
}

// Moves what is ready into the deltas. True when there may be more.
bool GenerationHandler::take_events() {
  for (std::size_t prompt = 0; prompt < generations_.size(); ++prompt) {
    while (generations_[prompt]) {
      if (deltas_.size() >= kMaxDeltas) return true;
      auto event = generations_[prompt]->try_next();
      if (!event) break;
      progress_.note(static_cast<int>(prompt), *event);
      if (std::holds_alternative<GenerationEnd>(*event)) generations_[prompt].reset();
      fold_->apply(static_cast<int>(prompt), *std::move(event), deltas_);
    }
  }
  progress_.measure();
  return false;
}

void GenerationHandler::leave() {
  for (auto& generation : generations_) {
    if (generation) generation->cancel();
  }
  generations_.clear();
}

Task<> GenerationHandler::answer_whole() {
  choices_.resize(static_cast<std::size_t>(fold_->choices()));
  while (!fold_->finished()) {
    const bool more = take_events();
    for (auto& delta : deltas_) {
      append(choices_[static_cast<std::size_t>(delta.choice)], std::move(delta));
    }
    deltas_.clear();
    if (more || fold_->finished()) continue;
    co_await exchange_.wakeup()->wait_for(shared_.keep_alive_seconds);
    if (exchange_.peer_gone()) {
      leave();
      co_return;
    }
  }
  responding_ = true;
  http::Response response = whole_response();
  co_await exchange_.respond(std::move(response));
}

http::Response GenerationHandler::whole_response() {
  http::Response response;
  auto choices = std::exchange(choices_, {});
  if (fold_->error()) {
    leave();
    Error error = dialect_.in_own_terms(*fold_->error());
    error.request_id = exchange_.request().id;
    progress_.failed(error);
    response = error_response(error, dialect_.error_body(error));
  } else {
    progress_.completed(fold_->usage(), fold_->queue_seconds());
    request_.writer->took(progress_.times());
    response.body = request_.writer->whole(
        best_choices(std::move(choices), request_.job.samples, request_.choices), fold_->usage());
  }
  for (auto& header : request_.headers) response.headers.push_back(std::move(header));
  return response;
}

// The status line goes out with the first text, or after one keep-alive's silence: so a request
// that fails at once still gets an HTTP status.
Task<> GenerationHandler::answer_stream() {
  while (true) {
    // A stream that nobody reads waits when there is no more room for it.
    const bool waits = log_ && log_->lost() && log_->is_full();
    const bool more = !waits && take_events();
    if (fold_->error() && !streaming_ && deltas_.empty()) {
      leave();
      co_await refuse(*fold_->error());
      co_return;
    }
    if (const auto progress = fold_->take_progress()) {
      request_.writer->progress(*progress, frames_);
    }
    for (const auto& delta : deltas_) request_.writer->add(delta, frames_);
    deltas_.clear();
    if (fold_->error()) {
      leave();
      Error error = *fold_->error();
      error.request_id = exchange_.request().id;
      progress_.failed(error);
      request_.writer->fail(error, frames_);
    } else if (fold_->finished()) {
      progress_.completed(fold_->usage(), fold_->queue_seconds());
      request_.writer->took(progress_.times());
      request_.writer->end(fold_->usage(), frames_);
    }
    if (!frames_.empty()) co_await flush();
    if (!may_go_on()) break;
    if (fold_->finished()) {
      if (log_) log_->end(Clock::now());
      if (!unsent_) co_await exchange_.end_stream();
      co_return;
    }
    if (more) continue;
    const double patience = log_ ? std::min(shared_.keep_alive_seconds, shared_.streams.seconds())
                                 : shared_.keep_alive_seconds;
    const bool news = co_await exchange_.wakeup()->wait_for(patience);
    if (!may_go_on()) break;
    if (!news && !unsent_) request_.writer->keep_alive(frames_);
  }
  leave();
}

// Whether somebody reads the stream, or may yet.
bool GenerationHandler::may_go_on() {
  unsent_ = unsent_ || exchange_.peer_gone();
  if (!unsent_) return true;
  if (!log_ || shared_.draining) return false;
  const TimePoint now = Clock::now();
  if (!log_->lost()) log_->lose(now);
  return log_->has_reader() || seconds_between(log_->lost_at(), now) < shared_.streams.seconds();
}

// Sends the frames, after the stream's head when they are the first.
Task<> GenerationHandler::flush() {
  if (!streaming_) {
    responding_ = true;
    const bool begun =
        co_await exchange_.begin_stream(request_.headers, request_.writer->content_type());
    unsent_ = !begun;
    if (!begun) co_return;
    streaming_ = true;
    progress_.began_stream();
    std::string first;
    request_.writer->begin(fold_->choices(), first);
    frames_.insert(0, first);
    if (request_.writer->content_type() == http::kEventStream) {
      log_ = shared_.streams.open(exchange_.request().caller, Clock::now());
      if (log_) log_->set_writer(exchange_.wakeup());
    }
  }
  std::string frames = std::exchange(frames_, {});
  if (log_) frames = log_->add(frames);
  // Who reads on has come in place of this peer.
  unsent_ = unsent_ || (log_ && log_->has_reader());
  if (unsent_) co_return;
  const bool sent = co_await exchange_.write(std::move(frames));
  unsent_ = !sent;
}

// The rest of a stream, from the event on that its client read last.
Task<> read_on(GenerationShared& shared, http::Exchange& exchange, StreamLogs::Found found) {
  exchange.take_body().release();
  StreamLog::Reader reader(std::move(found.log), found.last, exchange.wakeup());
  http::Headers headers;
  bool reads = co_await exchange.begin_stream(std::move(headers), http::kEventStream);
  while (reads) {
    std::string frames = reader.next();
    if (frames.empty()) {
      if (reader.is_over()) break;
      const bool news = co_await exchange.wakeup()->wait_for(shared.keep_alive_seconds);
      if (exchange.peer_gone()) co_return;
      if (news) continue;
      frames = ": keep-alive\n\n";
    }
    reads = co_await exchange.write(std::move(frames));
  }
  if (reads) co_await exchange.end_stream();
}

Error no_such_stream() {
  return {.status = 404,
          .code = "stream_not_found",
          .param = {},
          .message =
              "The stream that Last-Event-ID names is not kept any more, or not all that "
              "comes behind; send the request without this header to begin anew."};
}

Task<> generate(GenerationShared& shared, const Dialect& dialect, http::Exchange& exchange) {
  const std::string_view last = exchange.request().header("last-event-id");
  if (shared.streams.enabled() && !last.empty()) {
    auto found = shared.streams.find(exchange.request().caller, last, Clock::now());
    if (found.log) {
      co_await read_on(shared, exchange, std::move(found));
      co_return;
    }
    Error error = dialect.in_own_terms(no_such_stream());
    error.request_id = exchange.request().id;
    http::Response response = error_response(error, dialect.error_body(error));
    co_await exchange.respond(std::move(response));
    co_return;
  }
  GenerationHandler handler(shared, dialect, exchange);
  co_await handler.run();
}

}  // namespace

http::Response error_response(const Error& error, std::string body) {
  http::Response response;
  response.status = error.status;
  response.body = std::move(body);
  if (auto seconds = retry_after(error)) {
    response.headers.emplace_back("Retry-After", *std::move(seconds));
  }
  // OpenAI's and Anthropic's clients would send a request again, and again, that takes too long.
  if (error.status == 504 && error.retry_after_seconds <= 0)
    response.headers.emplace_back("x-should-retry", "false");
  return response;
}

void mount_generation(http::Router& router, GenerationShared& shared, const Dialect& dialect) {
  router.add("POST", std::string(dialect.path()), [&shared, &dialect](http::Exchange& exchange) {
    return generate(shared, dialect, exchange);
  });
}

}  // namespace mlxd::api
