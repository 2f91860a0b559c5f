// OpenAI's shapes of an answer, as JSON text: chat.completion, chat.completion.chunk and
// text_completion, with their two shapes of log-probabilities.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "api/generation/dialect.h"
#include "api/openai/request.h"
#include "base/error.h"

namespace mlxd::api {

class JsonWriter;

// What every object of one response says alike.
struct ResponseHead {
  std::string id;     // "chatcmpl-..." or "cmpl-..."
  long created = 0;   // Unix time
  std::string model;  // the served id
  std::string fingerprint;
};

// "chatcmpl-" or "cmpl-" and 24 random hex digits.
std::string make_response_id(Endpoint endpoint);

// Writes one answer. A chat's has all channels: content, reasoning, and calls with ids of their
// own.
class OpenAiWriter final : public AnswerWriter {
 public:
  OpenAiWriter(ResponseHead head, WireOptions wire);

  void accepted(int prompt_tokens) override { so_far_.prompt_tokens = prompt_tokens; }
  std::string whole(const std::vector<ChoiceText>& choices, const Usage& usage) override;

  // Frames are "data: ...\n\n". Chat's first chunk of every choice names the role; completions have
  // none.
  void begin(int choices, std::string& frames) override;
  // No frame where the delta says nothing that the client asked for.
  void add(const TextDelta& delta, std::string& frames) override;
  // llama-server's `prompt_progress`, in a chunk whose delta is empty.
  void progress(const PromptProgress& progress, std::string& frames) override;
  // The usage chunk, if asked for, and [DONE].
  void end(const Usage& usage, std::string& frames) override;
  // The error, and [DONE].
  void fail(const Error& error, std::string& frames) override;
  void keep_alive(std::string& frames) override;

 private:
  // `write_more` adds members of the chunk's own.
  template <class WriteChoices, class WriteMore>
  void chunk(std::string& frames, const Usage* usage, WriteChoices write_choices,
             WriteMore write_more) const;
  template <class WriteChoices>
  void chunk(std::string& frames, const Usage* usage, WriteChoices write_choices) const;
  void write_no_delta(JsonWriter& json, int choice, bool begins) const;

  void write_delta(JsonWriter& json, const TextDelta& delta) const;

  const ResponseHead head_;
  const WireOptions wire_;
  Usage so_far_;
  std::map<int, int> tokens_;  // by choice
  std::set<int> callers_;      // choices of a stream that have called a tool
};

}  // namespace mlxd::api
