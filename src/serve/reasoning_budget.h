#pragma once

#include <memory>

#include "engine/token_constraint.h"
#include "serve/after_reasoning.h"

namespace mlxd {

// Bounds an answer's reasoning to so many tokens, all blocks together and without their marks: then
// the mark that closes it is the one token that may come. What `then`, null: nothing, holds the
// answer to holds beside that. `begun`: the prompt has ended with the mark that begins it.
std::unique_ptr<TokenConstraint> reasoning_budget(std::unique_ptr<TokenConstraint> then,
                                                  ReasoningTokens marks, int budget, bool begun);

}  // namespace mlxd
