#include "serve/served_model.h"

#include <algorithm>
#include <utility>

#include "serve/encode_prompt.h"
#include "serve/engine_generation.h"

namespace mlxd {

Result<std::unique_ptr<Generation>> ServedModel::start(GenerateRequest request,
                                                       std::function<void()> on_ready) {
  Result<std::vector<int>> prompt = encode_prompt(*this, request.prompt);
  if (!prompt) return prompt.error();
  GenerateJob job = std::move(request.job);
  const auto limit = token_limit(*this, request.prompt, prompt->size(), job.max_tokens);
  if (!limit) return limit.error();
  job.prompt = *std::move(prompt);
  job.stop_ids = stop_ids;
  job.max_tokens = *limit;
  job.min_tokens = std::min(job.min_tokens, job.max_tokens);
  auto generation = std::make_unique<EngineGeneration>(*this, request, job);
  request.prompt.emplace<TokenPrompt>();  // a submit may wait for the disk
  Result<RequestHandle> handle = engine->submit(std::move(job), std::move(on_ready));
  if (!handle) return handle.error();
  generation->begin(*std::move(handle));
  return std::unique_ptr<Generation>(std::move(generation));
}

}  // namespace mlxd
