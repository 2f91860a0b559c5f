#include "api/generation/query.h"

#include <exception>
#include <memory>
#include <utility>

#include <spdlog/spdlog.h>

#include "api/generation/bell.h"
#include "api/generation/dialect.h"
#include "api/generation/text_job.h"
#include "http/router.h"

namespace mlxd::api {
namespace {

using QueryJob = TextJob<std::string>;

class QueryHandler {
 public:
  QueryHandler(GenerationShared& shared, const Query& query, http::Exchange& exchange)
      : shared_(shared),
        query_(query),
        exchange_(exchange),
        bell_(std::make_shared<Bell>(exchange.wakeup())) {}
  ~QueryHandler() {
    bell_->silence();
    if (job_) job_->abandon();
  }

  Task<> run() {
    auto begun = QueryJob::begin(
        shared_.pool, exchange_, bell_,
        [&query = query_, &models = shared_.models, caller = exchange_.request().caller](
            http::Body& body) { return query.answer_for(caller, body.text, models); });
    if (!begun) {
      co_await refuse(begun.error());
      co_return;
    }
    job_ = *std::move(begun);
    while (!job_->done()) {
      co_await exchange_.wakeup()->wait_for(shared_.keep_alive_seconds);
      if (exchange_.peer_gone()) co_return;
    }
    auto answer = job_->take();
    job_.reset();
    if (!answer) {
      co_await refuse(answer.error());
      co_return;
    }
    http::Response response;
    response.body = *std::move(answer);
    co_await respond(std::move(response));
  }

 private:
  Task<> refuse(Error error) {
    error = query_.in_own_terms(std::move(error));
    error.request_id = exchange_.request().id;
    co_await respond(error_response(error, query_.error_body(error)));
  }
  Task<> respond(http::Response response) {
    if (!query_.id_header().empty()) {
      response.headers.emplace_back(query_.id_header(), exchange_.request().id);
    }
    co_await exchange_.respond(std::move(response));
  }

  GenerationShared& shared_;
  const Query& query_;
  http::Exchange& exchange_;
  const std::shared_ptr<Bell> bell_;
  std::shared_ptr<QueryJob> job_;
};

Task<> ask(GenerationShared& shared, const Query& query, http::Exchange& exchange) {
  QueryHandler handler(shared, query, exchange);
  co_await handler.run();
}

}  // namespace

void mount_query(http::Router& router, GenerationShared& shared, const Query& query) {
  router.add(std::string(query.method()), std::string(query.path()),
             [&shared, &query](http::Exchange& exchange) { return ask(shared, query, exchange); });
}

}  // namespace mlxd::api
