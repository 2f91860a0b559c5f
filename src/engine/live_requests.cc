#include "engine/live_requests.h"

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

void LiveRequests::end_all(const Error& error) {
  // The events go out without the lock: on_ready is foreign code.
  decltype(live_) ending;
  {
    std::lock_guard lock(mutex_);
    ending.swap(live_);
  }
  for (const auto& [key, request] : ending) {
    RequestFinished event;
    event.outcome = RequestFinished::Outcome::error;
    event.error = error;
    request->finish(std::move(event));
  }
}

void LiveRequests::close(const Error& error) {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  end_all(error);
}

}  // namespace mlxd
