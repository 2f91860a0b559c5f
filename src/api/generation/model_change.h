#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string_view>

#include "api/generation/bell.h"
#include "api/generation/model_directory.h"
#include "base/clock.h"
#include "base/error.h"

namespace mlxd::api {

// A model that is being loaded or let go, for a handler that waits for it. Shared by the handler
// and the pool, so that either may go first.
class ModelChange {
 public:
  // `bell` rings when `done`.
  static std::shared_ptr<ModelChange> load(const ModelDirectory& models, std::string_view name,
                                           TimePoint deadline, std::shared_ptr<Bell> bell);
  static std::shared_ptr<ModelChange> unload(const ModelDirectory& models, std::string_view name,
                                             std::shared_ptr<Bell> bell);

  bool done() const { return done_.load(std::memory_order_acquire); }
  // After `done`: why it did not come to that. A model that was loaded stays for as long as this
  // lives.
  const std::optional<Error>& failure() const { return failure_; }

 private:
  void end(Bell& bell);

  LeasedModel lease_;
  std::optional<Error> failure_;
  std::atomic<bool> done_{false};
};

}  // namespace mlxd::api
