#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "api/request_parts.h"
#include "serve/request.h"

namespace mlxd::api::ollama {

enum class Endpoint { chat, generate };

// What holds where a request says nothing.
inline SamplingParams default_sampling() {
  SamplingParams sampling;
  sampling.temperature = 0.8f;
  sampling.top_k = 40;
  sampling.top_p = 0.9f;
  return sampling;
}

// A request while it is read.
struct Fields : UnknownKeys {
  std::string model;  // as it was asked for
  bool stream = true;
  TextOptions text;
  GenerateJob job = job_without_limit();
  std::optional<std::uint64_t> seed;
  int context = 0;                   // `num_ctx`; 0: not said
  int repeat_last_n = -1;            // -1: all of the text
  std::optional<double> keep_alive;  // seconds
  std::optional<bool> think;         // whether, and with `effort` how much
  std::string effort;

  ChatPrompt chat;  // of /api/chat; without messages: `messages_json` is empty

  std::string prompt, system;  // of /api/generate
  bool raw = false;            // the prompt is the text itself
};

}  // namespace mlxd::api::ollama
