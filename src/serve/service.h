#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "serve/generation.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace mlxd {

// A model under the ids that clients use: its tokeniser and template, and while it is loaded (a
// ModelLease of models/ sees to that) the engine that answers.
struct ServedModel {
  std::string id;
  std::vector<std::string> aliases;
  std::string fingerprint;  // "mlxd-<version>-<model hash>-<backend>"
  long created = 0;         // Unix time of the model file
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<const ChatTemplate> chat_template;  // null: completions only
  std::vector<int> stop_ids;
  std::unique_ptr<Engine> engine;
};

// What api/ asks for, validated, still in strings.
struct GenerateRequest {
  std::string id;  // x-request-id
  // One of: chat messages (JSON array, content flattened to strings), text, tokens.
  std::string messages_json;
  std::string prompt_text;
  std::vector<int> prompt_tokens;
  SamplingParams sampling;
  int samples = 1;
  int max_tokens = -1;  // -1: what is left of the context, or of the KV cache if that is less
  int min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  bool echo = false;
  int echo_logprobs = -1;  // -1: none; else alternatives for the prompt's tokens
  double timeout_seconds = 300;
  int priority = 0;  // this and the next two as GenerateJob's
  std::uint64_t caller = 0;
  std::uint64_t cache_salt = 0;
};

// Renders, tokenises, checks lengths and submits: meant for the text pool, as it may take
// milliseconds; it touches no device.
//
// Special tokens. The text of a template is trusted to write them; what a message says is not, so
// the text of a special token inside a message stays text (Tokenizer::guard_messages). In the
// prompt of a completion, which is the client's own from end to end, they are recognised:
// fill-in-the-middle needs them. The model's bos goes in front unless the prompt begins with it
// already.
class Service {
 public:
  explicit Service(ServedModel& model) : model_(model) {}

  // Errors: 400 for a template's refusal, a model without template, an empty prompt, an id outside
  // the vocabulary, context_length_exceeded (with both numbers); 429 and 503 from the engine.
  // `on_ready` as in Engine::submit.
  Result<Generation> start(const GenerateRequest& request, std::function<void()> on_ready) const;

 private:
  ServedModel& model_;
};

}  // namespace mlxd
