#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tracing/settings.h"

namespace mlxd::tracing {

// What became of a request at the collector.
struct Sent {
  bool taken = false;
  bool may_pass = false;            // it was not taken, and may be the next time
  double retry_after_seconds = 0;   // 0: the collector does not say
  std::string failure{};            // in words; "" where all was taken
  std::int64_t rejected_spans = 0;  // of a request that was taken
};

// Posts bodies to one address, over a connection that stays. One thread at a time.
class OtlpClient {
 public:
  // Throws StartupError where certificates are needed and none are found.
  explicit OtlpClient(const Settings& settings);
  ~OtlpClient();

  // Returns within the timeout, and soon after `stopped`, which is asked about once a second, says
  // true.
  Sent post(const std::string& body, const std::function<bool()>& stopped);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace mlxd::tracing
