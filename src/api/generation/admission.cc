#include "api/generation/admission.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "api/generation/text_job.h"

namespace mlxd::api {
namespace {

// Who asks, as the engine is to know it.
struct Asker {
  std::string request_id;
  std::uint64_t caller = 0;
  bool has_session = false;  // it goes on with what it has said
};

// A request that names its session will be followed by others that begin as it does. Which one does
// not matter: they are known by their tokens.
bool names_session(const http::Request& request) {
  constexpr std::array<std::string_view, 5> kHeaders = {
      "x-session-id", "x-claude-code-session-id", "session_id", "session-id", "conversation_id"};
  return std::ranges::any_of(
      kHeaders, [&](std::string_view header) { return !request.header(header).empty(); });
}

Result<Admitted> parse_and_submit(const GenerationShared& shared, const Dialect& dialect,
                                  const Asker& asker, const std::shared_ptr<Bell>& bell,
                                  http::Body& body, const ModelDirectory& models) {
  auto parsed = dialect.parse_for(asker.caller, body.text, models);
  if (!parsed) return parsed.error();
  body.release();
  Admitted admitted{*std::move(parsed), {}};
  ParsedRequest& request = admitted.request;
  request.job.id = asker.request_id;
  request.job.caller = asker.caller;
  if (asker.has_session) request.text.keep.push_back({KeepRule::kAll, kSessionTime});
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

Task<std::optional<Result<Admitted>>> admit(GenerationShared& shared, const Dialect& dialect,
                                            http::Exchange& exchange, std::shared_ptr<Bell> bell,
                                            ModelAsk& ask) {
  const http::Request& request = exchange.request();
  return read_body<Admitted>(
      shared, exchange, bell,
      [&shared, &dialect, bell, asker = Asker{request.id, request.caller, names_session(request)}](
          http::Body& body, const ModelDirectory& models) {
        return parse_and_submit(shared, dialect, asker, bell, body, models);
      },
      &ask);
}

}  // namespace mlxd::api
