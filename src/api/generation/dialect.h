// api/generation: a request for an answer, from its body to the last byte, whatever the wire
// format: it goes through the text pool (Admission), its events become deltas (AnswerFold), these
// are streamed or added up (handler), and what became of it is recorded (Progress). What only one
// format knows is behind two interfaces: Dialect reads a body, AnswerWriter writes an answer. So
// another format is one file that implements them, and a line where dialects are listed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/exchange.h"
#include "serve/request.h"
#include "serve/text_delta.h"
#include "serve/text_model.h"

namespace mlxd::api {

class ModelDirectory;

// When the parts of an answer were done, in seconds since its request arrived; ascending.
struct AnswerTimes {
  double prompt_begun = 0;  // all before it was waiting: for the text pool and in the queue
  double first_token = 0;   // the prompt was read; of an answer without text its end
  double end = 0;
};

// Writes one answer, whole or as the frames of a stream. Choices count over the prompts
// of a request: prompt * samples + sample. I/O thread.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;

  // Before `whole` or `end`.
  virtual void took(const AnswerTimes& times) { static_cast<void>(times); }
  // Before any other call: what the prompts of the request have together.
  virtual void accepted(int /*prompt_tokens*/) {}

  // The body of an answer that was not streamed.
  virtual std::string whole(const std::vector<ChoiceText>& choices, const Usage& usage) = 0;

  // Of a stream; of static storage.
  virtual std::string_view content_type() const { return http::kEventStream; }
  // Each appends frames, or nothing where the format has nothing to say.
  virtual void begin(int choices, std::string& frames) = 0;  // before all else
  virtual void add(const TextDelta& delta, std::string& frames) = 0;
  // How far the prompts have come, all together: before the first delta of any, and only where the
  // job asked for it.
  virtual void progress(const PromptProgress& /*progress*/, std::string& /*frames*/) {}
  virtual void end(const Usage& usage, std::string& frames) = 0;
  virtual void fail(const Error& error, std::string& frames) = 0;  // in place of `end`
  virtual void keep_alive(std::string& frames) = 0;                // after a silence
};

// A body that passed every check which needs no tokeniser.
struct ParsedRequest {
  std::shared_ptr<TextModel> model;
  // Each is answered on its own, with what `text` and `job` say for all of them. `job.id`, `caller`
  // and `cache_salt` are not the dialect's to know. None: the answer has no choices, and the model
  // does nothing.
  std::vector<Prompt> prompts;
  // Instead of prompts: texts to be embedded, each a choice of `job.samples`. `text` says nothing.
  std::optional<EmbedRequest> embed{};
  TextOptions text;
  GenerateJob job = job_without_limit();
  // Shown of each prompt: the best of `job.samples`, where that is more. A stream shows all.
  int choices = 1;
  bool stream = false;
  http::Headers headers;  // of the answer
  std::unique_ptr<AnswerWriter> writer;
};

// One wire format at one path. It outlives every request that it reads.
class Dialect {
 public:
  virtual ~Dialect() = default;
  virtual std::string_view path() const = 0;  // answers POST
  virtual std::string_view name() const = 0;  // of the endpoint, in the request log and metrics
  // A header that tells the request's id beside x-request-id; "": none.
  virtual std::string_view id_header() const { return {}; }

  // Text pool, several threads at a time. Nothing that it returns refers to the body.
  virtual Result<ParsedRequest> parse(std::string_view body,
                                      const ModelDirectory& models) const = 0;
  // The same of a caller (http::Request::caller), for a dialect that keeps something for each.
  virtual Result<ParsedRequest> parse_for(std::uint64_t /*caller*/, std::string_view body,
                                          const ModelDirectory& models) const {
    return parse(body, models);
  }
  // An error as this format has it: its status. I/O thread.
  virtual Error in_own_terms(Error error) const { return error; }
  // The body, in JSON, of an answer that is an error: http's own at this path as well. Any thread.
  virtual std::string error_body(const Error& error) const = 0;
};

// The answer that carries an error's body, with the headers that tell clients whether to retry.
http::Response error_response(const Error& error, std::string body);

}  // namespace mlxd::api
