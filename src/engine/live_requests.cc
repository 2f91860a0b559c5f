#include "engine/live_requests.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

namespace mlxd {

bool LiveRequests::add(std::shared_ptr<RequestHandle::Shared> request) {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  live_.emplace(request.get(), std::move(request));
  return true;
}

void LiveRequests::remove(const RequestHandle::Shared* request) {
  std::lock_guard lock(mutex_);
  live_.erase(request);
}

std::size_t LiveRequests::size() const {
  std::lock_guard lock(mutex_);
  return live_.size();
}

namespace {

Error copy_of(const Error& error) noexcept try { return error; } catch (const std::bad_alloc&) {
  Error bare;
  bare.status = error.status;
  // No longer than a string has room for in itself.
  bare.code.assign(error.code, 0, std::min(error.code.size(), std::string().capacity()));
  bare.message = "Out of memory.";
  bare.retry_after_seconds = error.retry_after_seconds;
  return bare;
}

}  // namespace

void LiveRequests::end_all(const Error& error) noexcept {
  // The events go out without the lock: on_ready is foreign code.
  decltype(live_) ending;
  {
    std::lock_guard lock(mutex_);
    ending.swap(live_);
  }
  for (const auto& [key, request] : ending) {
    RequestFinished event;
    event.outcome = RequestFinished::Outcome::error;
    event.error = copy_of(error);
    request->finish(std::move(event));
  }
}

void LiveRequests::close(const Error& error) noexcept {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  end_all(error);
}

}  // namespace mlxd
