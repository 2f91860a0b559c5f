#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "engine/request_shared.h"

namespace mlxd {

// Every accepted request that has not ended, so that those who find the inference thread stuck or
// gone can still end them. Any thread.
class LiveRequests {
 public:
  // False once closed.
  bool add(std::shared_ptr<RequestHandle::Shared> request);
  void remove(const RequestHandle::Shared* request);
  std::size_t size() const;

  // Ends all with an error event; the inference thread drops what it has of them later. Needs no
  // memory: where there is none for an event's message, it goes without.
  void end_all(const Error& error) noexcept;
  // As end_all, and adds no more.
  void close(const Error& error) noexcept;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<const RequestHandle::Shared*, std::shared_ptr<RequestHandle::Shared>> live_;
  bool closed_ = false;
};

}  // namespace mlxd
