// What is asked of a served model, in strings; api/ and cli/ make it, ServedModel answers it.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/engine.h"
#include "serve/declared_tools.h"
#include "text/grammar.h"

namespace mlxd {

// What a client wants kept in the prefix cache for longer than other traffic leaves it.
struct KeepRule {
  static constexpr std::size_t kAll = std::string::npos;
  // Of a chat's messages_json, so many bytes, which end behind a message: what the template makes
  // of these messages, and all before them. kAll: all of it, and the answer.
  std::size_t upto = kAll;
  std::chrono::seconds time{};
};

// How long what a session has said stays, since its last turn.
inline constexpr std::chrono::seconds kSessionTime{1800};

// A conversation, for the model's chat template. All of it is the client's text.
struct ChatPrompt {
  std::string messages_json;                 // an array of messages, as OpenAI's wire has them
  std::string tools_json = {};               // an array of functions likewise; "": none
  std::string documents_json = {};           // an array; "": none
  std::string template_arguments_json = {};  // an object of further variables; "": none
  bool add_generation_prompt = true;         // the assistant's turn is begun
  bool continue_final_message = false;       // ... or the last message goes on instead
  std::shared_ptr<const DeclaredTools> tools = {};  // those of tools_json, for the parser
};
// The beginning of a text that the model is to go on with.
struct TextPrompt {
  std::string text;
};
struct TokenPrompt {
  std::vector<int> tokens;
};
using Prompt = std::variant<ChatPrompt, TextPrompt, TokenPrompt>;

// What the text of an answer is held to; `param` is where the client wrote it, for errors.
struct RequestedGrammar {
  GrammarSource source;
  std::string param;
};

// Which of the declared tools an answer may call, and whether it must.
struct CallRule {
  bool must = false;              // it is one call, or several, and no other text
  std::vector<std::string> only;  // the tools that may be called; empty: all
  bool at_most_one = false;       // a second call ends the answer instead
  std::string param;              // where the client wrote it, for errors
};

// How many tokens an answer's reasoning may have; `param` is where the client wrote it, for errors,
// or empty where a model that cannot be held to it is no error.
struct ReasoningBudget {
  int tokens = 0;
  std::string param;
};

// What the way from tokens to text needs to know; the engine does not.
struct TextOptions {
  std::vector<std::string> stop;  // none of them empty; looked for in the answer's content alone
  bool echo = false;              // the prompt's own text comes first
  std::optional<RequestedGrammar> grammar;
  CallRule calls;                            // of a chat with tools
  std::optional<ReasoningBudget> reasoning;  // none: no bound
  std::vector<KeepRule> keep;
  bool cut_to_fit = false;  // max_tokens beyond what fits mean what fits, and are no error
};

// `max_tokens` of a request that leaves the length to the model: what is left of the context, or
// of the KV cache where that is less.
inline constexpr int kAsManyAsFit = -1;

inline GenerateJob job_without_limit() {
  GenerateJob job;
  job.max_tokens = kAsManyAsFit;
  return job;
}

// `job` as the engine gets it, but for three fields: `prompt` and `stop_ids` are the model's to
// fill in, and `max_tokens` may be kAsManyAsFit.
struct GenerateRequest {
  Prompt prompt;
  TextOptions text;
  GenerateJob job = job_without_limit();
};

// A text to be embedded, or a pair of which a model says how well the two go together.
struct EmbedInput {
  std::variant<std::string, std::vector<int>> text;  // tokens are taken as they are
  std::optional<std::string> second{};
};

// Of all inputs or none there is a second text. `job` as in GenerateRequest: its texts are the
// model's to fill in.
struct EmbedRequest {
  std::vector<EmbedInput> inputs;
  std::string param = "input";  // where the client wrote them, for errors
  int dimensions = 0;           // of a vector, its first so many, brought to length again; 0: all
  // What is longer is cut to so many tokens, at most the context; nothing: it is an error.
  std::optional<int> longest{};
  bool add_special = true;
  GenerateJob job;
};

}  // namespace mlxd
