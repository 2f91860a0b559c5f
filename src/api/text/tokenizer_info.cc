// vLLM's /tokenizer_info: what evaluation tools want to know of a tokeniser that is elsewhere.
#include <string>
#include <utility>

#include "api/errors.h"
#include "api/json_reader.h"
#include "api/json_writer.h"
#include "api/text/queries.h"
#include "api/text/text_fields.h"

namespace mlxd::api {
namespace {

class TokenizerInfo final : public Query {
 public:
  TokenizerInfo(bool lenient, std::string_view method) : lenient_(lenient), method_(method) {}
  std::string_view path() const override { return "/tokenizer_info"; }
  std::string_view method() const override { return method_; }
  std::string error_body(const Error& error) const override { return error_json(error); }

  // Of the default model; who posts may name another.
  Result<std::string> answer(std::string_view body, const ModelDirectory& models) const override {
    TextFields fields;
    if (method_ == "POST") {
      const auto object = read_json_object(body);
      if (!object) return object.error();
      auto read = read_text_fields(*object, TextQuestion::tokenizer_info, lenient_);
      if (!read) return read.error();
      fields = *std::move(read);
    }
    const auto found = models.find(fields.model);
    if (!found) return found.error();
    const TextModel& model = **found;
    std::string answer;
    JsonWriter writer(answer);
    writer.begin_object();
    writer.member("model", model.id);
    writer.member("model_max_length", model.info().context_length);
    writer.member("vocab_size", model.info().vocab_size);
    for (const auto& [role, text] : model.card.special_tokens) writer.member(role, text);
    writer.key("chat_template");
    if (model.card.chat_template.empty()) {
      writer.null();
    } else {
      writer.string(model.card.chat_template);
    }
    writer.end_object();
    return answer;
  }

 private:
  const bool lenient_;
  const std::string_view method_;  // of static storage
};

}  // namespace

std::unique_ptr<Query> tokenizer_info_query(bool lenient, std::string_view method) {
  return std::make_unique<TokenizerInfo>(lenient, method);
}

}  // namespace mlxd::api
