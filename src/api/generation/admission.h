#pragma once

#include <memory>
#include <vector>

#include "api/generation/bell.h"
#include "api/generation/dialect.h"
#include "api/generation/shared.h"
#include "api/generation/text_job.h"
#include "base/error.h"
#include "http/exchange.h"

namespace mlxd::api {

// A request that the engine took: one generation for each prompt, which `request` no longer holds.
// All prompts were accepted, or none.
struct Admitted {
  ParsedRequest request;
  std::vector<std::unique_ptr<Generation>> generations;
};

using Admission = TextJob<Admitted>;

// Queues parsing and submitting. `bell` rings when that is done, and later when events wait.
Result<std::shared_ptr<Admission>> begin_admission(GenerationShared& shared, const Dialect& dialect,
                                                   http::Exchange& exchange,
                                                   std::shared_ptr<Bell> bell);

}  // namespace mlxd::api
