#pragma once

#include <memory>
#include <optional>

#include "base/clock.h"
#include "engine/token_event.h"

namespace mlxd {

// The consumer's end of one request. Move-only; one thread at a time. Letting go of it before the
// terminal event cancels the request.
class RequestHandle {
 public:
  struct Shared;
  explicit RequestHandle(std::shared_ptr<Shared> shared);
  RequestHandle(RequestHandle&&) noexcept = default;
  RequestHandle& operator=(RequestHandle&&) noexcept;
  ~RequestHandle();

  std::optional<TokenEvent> try_next();                   // never blocks
  std::optional<TokenEvent> next_until(TimePoint limit);  // for command-line use and tests
  // Ends one sample early (a stop string was found in its text); its SampleFinished may still come
  // and is to be ignored.
  void stop_sample(int sample);
  void cancel();

 private:
  std::shared_ptr<Shared> shared_;
};

}  // namespace mlxd
