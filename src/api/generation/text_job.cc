#include "api/generation/text_job.h"

namespace mlxd::api {

Error text_pool_overloaded() {
  Error error;
  error.status = 429;
  error.code = "overloaded";
  error.message = "Too many requests wait for their prompts to be read; send this one again later.";
  error.retry_after_seconds = 1;
  return error;
}

Error request_not_prepared() {
  Error error;
  error.status = 500;
  error.code = "internal_error";
  error.message = "The server failed to prepare this request.";
  return error;
}

}  // namespace mlxd::api
