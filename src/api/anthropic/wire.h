// Anthropic's shapes of an answer, as JSON text: a message, and the events that a stream makes one
// of.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/anthropic/blocks.h"
#include "api/generation/dialect.h"

namespace mlxd::api {
class JsonWriter;
}

namespace mlxd::api::anthropic {

// What a request says about the shape of its answer, beside the model's id.
struct WireOptions {
  std::string model;
  bool cache_control = false;  // stood somewhere in it: what is computed counts as cached by it
  bool omit_thinking = false;  // thinking blocks come without their text
};

// Writes one answer, of one choice.
class MessageWriter final : public AnswerWriter {
 public:
  explicit MessageWriter(WireOptions wire);

  void accepted(int prompt_tokens) override { prompt_tokens_ = prompt_tokens; }
  std::string whole(const std::vector<ChoiceText>& choices, const Usage& usage) override;

  // Frames are "event: TYPE\ndata: {"type":"TYPE",...}\n\n".
  void begin(int choices, std::string& frames) override;
  void add(const TextDelta& delta, std::string& frames) override;
  void end(const Usage& usage, std::string& frames) override;
  void fail(const Error& error, std::string& frames) override;
  void keep_alive(std::string& frames) override;

 private:
  // Why the answer ended, as far as its deltas have said it.
  struct End {
    std::optional<FinishReason> finish;
    std::string stop;
    bool calls = false;

    void note(const TextDelta& delta);
    std::string_view reason() const;
  };

  void write_head(JsonWriter& json) const;
  void write_end(JsonWriter& json, const End& end) const;
  void write_usage(JsonWriter& json, const Usage& usage) const;
  void end_block(BlockKind kind, int index, std::string& frames) const;
  std::string signature() const;

  const WireOptions wire_;
  const std::string id_;
  int prompt_tokens_ = 0;
  BlockSequence blocks_;  // of a stream
  End end_;               // likewise
};

}  // namespace mlxd::api::anthropic
