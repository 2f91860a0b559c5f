// backend/cuda: the model on one NVIDIA card, with kernels of our own. Everything on the card is
// made, used and freed on the inference thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/load_progress.h"
#include "base/system_memory.h"
#include "engine/model_runner.h"
#include "model/model_plan.h"

namespace mlxd::cuda_backend {

// Whether this build contains the kernels. Without them, and where there is no card, the functions
// below that make something throw StartupError.
bool available();

// Why there is no card to run on, as the end of a sentence; "": there is one. Any thread.
std::string missing_card();

// Memory of the card: what is free now, and all of it. Nothing without a card.
std::optional<SystemMemory> card_memory();

// By the headers alone; needs no card. Throws LoadError for what the backend cannot run.
RunnerMemory foresee_cuda_memory(const ModelPlan& plan, const StepLimits& limits);

// To be called on the inference thread. Throws LoadError for what the backend cannot run,
// StartupError where there is no card and std::bad_alloc where its memory is short.
//
// Of every product the columns are summed in an order of their own, by one kind of matrix product,
// and keys by absolute positions: a row's bits do not depend on the rest of the step.
std::unique_ptr<ModelRunner> make_cuda_runner(const ModelPlan& plan,
                                              const LoadProgress& progress = {});

}  // namespace mlxd::cuda_backend
