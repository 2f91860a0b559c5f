#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/generation/bell.h"
#include "api/generation/dialect.h"
#include "api/generation/shared.h"
#include "base/error.h"
#include "http/exchange.h"

namespace mlxd::api {

// A request that the engine took: one generation for each prompt, which `request` no longer holds.
struct Admitted {
  ParsedRequest request;
  std::vector<std::unique_ptr<Generation>> generations;
};

// The way of a body through the text pool. Shared by the handler and the job, so that either may go
// first; what was admitted for a handler that has gone is cancelled with it.
class Admission {
 public:
  // Takes the body out of the exchange, to let it go as soon as it is parsed, and queues parsing
  // and submitting; nothing (429) when the pool has too much to do. `bell` rings when `done`, and
  // later when events wait.
  static Result<std::shared_ptr<Admission>> begin(GenerationShared& shared, const Dialect& dialect,
                                                  http::Exchange& exchange,
                                                  std::shared_ptr<Bell> bell);

  bool done() const { return done_.load(std::memory_order_acquire); }
  // Once, after `done`. All prompts were accepted, or none.
  Result<Admitted> take();
  void abandon() { abandoned_ = true; }  // a job that has not begun is not worth beginning

 private:
  void run(GenerationShared& shared, const Dialect& dialect, const std::shared_ptr<Bell>& bell);
  Result<Admitted> admit(GenerationShared& shared, const Dialect& dialect,
                         const std::shared_ptr<Bell>& bell);

  std::string id_;
  http::Body body_;
  std::uint64_t caller_ = 0;
  std::optional<Result<Admitted>> result_;
  Error failure_;  // made beforehand: when it is wanted there may be no memory
  std::atomic<bool> done_{false};
  std::atomic<bool> abandoned_{false};
};

}  // namespace mlxd::api
