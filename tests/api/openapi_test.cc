// GET /openapi.json describes what the tables and the router say, no less and no more.
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/admin/model_states.h"
#include "api/anthropic/parameters.h"
#include "api/embeddings/parameters.h"
#include "api/ollama/models.h"
#include "api/ollama/parameters.h"
#include "api/openai/parameters.h"
#include "api/responses/parameters.h"
#include "api/scripted_api.h"
#include "api/text/text_fields.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::UnorderedElementsAreArray;
using Names = std::vector<std::string>;

class OpenApi : public ScriptedApi {
 protected:
  json::object document() {
    return json::parse(run("GET", "/openapi.json")->response_.body).as_object();
  }

  // What a request of that schema may have.
  static Names fields_of(const json::object& document, std::string_view schema) {
    Names names;
    const auto& schemas = document.at("components").at("schemas").as_object();
    for (const auto& field : schemas.at(schema).at("properties").as_object()) {
      names.emplace_back(field.key());
    }
    return names;
  }
};

template <class Rows>
Names names_of(const Rows& rows) {
  Names names;
  for (const auto& row : rows) names.emplace_back(row.name);
  return names;
}

Names names_of(Endpoint endpoint) {
  Names names;
  for (const Parameter& row : parameters()) {
    if (row.applies_to(endpoint)) names.emplace_back(row.name);
  }
  return names;
}

TEST_F(OpenApi, HasEveryFieldOfEveryTable) {
  using Texts = embeddings::Endpoint;
  const std::vector<std::pair<const char*, Names>> tables = {
      {"ChatRequest", names_of(Endpoint::chat)},
      {"ChatQuestion", names_of(Endpoint::chat)},
      {"CompletionRequest", names_of(Endpoint::completions)},
      {"ResponseRequest", names_of(responses::parameters())},
      {"EmbeddingRequest", names_of(embeddings::parameters(Texts::embeddings))},
      {"RerankRequest", names_of(embeddings::parameters(Texts::rerank))},
      {"ScoreRequest", names_of(embeddings::parameters(Texts::score))},
      {"MessageRequest", names_of(anthropic::parameters())},
      {"MessageQuestion", names_of(anthropic::parameters())},
      {"OllamaChatRequest", names_of(ollama::parameters(ollama::Endpoint::chat))},
      {"OllamaTextRequest", names_of(ollama::parameters(ollama::Endpoint::generate))},
      {"OllamaOptions", names_of(ollama::option_parameters())},
      {"OllamaEmbedRequest", names_of(embeddings::parameters(Texts::ollama_embed))},
      {"OllamaEmbeddingRequest", names_of(embeddings::parameters(Texts::ollama_embeddings))},
      {"OllamaShowRequest", names_of(ollama::show_parameters())},
      {"ModelNameRequest", names_of(model_name_parameters())},
      {"TokenizeContent", names_of(text_parameters(TextQuestion::tokenize_content))},
      {"TokenizePrompt", names_of(text_parameters(TextQuestion::tokenize_prompt))},
      {"DetokenizeRequest", names_of(text_parameters(TextQuestion::detokenize))},
      {"TokenizerInfoRequest", names_of(text_parameters(TextQuestion::tokenizer_info))},
  };
  const json::object described = document();
  for (const auto& [schema, fields] : tables) {
    EXPECT_THAT(fields_of(described, schema), UnorderedElementsAreArray(fields)) << schema;
  }
}

TEST_F(OpenApi, DemandsWhatTheTableOfChatsAndCompletionsDoes) {
  const json::object described = document();
  for (const auto& [schema, endpoint] : {std::pair("ChatRequest", Endpoint::chat),
                                         std::pair("CompletionRequest", Endpoint::completions)}) {
    Names required;
    for (const Parameter& row : parameters()) {
      if (row.applies_to(endpoint) && row.default_value == "required") {
        required.emplace_back(row.name);
      }
    }
    Names said;
    for (const auto& name :
         described.at("components").at("schemas").at(schema).at("required").as_array()) {
      said.emplace_back(name.as_string());
    }
    EXPECT_THAT(said, UnorderedElementsAreArray(required));
  }
}

TEST_F(OpenApi, HasEveryRouteOfTheRouterAndNoOther) {
  const json::object described = document();
  router_.add("GET", "/", Api::index(router_), http::Key::none);
  Names said;
  for (const auto& path : described.at("paths").as_object()) {
    for (const auto& operation : path.value().as_object()) {
      std::string method(operation.key()), pattern(path.key());
      for (char& c : method) c = static_cast<char>(c - 'a' + 'A');
      if (pattern.ends_with("{id}")) pattern.replace(pattern.size() - 4, 4, "*");
      said.push_back(method + " " + pattern);
      const bool open = operation.value().as_object().contains("security");
      EXPECT_EQ(router_.match(method, pattern).key == http::Key::client, !open) << said.back();
    }
  }
  EXPECT_THAT(said, UnorderedElementsAreArray(router_.endpoints()));
}

// Of all that `value` refers to.
void note_references(const json::value& value, std::set<std::string>& references) {
  if (const auto* list = value.if_array()) {
    for (const json::value& each : *list) note_references(each, references);
  } else if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      if (key == "$ref") references.emplace(member.as_string());
      note_references(member, references);
    }
  }
}

TEST_F(OpenApi, RefersToWhatIsThereAndHasNothingElse) {
  const json::object described = document();
  std::set<std::string> references, components;
  note_references(described, references);
  for (const auto& kind : described.at("components").as_object()) {
    if (kind.key() == "securitySchemes") continue;
    for (const auto& component : kind.value().as_object()) {
      components.insert("#/components/" + std::string(kind.key()) + "/" +
                        std::string(component.key()));
    }
  }
  EXPECT_THAT(references, ::testing::ContainerEq(components));
}

TEST_F(OpenApi, SaysWhatMayBeSentOfAFieldThatIsRefused) {
  const json::object described = document();
  const auto& chat = described.at("components").at("schemas").at("ChatRequest").at("properties");
  EXPECT_EQ(chat.at("skip_special_tokens").at("enum"), json::parse("[true,null]"));
  EXPECT_EQ(chat.at("audio").at("enum"), json::parse("[null]"));
  EXPECT_EQ(chat.at("top_p").at("exclusiveMinimum"), 0);
  EXPECT_EQ(chat.at("top_p").at("maximum"), 1);
  EXPECT_EQ(chat.at("top_p").at("type"), json::parse(R"(["number","null"])"));
  EXPECT_EQ(chat.at("model").at("anyOf").as_array().size(), 1U);
}

}  // namespace
}  // namespace mlxd::api
