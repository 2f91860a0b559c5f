#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/json_writer.h"
#include "api/responses/fields.h"
#include "api/responses/freeform_input.h"
#include "serve/text_delta.h"

namespace mlxd::api::responses {

// The events of one answer, numbered. Without frames to write to it says nothing, and counts on.
class Events {
 public:
  void write_to(std::string* frames) { frames_ = frames; }  // null: nowhere
  // "event: TYPE" and its data: what `write(JsonWriter&)` writes, after `type` and
  // `sequence_number`.
  template <class Write>
  void send(std::string_view type, const Write& write) {
    send_as(next_++, type, write);
  }
  // One of the first two, which are sent when it is known that there are others.
  template <class Write>
  void send_first(int number, std::string_view type, const Write& write) {
    send_as(number, type, write);
  }

 private:
  template <class Write>
  void send_as(int number, std::string_view type, const Write& write) {
    if (frames_ == nullptr) return;
    *frames_ += "event: ";
    *frames_ += type;
    *frames_ += "\ndata: ";
    JsonWriter json(*frames_);
    json.begin_object();
    json.member("type", type);
    json.member("sequence_number", number);
    write(json);
    json.end_object();
    *frames_ += "\n\n";
  }

  std::string* frames_ = nullptr;
  int next_ = 2;
};

// An item that an answer puts out.
struct OutputItem {
  enum class Kind { reasoning, message, function_call, custom_tool_call };
  enum class Status { in_progress, completed, incomplete };

  Kind kind = Kind::message;
  Status status = Status::in_progress;
  std::string id;
  std::string call_id;                // of a call
  OfferedTool tool;                   // of a call
  std::string text;                   // said, thought, the arguments or the input
  std::vector<TokenDetail> logprobs;  // of a message
};

void write_item(JsonWriter& json, const OutputItem& item);

// Makes items of an answer's deltas, with the events that tell of them.
class Output {
 public:
  Output(const std::map<std::string, OfferedTool, std::less<>>& offered, bool logprobs,
         Events& events)
      : offered_(offered), logprobs_(logprobs), events_(events) {}

  void add(const TextDelta& delta);
  // After the last delta. An answer that says nothing has one empty message.
  void end();
  // Instead of that: what goes on is left as it is.
  void break_off();

  const std::vector<OutputItem>& items() const { return items_; }
  bool incomplete() const { return finish_ == FinishReason::length; }

 private:
  void open(OutputItem::Kind kind, const std::string& called = {});
  void close(OutputItem::Status status);
  void grow(std::string_view text, const std::vector<TokenDetail>& logprobs);
  void send_item(std::string_view type);
  void send_part(std::string_view type);
  void send_text(std::string_view type, std::string_view key, std::string_view text,
                 const std::vector<TokenDetail>& logprobs);
  bool is_open(OutputItem::Kind kind) const;

  const std::map<std::string, OfferedTool, std::less<>>& offered_;
  const bool logprobs_;
  Events& events_;
  std::vector<OutputItem> items_;
  bool open_ = false;    // the last item goes on
  FreeformInput input_;  // of a custom tool's call that is open
  std::optional<FinishReason> finish_;
};

}  // namespace mlxd::api::responses
