#include "api/openapi/requests.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/admin/model_states.h"
#include "api/anthropic/parameters.h"
#include "api/embeddings/parameters.h"
#include "api/ollama/models.h"
#include "api/ollama/parameters.h"
#include "api/openai/parameters.h"
#include "api/openapi/words.h"
#include "api/parameter_rules.h"
#include "api/responses/parameters.h"
#include "api/text/text_fields.h"
#include "base/overloaded.h"

namespace mlxd::api::openapi {
namespace {

namespace json = boost::json;

// A bound as people write it: 2, and not 2E0.
json::value bound(double number) {
  const auto whole = static_cast<std::int64_t>(std::clamp(number, -1e15, 1e15));
  return static_cast<double>(whole) == number ? json::value(whole) : json::value(number);
}

json::object or_null(std::string_view type) {
  return {{"type", json::array{json::string(type), "null"}}};
}

// What can be sent of a field that is refused: the values that ask for nothing.
json::object allowed_values(const Unsupported& rule) {
  json::array allowed;
  const json::array candidates = {
      true, false, 0, 1, "", json::array(), json::object(), json::array{"text"}};
  for (const json::value& value : candidates) {
    if (rule.asks_for_nothing(value)) allowed.push_back(value);
  }
  allowed.push_back(nullptr);
  return {{"enum", std::move(allowed)}};
}

std::string_view type_of(NoBehaviour type) {
  switch (type) {
    case NoBehaviour::text:
      return "string";
    case NoBehaviour::object:
      return "object";
    case NoBehaviour::number:
      return "number";
    case NoBehaviour::boolean:
      break;
  }
  return "boolean";
}

// The schema of a field by its rule; null is as good as absence. `words` say what it accepts.
template <class Fields>
json::object field_schema(const typename ParameterRules<Fields>::Rule& rule,
                          const std::string& words) {
  using Rules = ParameterRules<Fields>;
  json::object schema = std::visit(
      Overloaded{[](const typename Rules::Number& number) {
                   json::object of = or_null("number");
                   of[number.above_low ? "exclusiveMinimum" : "minimum"] = bound(number.low);
                   of["maximum"] = bound(number.high);
                   return of;
                 },
                 [](const typename Rules::Integer& integer) {
                   json::object of = or_null("integer");
                   of["minimum"] = integer.low;
                   of["maximum"] = integer.high;
                   return of;
                 },
                 [](const typename Rules::Flag&) { return or_null("boolean"); },
                 [](const typename Rules::Custom& custom) {
                   return json::object{
                       {"anyOf", {reference("schemas", custom.schema), {{"type", "null"}}}}};
                 },
                 [](NoBehaviour type) { return or_null(type_of(type)); },
                 [](const Unsupported& unsupported) { return allowed_values(unsupported); }},
      rule);
  const bool refused = std::holds_alternative<Unsupported>(rule);
  const bool no_effect = std::holds_alternative<NoBehaviour>(rule);
  schema["description"] = refused     ? "Not supported: refused, with any other value."
                          : no_effect ? "Accepted, without effect: " + words + "."
                                      : words;
  return schema;
}

template <class Fields, class Rows>
json::object table_schema(const Rows& rows) {
  json::object properties;
  for (const auto& row : rows)
    properties[row.name] = field_schema<Fields>(row.rule, row.describe());
  return properties;
}

template <Endpoint endpoint>
json::object openai_fields() {
  json::object properties;
  for (const Parameter& row : parameters()) {
    if (!row.applies_to(endpoint)) continue;
    std::string words = row.describe();
    if (!row.default_value.empty() && row.default_value != "required") {
      words += fmt::format("; default: {}", row.default_value);
    }
    properties[row.name] = field_schema<RequestFields>(row.rule, words);
  }
  return properties;
}

json::object anthropic_fields() {
  using Fields = anthropic::RequestFields;
  const auto row_words = [](const std::string& words) {
    return words.empty() ? "as Anthropic's API has it" : words;
  };
  json::object properties;
  for (const auto& row : anthropic::parameters()) {
    properties[row.name] =
        row.rule ? field_schema<Fields>(*row.rule, row_words(describe_rule<Fields>(*row.rule)))
                 : json::object{{"description", "Ignored, and named in x-mlxd-ignored."}};
  }
  return properties;
}

json::object responses_fields() { return table_schema<responses::Fields>(responses::parameters()); }
template <embeddings::Endpoint endpoint>
json::object embeddings_fields() {
  return table_schema<embeddings::Fields>(embeddings::parameters(endpoint));
}
template <ollama::Endpoint endpoint>
json::object ollama_fields() {
  return table_schema<ollama::Fields>(ollama::parameters(endpoint));
}
json::object ollama_options() { return table_schema<ollama::Fields>(ollama::option_parameters()); }
json::object show_fields() { return table_schema<ollama::ShowFields>(ollama::show_parameters()); }
json::object model_name_fields() { return table_schema<NamedModel>(model_name_parameters()); }
template <TextQuestion question>
json::object text_fields() {
  return table_schema<TextFields>(text_parameters(question));
}
// What /tokenize reads beside a chat's own parameters.
json::object chat_to_tokenize() {
  json::object properties = openai_fields<Endpoint::chat>();
  const json::object own = text_fields<TextQuestion::tokenize_prompt>();
  for (const char* name : {"add_special_tokens", "return_token_strs"}) {
    properties[name] = own.at(name);
  }
  return properties;
}

struct Request {
  std::string_view name;
  json::object (*properties)();
  std::string_view required;  // words; of "a|b" one at least
  bool takes_others = false;  // keys that no row has
};

constexpr std::array kRequests = {
    Request{"ChatRequest", openai_fields<Endpoint::chat>, "model messages"},
    Request{"ChatQuestion", openai_fields<Endpoint::chat>, "messages"},
    Request{"CompletionRequest", openai_fields<Endpoint::completions>, "model prompt"},
    Request{"ResponseRequest", responses_fields, "model input|previous_response_id"},
    Request{"EmbeddingRequest", embeddings_fields<embeddings::Endpoint::embeddings>, "model input"},
    Request{"RerankRequest", embeddings_fields<embeddings::Endpoint::rerank>,
            "model query documents"},
    Request{"ScoreRequest", embeddings_fields<embeddings::Endpoint::score>,
            "model text_1|queries text_2|documents"},
    Request{"MessageRequest", anthropic_fields, "model messages max_tokens", true},
    Request{"MessageQuestion", anthropic_fields, "model messages", true},
    Request{"OllamaChatRequest", ollama_fields<ollama::Endpoint::chat>, "model"},
    Request{"OllamaTextRequest", ollama_fields<ollama::Endpoint::generate>, "model"},
    Request{"OllamaOptions", ollama_options, ""},
    Request{"OllamaEmbedRequest", embeddings_fields<embeddings::Endpoint::ollama_embed>,
            "model input"},
    Request{"OllamaEmbeddingRequest", embeddings_fields<embeddings::Endpoint::ollama_embeddings>,
            "model prompt"},
    Request{"OllamaShowRequest", show_fields, "model|name"},
    Request{"ModelNameRequest", model_name_fields, "model"},
    Request{"TokenizeContent", text_fields<TextQuestion::tokenize_content>, "content"},
    Request{"TokenizePrompt", text_fields<TextQuestion::tokenize_prompt>, "prompt"},
    Request{"TokenizeChat", chat_to_tokenize, "messages"},
    Request{"DetokenizeRequest", text_fields<TextQuestion::detokenize>, "tokens"},
    Request{"TokenizerInfoRequest", text_fields<TextQuestion::tokenizer_info>, ""},
};

// A field that must be there is not null.
void forbid_null(json::object& field) {
  if (auto* types = field.if_contains("type")) {
    *types = json::value(types->as_array().front());
  } else {
    field["anyOf"].as_array().pop_back();
  }
}

}  // namespace

json::object request_schemas() {
  json::object schemas;
  for (const Request& request : kRequests) {
    json::object properties = request.properties();
    json::array required, one_of_each;
    for (const std::string_view word : words_of(request.required)) {
      const auto names = words_of(word, '|');
      if (names.size() == 1) {
        required.push_back(json::string(word));
        forbid_null(properties.at(word).as_object());
        continue;
      }
      json::array either;
      for (const std::string_view name : names) {
        either.push_back(json::object{{"required", json::array{json::string(name)}}});
      }
      one_of_each.push_back(json::object{{"anyOf", std::move(either)}});
    }
    json::object schema{{"type", "object"}, {"properties", std::move(properties)}};
    if (!required.empty()) schema["required"] = std::move(required);
    if (!one_of_each.empty()) schema["allOf"] = std::move(one_of_each);
    if (!request.takes_others) schema["additionalProperties"] = false;
    schemas[request.name] = std::move(schema);
  }
  return schemas;
}

json::object repeated_fields() {
  json::object fields;
  for (const auto& row : responses::parameters()) {
    if (row.echo.empty()) continue;
    fields[row.name] = field_schema<responses::Fields>(row.rule, row.describe());
  }
  return fields;
}

}  // namespace mlxd::api::openapi
