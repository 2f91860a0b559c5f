// Questions about chats.
#include "api/text/chat_question.h"

#include <string>
#include <utility>
#include <variant>

#include "api/errors.h"
#include "api/json_reader.h"
#include "api/json_writer.h"
#include "api/openai/parse_request.h"
#include "api/text/queries.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

// llama-server's: the text that a model is to go on from. One model is served there, so none needs
// to be named.
class ApplyTemplate final : public Query {
 public:
  explicit ApplyTemplate(bool lenient) : lenient_(lenient) {}
  std::string_view path() const override { return "/apply-template"; }
  std::string error_body(const Error& error) const override { return error_json(error); }

  Result<std::string> answer(std::string_view body, const ModelDirectory& models) const override {
    auto object = read_json_object(body);
    if (!object) return object.error();
    object->emplace("model", "default");
    const auto question = read_chat_question(*object, lenient_, models);
    if (!question) return question.error();
    const auto prompt = question->model->render(question->chat);
    if (!prompt) return prompt.error();
    std::string answer;
    JsonWriter writer(answer);
    writer.begin_object();
    writer.member("prompt", *prompt);
    writer.end_object();
    return answer;
  }

 private:
  const bool lenient_;
};

// How many tokens a request for an answer would have, in the form of OpenAI's count for responses.
class CountChat final : public Query {
 public:
  explicit CountChat(bool lenient) : lenient_(lenient) {}
  std::string_view path() const override { return "/v1/chat/completions/input_tokens"; }
  std::string error_body(const Error& error) const override { return error_json(error); }

  Result<std::string> answer(std::string_view body, const ModelDirectory& models) const override {
    const auto object = read_json_object(body);
    if (!object) return object.error();
    auto question = read_chat_question(*object, lenient_, models);
    if (!question) return question.error();
    const auto tokens = question->model->tokens_of(std::move(question->chat));
    if (!tokens) return tokens.error();
    std::string answer;
    JsonWriter writer(answer);
    writer.begin_object();
    writer.member("object", "response.input_tokens");
    writer.member("input_tokens", tokens->size());
    writer.end_object();
    return answer;
  }

 private:
  const bool lenient_;
};

}  // namespace

Result<ChatQuestion> read_chat_question(const json::object& body, bool lenient,
                                        const ModelDirectory& models) {
  const ParseOptions options{.endpoint = Endpoint::chat, .lenient = lenient};
  auto parsed = parse_request(body, options, models);
  if (!parsed) return parsed.error();
  ParsedRequest& request = parsed->request;
  return ChatQuestion{std::move(request.model),
                      std::get<ChatPrompt>(std::move(request.prompts.front()))};
}

std::unique_ptr<Query> apply_template_query(bool lenient) {
  return std::make_unique<ApplyTemplate>(lenient);
}

std::unique_ptr<Query> count_chat_query(bool lenient) {
  return std::make_unique<CountChat>(lenient);
}

}  // namespace mlxd::api
