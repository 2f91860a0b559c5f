#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/generation/dialect.h"
#include "api/responses/fields.h"
#include "api/responses/output.h"

namespace mlxd::api::responses {

// Writes one answer, as a response object or as the events that lead to it; the two hold the same
// items. The one that has ended goes into the store.
class ResponseWriter final : public AnswerWriter {
 public:
  explicit ResponseWriter(Shape shape)
      : shape_(std::move(shape)), output_(shape_.offered, shape_.logprobs, events_) {}

  std::string whole(const std::vector<ChoiceText>& choices, const Usage& usage) override;
  void begin(int choices, std::string& frames) override;
  void add(const TextDelta& delta, std::string& frames) override;
  void end(const Usage& usage, std::string& frames) override;
  void fail(const Error& error, std::string& frames) override;
  void keep_alive(std::string& frames) override;

 private:
  void send_response(std::string_view type, const std::string& response);
  std::string ended(const Usage& usage);
  std::string response(std::string_view status, const Usage* usage, const Error* error) const;
  void keep(const std::string& response);

  const Shape shape_;
  Events events_;
  Output output_;
};

}  // namespace mlxd::api::responses
