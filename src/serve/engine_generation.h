#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "serve/sample_text.h"
#include "serve/served_model.h"

namespace mlxd {

// The Generation of an engine's request: folds its token events into text events.
class EngineGeneration final : public Generation {
 public:
  // Of what `job`, ready to be submitted, and `request` ask for. `in_reasoning` as EncodedPrompt's.
  EngineGeneration(const ServedModel& model, const GenerateRequest& request, const GenerateJob& job,
                   bool in_reasoning = false);
  // Once, before anything else: the job was accepted.
  void begin(RequestHandle handle) { handle_.emplace(std::move(handle)); }

  std::optional<GenerationEvent> try_next() override;
  std::optional<GenerationEvent> next_until(TimePoint limit) override;
  void cancel() override { handle_->cancel(); }
  int prompt_tokens() const override { return prompt_tokens_; }

 private:
  struct Sample {
    SampleText text;
    int tokens = 0;
    bool ended = false;
  };

  void begin_echo(const GenerateRequest& request, const GenerateJob& job);
  std::optional<GenerationEvent> pop();
  void take(PromptToken& token);
  void take(PromptProgress& progress) { ready_.emplace_back(progress); }
  void take(SampledToken& token);
  void take(PooledVector&) {}  // of texts alone, which are not generated from
  void take(SampleFinished& finished);
  void take(RequestFinished& finished);
  void send(const Sample& sample, std::vector<TextDelta> deltas);
  void end(int index, FinishReason reason, std::string stop);

  std::optional<RequestHandle> handle_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const int prompt_tokens_;
  std::optional<PromptEcho> echo_;  // waits for the details of the prompt's tokens
  std::vector<std::pair<int, std::string>> stop_tokens_;  // whose texts are stop strings
  std::vector<Sample> samples_;
  std::deque<GenerationEvent> ready_;
};

}  // namespace mlxd
