// OpenAI's shapes of an answer, as JSON text: chat.completion, chat.completion.chunk and
// text_completion, with their two shapes of log-probabilities.
#pragma once

#include <string>
#include <vector>

#include "api/openai/fold.h"
#include "api/openai/request.h"
#include "base/error.h"

namespace mlxd::api {

// What every object of one response says alike.
struct ResponseHead {
  std::string id;     // "chatcmpl-..." or "cmpl-..."
  long created = 0;   // Unix time
  std::string model;  // the served id
  std::string fingerprint;
};

// "chatcmpl-" or "cmpl-" and 24 random hex digits.
std::string make_response_id(Endpoint endpoint);

// The whole body of a non-streamed answer.
std::string response_body(const ResponseHead& head, const WireOptions& wire,
                          const std::vector<Choice>& choices, const Usage& usage);

// Makes the frames ("data: ...\n\n") of one stream.
class StreamWriter {
 public:
  StreamWriter(ResponseHead head, WireOptions wire);

  // Before all else: chat's first chunk of every choice, which names the role; completions' none.
  void begin(int choices, std::string& frames) const;
  // No frame where the delta says nothing that the client asked for.
  void add(const ChoiceDelta& delta, std::string& frames) const;
  // The usage chunk, if asked for, and [DONE].
  void end(const Usage& usage, std::string& frames) const;
  // The error, and [DONE].
  void fail(const Error& error, std::string& frames) const;

 private:
  template <class WriteChoices>
  void chunk(std::string& frames, const Usage* usage, WriteChoices write_choices) const;

  const ResponseHead head_;
  const WireOptions wire_;
};

}  // namespace mlxd::api
