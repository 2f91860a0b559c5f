#pragma once

#include <optional>
#include <vector>

#include "serve/served_model.h"

namespace mlxd {

// What an encoder says to those who ask it for text.
Error cannot_generate(const TextModel& model);

// The tokens of a request's texts, with what the model wants around them, or between the two of a
// pair. Errors: as TextModel::embed.
Result<std::vector<PooledText>> encode_texts(const ServedModel& model, const EmbedRequest& request);

// What becomes of a vector as the model gives it.
struct VectorForm {
  PooledOutput pooled;
  int dimensions = 0;  // 0: all

  void apply(std::vector<float>& values) const;
};

// The Generation of an engine's request that pools texts.
class EmbeddedTexts final : public Generation {
 public:
  EmbeddedTexts(const VectorForm& form, int tokens) : form_(form), tokens_(tokens) {}
  // Once, before anything else: the job was accepted.
  void begin(RequestHandle handle) { handle_.emplace(std::move(handle)); }

  std::optional<GenerationEvent> try_next() override;
  std::optional<GenerationEvent> next_until(TimePoint limit) override;
  void cancel() override { handle_->cancel(); }
  int prompt_tokens() const override { return tokens_; }

 private:
  std::optional<GenerationEvent> translate(TokenEvent event) const;

  const VectorForm form_;
  const int tokens_;
  std::optional<RequestHandle> handle_;
};

}  // namespace mlxd
