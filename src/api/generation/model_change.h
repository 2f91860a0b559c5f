#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
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

  // When there is nothing more to wait for, though the pool may be busy with another model.
  TimePoint deadline() const { return deadline_; }
  bool done() const { return done_.load(std::memory_order_acquire); }
  // After `done` or the deadline: the model that was loaded (null, of one that was let go), or why
  // it did not come to that.
  Result<LeasedModel> take();
  // Nobody waits any more for a model to be loaded.
  void withdraw() { models_.withdraw(load_); }

 private:
  ModelChange(const ModelDirectory& models, std::string_view name, TimePoint deadline)
      : models_(models), name_(name), deadline_(deadline) {}
  void end(Result<LeasedModel> result, Bell& bell) noexcept;

  const ModelDirectory models_;
  const std::string name_;
  const TimePoint deadline_;
  std::uint64_t load_ = 0;  // of the handler's thread
  std::optional<Result<LeasedModel>> result_;
  std::atomic<bool> done_{false};
};

}  // namespace mlxd::api
