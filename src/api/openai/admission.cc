#include "api/openai/admission.h"

#include <exception>
#include <utility>

#include <spdlog/spdlog.h>

#include "api/core.h"
#include "api/openai/parse_request.h"

namespace mlxd::api {
namespace {

Error overloaded() {
  Error error;
  error.status = 429;
  error.code = "overloaded";
  error.message = "Too many requests wait for their prompts to be read; send this one again later.";
  error.retry_after_seconds = 1;
  return error;
}

Error internal_error() {
  Error error;
  error.status = 500;
  error.code = "internal_error";
  error.message = "The server failed to prepare this request.";
  return error;
}

}  // namespace

Result<std::shared_ptr<Admission>> Admission::begin(Core& core, Endpoint endpoint,
                                                    const http::Request& request,
                                                    std::shared_ptr<Bell> bell) {
  auto admission = std::make_shared<Admission>();
  admission->id_ = request.id;
  admission->body_ = request.body;
  admission->caller_ = request.caller;
  const bool queued = core.pool.try_post([admission, &core, endpoint, bell = std::move(bell)] {
    admission->run(core, endpoint, bell);
    bell->ring();
  });
  if (!queued) return overloaded();
  return admission;
}

Result<Admitted> Admission::take() { return *std::move(result_); }

void Admission::run(Core& core, Endpoint endpoint, const std::shared_ptr<Bell>& bell) {
  try {
    if (!abandoned_) result_ = admit(core, endpoint, bell);
  } catch (const std::exception& failure) {
    spdlog::error("request {} could not be prepared: {}", id_, failure.what());
  }
  if (!result_) result_ = internal_error();
  body_ = {};
  if (abandoned_) result_ = internal_error();  // lets go of what was submitted
  done_.store(true, std::memory_order_release);
}

Result<Admitted> Admission::admit(Core& core, Endpoint endpoint,
                                  const std::shared_ptr<Bell>& bell) {
  ParseOptions options;
  options.endpoint = endpoint;
  options.lenient = core.options.lenient;
  options.max_timeout_seconds = endpoint == Endpoint::chat
                                    ? core.options.chat_timeout_seconds
                                    : core.options.completions_timeout_seconds;
  auto parsed = parse_request(body_, options, core.models);
  if (!parsed) return parsed.error();
  Admitted admitted{*std::move(parsed), {}};
  for (auto& prompt : admitted.request.prompts) {
    prompt.id = id_;
    prompt.caller = caller_;
    prompt.cache_salt = core.options.share_prefix_cache ? 0 : caller_;
    auto source = admitted.request.model->start(prompt, [bell] { bell->ring(); });
    if (!source) return source.error();  // and those before it are cancelled
    admitted.sources.push_back(*std::move(source));
  }
  return admitted;
}

}  // namespace mlxd::api
