#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/bell.h"
#include "api/model_port.h"
#include "api/openai/request.h"
#include "base/error.h"
#include "http/exchange.h"

namespace mlxd::api {

struct Core;

// A request that the engine took: one source of events for each prompt.
struct Admitted {
  ParsedRequest request;
  std::vector<std::unique_ptr<EventSource>> sources;
};

// The way of a body through the text pool. Shared by the handler and the job, so that either may go
// first; what was admitted for a handler that has gone is cancelled with it.
class Admission {
 public:
  // Queues parsing and submitting; nothing (429) when the pool has too much to do. `bell` rings
  // when `done`, and later when events wait.
  static Result<std::shared_ptr<Admission>> begin(Core& core, Endpoint endpoint,
                                                  const http::Request& request,
                                                  std::shared_ptr<Bell> bell);

  bool done() const { return done_.load(std::memory_order_acquire); }
  // Once, after `done`. All prompts were accepted, or none.
  Result<Admitted> take();
  void abandon() { abandoned_ = true; }  // a job that has not begun is not worth beginning

 private:
  void run(Core& core, Endpoint endpoint, const std::shared_ptr<Bell>& bell);
  Result<Admitted> admit(Core& core, Endpoint endpoint, const std::shared_ptr<Bell>& bell);

  std::string id_;
  std::string body_;
  std::uint64_t caller_ = 0;
  std::optional<Result<Admitted>> result_;
  std::atomic<bool> done_{false};
  std::atomic<bool> abandoned_{false};
};

}  // namespace mlxd::api
