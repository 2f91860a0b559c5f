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

class QueryHandler {
 public:
  QueryHandler(GenerationShared& shared, const Query& query, http::Exchange& exchange)
      : shared_(shared),
        query_(query),
        exchange_(exchange),
        bell_(std::make_shared<Bell>(exchange.wakeup())) {}
  ~QueryHandler() { bell_->silence(); }

  Task<> run() {
    TextWork<std::string> work = [&query = query_, caller = exchange_.request().caller](
                                     http::Body& body, const ModelDirectory& models) {
      return query.answer_for(caller, body.text, models);
    };
    auto answer = co_await read_body<std::string>(shared_, exchange_, bell_, std::move(work));
    if (!answer) co_return;
    if (!*answer) {
      co_await refuse(answer->error());
      co_return;
    }
    http::Response response;
    response.body = **std::move(answer);
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
