#include "api/generation/admission.h"

#include <exception>
#include <utility>

#include <spdlog/spdlog.h>

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

Result<std::shared_ptr<Admission>> Admission::begin(GenerationShared& shared,
                                                    const Dialect& dialect,
                                                    http::Exchange& exchange,
                                                    std::shared_ptr<Bell> bell) {
  auto admission = std::make_shared<Admission>();
  admission->id_ = exchange.request().id;
  admission->caller_ = exchange.request().caller;
  admission->body_ = exchange.take_body();
  admission->failure_ = internal_error();
  const bool queued = shared.pool.try_post([admission, &shared, &dialect, bell = std::move(bell)] {
    admission->run(shared, dialect, bell);
    bell->ring();
  });
  if (!queued) return overloaded();
  return admission;
}

Result<Admitted> Admission::take() { return *std::move(result_); }

void Admission::run(GenerationShared& shared, const Dialect& dialect,
                    const std::shared_ptr<Bell>& bell) {
  try {
    if (!abandoned_) result_ = admit(shared, dialect, bell);
  } catch (const std::exception& failure) {
    spdlog::error("request {} could not be prepared: {}", id_, failure.what());
  } catch (...) {
    spdlog::error("request {} could not be prepared", id_);
  }
  body_.release();
  // For an abandoned one, this lets go of what was submitted.
  if (!result_ || abandoned_) result_.emplace(std::move(failure_));
  done_.store(true, std::memory_order_release);
}

Result<Admitted> Admission::admit(GenerationShared& shared, const Dialect& dialect,
                                  const std::shared_ptr<Bell>& bell) {
  auto parsed = dialect.parse(body_.text, shared.models);
  body_.release();
  if (!parsed) return parsed.error();
  Admitted admitted{*std::move(parsed), {}};
  ParsedRequest& request = admitted.request;
  request.job.id = id_;
  request.job.caller = caller_;
  request.job.cache_salt = shared.share_prefix_cache ? 0 : caller_;
  for (Prompt& prompt : std::exchange(request.prompts, {})) {
    auto generation = request.model->start({std::move(prompt), request.text, request.job},
                                           [bell] { bell->ring(); });
    if (!generation) return generation.error();  // and those before it are cancelled
    admitted.generations.push_back(*std::move(generation));
  }
  return admitted;
}

}  // namespace mlxd::api
