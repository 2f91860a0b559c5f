#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "api/generation/bell.h"
#include "api/generation/dialect.h"
#include "api/generation/shared.h"
#include "base/error.h"
#include "base/task.h"
#include "http/exchange.h"

namespace mlxd::api {

// A request that the engine took: one generation for each prompt, which `request` no longer holds.
// All prompts were accepted, or none.
struct Admitted {
  ParsedRequest request;
  std::vector<std::unique_ptr<Generation>> generations;
};

// Has a request parsed and submitted, its model loaded where it is not. Nothing: the peer is gone.
// `bell` rings whenever that goes on, and later when events wait. `ask` is told of the model, and
// outlives the task. I/O thread.
Task<std::optional<Result<Admitted>>> admit(GenerationShared& shared, const Dialect& dialect,
                                            http::Exchange& exchange, std::shared_ptr<Bell> bell,
                                            ModelAsk& ask);

}  // namespace mlxd::api
