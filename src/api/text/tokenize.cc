// A text's tokens and the text of tokens. Which server's words a request has is told by its keys.
#include <string>
#include <utility>

#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_reader.h"
#include "api/json_writer.h"
#include "api/text/chat_question.h"
#include "api/text/queries.h"
#include "api/text/text_fields.h"
#include "base/utf8.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

Error nothing_to_tokenize() {
  Error error = bad_value(
      "content", "Send 'content' (llama-server), or 'prompt' or 'messages' (vLLM): one of them.");
  error.code = "missing_required_parameter";
  return error;
}

// {"id", "piece"}: a piece that is part of a character as an array of its bytes.
void write_piece(JsonWriter& writer, int token, const std::string& bytes) {
  writer.begin_object();
  writer.member("id", token);
  writer.key("piece");
  if (is_valid_utf8(bytes)) {
    writer.string(bytes);
  } else {
    writer.begin_array();
    for (const char byte : bytes) writer.integer(static_cast<unsigned char>(byte));
    writer.end_array();
  }
  writer.end_object();
}

std::string content_answer(const TextModel& model, const std::vector<int>& tokens, bool pieces) {
  std::string answer;
  JsonWriter writer(answer);
  writer.begin_object();
  writer.key("tokens");
  writer.begin_array();
  for (const int token : tokens) {
    if (pieces) {
      write_piece(writer, token, model.bytes_of(token));
    } else {
      writer.integer(token);
    }
  }
  writer.end_array();
  writer.end_object();
  return answer;
}

std::string prompt_answer(const TextModel& model, const std::vector<int>& tokens, bool strings) {
  std::string answer;
  JsonWriter writer(answer);
  writer.begin_object();
  writer.member("count", tokens.size());
  writer.member("max_model_len", model.info().context_length);
  writer.key("tokens");
  writer.begin_array();
  for (const int token : tokens) writer.integer(token);
  writer.end_array();
  writer.key("token_strs");
  if (strings) {
    writer.begin_array();
    for (const int token : tokens) writer.string(model.bytes_of(token));
    writer.end_array();
  } else {
    writer.null();
  }
  writer.end_object();
  return answer;
}

Result<std::string> tokenize_text(const json::object& body, TextQuestion question, bool lenient,
                                  const ModelDirectory& models) {
  const bool of_content = question == TextQuestion::tokenize_content;
  const auto fields = read_text_fields(body, question, lenient);
  if (!fields) return fields.error();
  if (!fields->text) return nothing_to_tokenize();
  const auto model = models.find(fields->model);
  if (!model) return model.error();
  const auto tokens = (*model)->encode(*fields->text, fields->add_special.value_or(!of_content),
                                       fields->parse_special);
  if (!tokens) return tokens.error();
  return of_content ? content_answer(**model, *tokens, fields->pieces)
                    : prompt_answer(**model, *tokens, fields->pieces);
}

// Beside what /v1/chat/completions takes, two keys of vLLM's.
Result<std::string> tokenize_chat(json::object body, bool lenient, const ModelDirectory& models) {
  json::object own;
  for (const char* name : {"add_special_tokens", "return_token_strs"}) {
    if (const auto* value = body.if_contains(name); value != nullptr) {
      own.emplace(name, *value);
      body.erase(name);
    }
  }
  const auto fields = read_text_fields(own, TextQuestion::tokenize_prompt, lenient);
  if (!fields) return fields.error();
  if (fields->add_special.value_or(false)) {
    return bad_value("add_special_tokens",
                     "'add_special_tokens' must be false with 'messages': the model's template "
                     "writes the special tokens.");
  }
  body.emplace("model", "default");
  auto question = read_chat_question(body, lenient, models);
  if (!question) return question.error();
  const auto tokens = question->model->tokens_of(std::move(question->chat));
  if (!tokens) return tokens.error();
  return prompt_answer(*question->model, *tokens, fields->pieces);
}

class Tokenize final : public Query {
 public:
  explicit Tokenize(bool lenient) : lenient_(lenient) {}
  std::string_view path() const override { return "/tokenize"; }
  std::string error_body(const Error& error) const override { return error_json(error); }

  Result<std::string> answer(std::string_view body, const ModelDirectory& models) const override {
    auto object = read_json_object(body);
    if (!object) return object.error();
    const bool content = object->contains("content");
    const bool prompt = object->contains("prompt");
    const bool messages = object->contains("messages");
    if (content + prompt + messages != 1) return nothing_to_tokenize();
    if (messages) return tokenize_chat(*std::move(object), lenient_, models);
    return tokenize_text(*object,
                         content ? TextQuestion::tokenize_content : TextQuestion::tokenize_prompt,
                         lenient_, models);
  }

 private:
  const bool lenient_;
};

class Detokenize final : public Query {
 public:
  explicit Detokenize(bool lenient) : lenient_(lenient) {}
  std::string_view path() const override { return "/detokenize"; }
  std::string error_body(const Error& error) const override { return error_json(error); }

  // The text under both servers' names for it.
  Result<std::string> answer(std::string_view body, const ModelDirectory& models) const override {
    const auto object = read_json_object(body);
    if (!object) return object.error();
    const auto fields = read_text_fields(*object, TextQuestion::detokenize, lenient_);
    if (!fields) return fields.error();
    if (!fields->tokens) {
      Error error = bad_value("tokens", "'tokens' is missing; send an array of token ids.");
      error.code = "missing_required_parameter";
      return error;
    }
    const auto model = models.find(fields->model);
    if (!model) return model.error();
    const int vocabulary = (*model)->info().vocab_size;
    for (const int token : *fields->tokens) {
      if (token < vocabulary) continue;
      return bad_value("tokens", fmt::format("'tokens' has token {}; this model's ids end at {}.",
                                             token, vocabulary - 1));
    }
    const std::string text = (*model)->decode(*fields->tokens);
    std::string answer;
    JsonWriter writer(answer);
    writer.begin_object();
    writer.member("content", text);
    writer.member("prompt", text);
    writer.end_object();
    return answer;
  }

 private:
  const bool lenient_;
};

}  // namespace

std::unique_ptr<Query> tokenize_query(bool lenient) { return std::make_unique<Tokenize>(lenient); }

std::unique_ptr<Query> detokenize_query(bool lenient) {
  return std::make_unique<Detokenize>(lenient);
}

}  // namespace mlxd::api
