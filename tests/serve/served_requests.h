// Requests of ServedModel, and what becomes of them, for tests.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "serve/serve_fixture.h"
#include "serve/served_model.h"

namespace mlxd::testing {

inline GenerateRequest text_request(std::string prompt, int max_tokens = 16) {
  GenerateRequest request;
  request.prompt = TextPrompt{std::move(prompt)};
  request.job.max_tokens = max_tokens;
  request.job.sampling.temperature = 0;
  return request;
}

inline GenerateRequest chat_request(std::string content) {
  GenerateRequest request;
  request.prompt = ChatPrompt{R"([{"role":"user","content":")" + std::move(content) + R"("}])"};
  request.job.sampling.temperature = 0;
  return request;
}

// The ids that the engine was given as prompt, seen by the runner.
inline std::vector<int> prompt_of(const Vocabulary& vocabulary, GenerateRequest request) {
  auto seen = std::make_shared<std::vector<int>>();
  FakeOptions fake;
  fake.edit_logits = [seen](std::span<const int> history, std::span<float>) {
    if (seen->empty()) seen->assign(history.begin(), history.end());
  };
  request.job.max_tokens = 1;
  const auto model = serve(vocabulary, fake);
  auto generation = model->start(request, {});
  if (!generation) return {-1};
  collect(**generation);
  return *seen;
}

inline Answer answer_to(const GenerateRequest& request, const std::string& script,
                        int prompt_length) {
  const auto model = serve(chat_vocabulary(), answering(script, prompt_length));
  auto generation = model->start(request, {});
  EXPECT_TRUE(generation) << generation.error().message;
  return generation ? collect(**generation, request.job.samples) : Answer{};
}

inline Error refusal_of(const GenerateRequest& request,
                        const Vocabulary& vocabulary = chat_vocabulary()) {
  const auto model = serve(vocabulary, {});
  const auto generation = model->start(request, {});
  EXPECT_FALSE(generation);
  return generation ? Error{} : generation.error();
}

// A model that goes on with these tokens after a prompt of three.
inline std::unique_ptr<ServedModel> saying(std::vector<int> script) {
  FakeOptions fake;
  fake.edit_logits = certain_next_token([script](std::span<const int> history) {
    return script.at(std::min(history.size() - 3, script.size() - 1));
  });
  return serve(chat_vocabulary(), fake);
}

}  // namespace mlxd::testing
