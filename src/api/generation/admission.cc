#include "api/generation/admission.h"

#include <cstdint>
#include <string>
#include <utility>

namespace mlxd::api {
namespace {

// Who asks, as the engine is to know it.
struct Asker {
  std::string request_id;
  std::uint64_t caller = 0;
};

Result<Admitted> admit(GenerationShared& shared, const Dialect& dialect, const Asker& asker,
                       const std::shared_ptr<Bell>& bell, http::Body& body) {
  auto parsed = dialect.parse_for(asker.caller, body.text, shared.models);
  body.release();
  if (!parsed) return parsed.error();
  Admitted admitted{*std::move(parsed), {}};
  ParsedRequest& request = admitted.request;
  request.job.id = asker.request_id;
  request.job.caller = asker.caller;
  request.job.cache_salt = shared.share_prefix_cache ? 0 : asker.caller;
  if (request.embed) {
    request.embed->job = request.job;
    auto generation =
        request.model->embed(*std::exchange(request.embed, {}), [bell] { bell->ring(); });
    if (!generation) return generation.error();
    admitted.generations.push_back(*std::move(generation));
  }
  for (Prompt& prompt : std::exchange(request.prompts, {})) {
    auto generation = request.model->start({std::move(prompt), request.text, request.job},
                                           [bell] { bell->ring(); });
    if (!generation) return generation.error();  // and those before it are cancelled
    admitted.generations.push_back(*std::move(generation));
  }
  return admitted;
}

}  // namespace

Result<std::shared_ptr<Admission>> begin_admission(GenerationShared& shared, const Dialect& dialect,
                                                   http::Exchange& exchange,
                                                   std::shared_ptr<Bell> bell) {
  const http::Request& request = exchange.request();
  return Admission::begin(
      shared.pool, exchange, bell,
      [&shared, &dialect, bell, asker = Asker{request.id, request.caller}](http::Body& body) {
        return admit(shared, dialect, asker, bell, body);
      });
}

}  // namespace mlxd::api
