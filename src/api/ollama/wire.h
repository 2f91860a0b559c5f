// Ollama's shapes of an answer: one object, or a line for each piece and one for the end.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/generation/dialect.h"
#include "api/ollama/request.h"

namespace mlxd::api {
class JsonWriter;
}

namespace mlxd::api::ollama {

struct AnswerHead {
  Endpoint endpoint = Endpoint::chat;
  std::string model;      // as it was asked for
  bool logprobs = false;  // shown
  std::string_view idle;  // done_reason of an answer without choices, else ""; of static storage
};

// Writes one answer of at most one choice. A call is sent in one piece, when its arguments are
// complete; one that breaks off is none, and the answer's end says "length".
class Writer final : public AnswerWriter {
 public:
  explicit Writer(AnswerHead head) : head_(std::move(head)) {}

  void took(const AnswerTimes& times) override { times_ = times; }
  std::string whole(const std::vector<ChoiceText>& choices, const Usage& usage) override;

  std::string_view content_type() const override { return "application/x-ndjson"; }
  void begin(int, std::string&) override {}
  void add(const TextDelta& delta, std::string& lines) override;
  void end(const Usage& usage, std::string& lines) override;
  void fail(const Error& error, std::string& lines) override;
  // White space before the next line's object, which every reader of JSON passes over; an empty
  // line would not do.
  void keep_alive(std::string& lines) override { lines += ' '; }

 private:
  struct Call {
    std::string name, arguments;
  };
  // What one object says of the answer.
  struct Piece {
    std::string content, thinking;
    std::vector<Call> calls;  // complete
    std::vector<TokenDetail> details;
  };

  void read(const TextDelta& delta, Piece& piece);
  void end_call(Piece& piece);
  void write_object(const Piece& piece, const Usage* usage, std::string& out) const;
  void write_message(JsonWriter& json, const Piece& piece) const;
  void write_end(JsonWriter& json, const Usage& usage) const;

  const AnswerHead head_;
  AnswerTimes times_;
  std::optional<Call> call_;  // under way
  FinishReason finish_ = FinishReason::stop;
};

}  // namespace mlxd::api::ollama
