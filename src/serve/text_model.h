// serve: what stands between the wire and the engine: a request's prompt made into tokens
// (encode_prompt), and token events into deltas of text (SampleText). It knows neither HTTP nor the
// wire's JSON, nor where models are kept (models/). Three types say what a model that answers is:
// TextModel and Generation to those who ask (api/, cli/; tests put scripts in their place),
// ServedModel to those who make it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "engine/engine.h"
#include "serve/model_card.h"
#include "serve/request.h"
#include "serve/text_delta.h"

namespace mlxd {

// One accepted prompt on its way through the engine. One thread at a time; it may outlive its
// model. Destroying it cancels.
class Generation {
 public:
  virtual ~Generation() = default;
  virtual std::optional<GenerationEvent> try_next() = 0;  // never blocks
  // For the command line and tests.
  virtual std::optional<GenerationEvent> next_until(TimePoint limit) = 0;
  virtual void cancel() = 0;
  virtual int prompt_tokens() const = 0;
};

// A model that answers. Any thread may call any function.
class TextModel : public ModelFacts {
 public:
  virtual ~TextModel() = default;
  virtual const RunnerInfo& info() const = 0;
  virtual EngineStats stats() const = 0;

  // The tokens of a prompt, as `start` gives them to the engine, and errors as there. Text pool.
  virtual Result<std::vector<int>> tokens_of(const Prompt& prompt) const = 0;

  // The tokens of a text by itself. With `add_special` what the model wants around a text is around
  // it; with `parse_special` the texts of special tokens in it are those. Text pool.
  virtual Result<std::vector<int>> encode(std::string_view text, bool add_special,
                                          bool parse_special) const = 0;
  // The text of tokens, special ones written out; invalid UTF-8 becomes U+FFFD. Ids outside of the
  // vocabulary have none.
  virtual std::string decode(std::span<const int> tokens) const = 0;
  // The bytes of one token, which may be part of a character; a special one written out.
  virtual std::string bytes_of(int token) const = 0;
  // A chat as the model's template writes it. Errors: as `start`. Text pool.
  virtual Result<std::string> render(const ChatPrompt& chat) const = 0;

  // Renders, tokenises, checks lengths and submits: meant for the text pool, as it may take
  // milliseconds; it touches no device. The prompt is let go before this waits for anything.
  // Errors: 400 for a template's refusal, a model without template, an empty prompt, an id outside
  // the vocabulary, context_length_exceeded or kv_cache_exceeded (with both numbers); 429 and 503
  // from the engine. `on_ready` as in Engine::submit.
  virtual Result<std::unique_ptr<Generation>> start(GenerateRequest request,
                                                    std::function<void()> on_ready) = 0;

  // Tokenises whole texts and submits them, to be pooled: a TextDelta with a vector for each, in
  // any order, whose choice is its index, and a GenerationEnd. Errors: 400 for a model that makes
  // nothing of whole texts, or not of these, for one without tokens or an id outside the
  // vocabulary, and for one that is too long; 429 and 503 from the engine. Text pool.
  virtual Result<std::unique_ptr<Generation>> embed(EmbedRequest request,
                                                    std::function<void()> on_ready) = 0;
};

}  // namespace mlxd
