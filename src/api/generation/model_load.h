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

// A model on its way to being ready, for a handler that waits for it. Shared by the handler and
// whoever loads, so that either may go first.
class ModelLoad {
 public:
  // `bell` rings when `done`.
  static std::shared_ptr<ModelLoad> begin(const ModelDirectory& models, std::string_view name,
                                          TimePoint deadline, std::shared_ptr<Bell> bell);

  bool done() const { return done_.load(std::memory_order_acquire); }
  // After `done`: why it is not ready. Nothing: it is, and stays so for as long as this lives.
  const std::optional<Error>& failure() const { return failure_; }

 private:
  LeasedModel lease_;
  std::optional<Error> failure_;
  std::atomic<bool> done_{false};
};

}  // namespace mlxd::api
