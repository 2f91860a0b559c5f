#include "api/embeddings/parameters.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/json_values.h"
#include "api/ollama/keep_alive.h"

namespace mlxd::api::embeddings {
namespace {

namespace json = boost::json;
using Row = Parameter;
using Rules = Row::Rules;
using Integer = Rules::Integer;
using Number = Rules::Number;
using Flag = Rules::Flag;
using Custom = Rules::Custom;

constexpr int kMaxInt = std::numeric_limits<int>::max();

using To = FieldsOf<Fields>;

std::string text_of(const json::value& value) { return std::string(value.get_string()); }

Result<void> read_model(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("model", "a model id", value);
  fields.model = text_of(value);
  return {};
}

Error too_many(std::string_view param, std::size_t count) {
  return bad_value(std::string(param),
                   fmt::format("'{}' has {} entries; send 1 to {}.", param, count, kMaxTexts));
}

Result<std::vector<int>> read_tokens(const json::array& ids, const std::string& place) {
  std::vector<int> tokens;
  tokens.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto id = as_integer(ids[i]);
    if (!id || *id < 0 || *id > kMaxInt) {
      return bad_value(
          "input", fmt::format("'{}[{}]' is not a token id; send integers from 0 up.", place, i));
    }
    tokens.push_back(static_cast<int>(*id));
  }
  return tokens;
}

// A string, an array of token ids, or an array of either.
Result<void> read_input(const json::value& value, Fields& fields) {
  const auto add = [&](const json::value& each, const std::string& place) -> Result<void> {
    if (each.is_string()) {
      fields.inputs.push_back({text_of(each)});
      return {};
    }
    if (!each.is_array()) {
      return bad_value("input", fmt::format("'{}' is {}; send a string or an array of token ids.",
                                            place, kind_name(each)));
    }
    auto tokens = read_tokens(each.get_array(), place);
    if (!tokens) return tokens.error();
    fields.inputs.push_back({*std::move(tokens)});
    return {};
  };
  const auto* list = value.if_array();
  if (list == nullptr || (!list->empty() && list->front().is_number())) return add(value, "input");
  if (list->empty() || list->size() > kMaxTexts) return too_many("input", list->size());
  for (std::size_t i = 0; i < list->size(); ++i) {
    if (auto added = add((*list)[i], fmt::format("input[{}]", i)); !added) return added;
  }
  return {};
}

// A string, or an array of strings or of objects with the string as "text".
Result<std::vector<std::string>> read_texts(const json::value& value, std::string_view param) {
  std::vector<std::string> texts;
  const auto add = [&](const json::value& each, const std::string& place) -> Result<void> {
    const json::value* text = &each;
    if (const auto* object = each.if_object()) text = object->if_contains("text");
    if (text == nullptr || !text->is_string()) {
      return bad_value(std::string(param),
                       fmt::format("'{}' is {}; send a string.", place, kind_name(each)));
    }
    texts.push_back(text_of(*text));
    return {};
  };
  const auto* list = value.if_array();
  if (list == nullptr) {
    if (auto added = add(value, std::string(param)); !added) return added.error();
    return texts;
  }
  if (list->empty() || list->size() > kMaxTexts) return too_many(param, list->size());
  for (std::size_t i = 0; i < list->size(); ++i) {
    if (auto added = add((*list)[i], fmt::format("{}[{}]", param, i)); !added) return added.error();
  }
  return texts;
}

// The rows differ in where the texts go and in what they are called.
template <auto member>
Result<void> read_into(const json::value& value, Fields& fields, std::string_view param) {
  auto texts = read_texts(value, param);
  if (!texts) return texts.error();
  fields.*member = *std::move(texts);
  return {};
}
Result<void> read_query(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("query", "a string", value);
  fields.first = {text_of(value)};
  return {};
}
Result<void> read_documents(const json::value& value, Fields& fields) {
  if (!value.is_array()) return wrong_type("documents", "an array of strings", value);
  return read_into<&Fields::second>(value, fields, "documents");
}
Result<void> read_text_1(const json::value& value, Fields& fields) {
  return read_into<&Fields::first>(value, fields, "text_1");
}
Result<void> read_text_2(const json::value& value, Fields& fields) {
  return read_into<&Fields::second>(value, fields, "text_2");
}
Result<void> read_queries(const json::value& value, Fields& fields) {
  return read_into<&Fields::first>(value, fields, "queries");
}
Result<void> read_score_documents(const json::value& value, Fields& fields) {
  return read_into<&Fields::second>(value, fields, "documents");
}

Result<void> read_encoding(const json::value& value, Fields& fields) {
  if (value != "float" && value != "base64") {
    return bad_value("encoding_format", "'encoding_format' must be \"float\" or \"base64\".");
  }
  fields.base64 = value == "base64";
  return {};
}

Result<void> read_longest(const json::value& value, Fields& fields) {
  const auto number = as_integer(value);
  if (!number || *number < -1 || *number == 0 || *number > kMaxInt) {
    return bad_value("truncate_prompt_tokens",
                     "'truncate_prompt_tokens' must be 1 or more, or -1 for the context's length.");
  }
  fields.longest = *number < 0 ? kMaxInt : static_cast<int>(*number);
  return {};
}

// Ollama's: what is too long is cut unless a request says false.
Result<void> read_truncate(const json::value& value, Fields& fields) {
  if (!value.is_bool()) return wrong_type("truncate", "true or false", value);
  if (!value.get_bool()) fields.longest.reset();
  return {};
}

// Ollama's older endpoint: one text.
Result<void> read_prompt(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("prompt", "a string", value);
  fields.inputs = {{text_of(value)}};
  return {};
}

Result<void> read_keep_alive(const json::value& value, Fields& fields) {
  const auto seconds = ollama::read_keep_alive(value);
  if (!seconds) return seconds.error();
  fields.keep_alive = *seconds;
  return {};
}

const Row kModel = {"model", Custom{read_model, "ModelId"},
                    "a model id (GET /v1/models lists them)"};
const Row kLongest = {
    "truncate_prompt_tokens", Custom{read_longest, "LongestPrompt"},
    "an integer of at least 1, or -1: what is longer is cut to so many tokens, or "
    "to the context"};
const Row kPriority = {"priority", Integer{To::own<&Fields::priority>, 0, kHighestPriority}};
const Row kTimeout = {"timeout", Number{To::own<&Fields::timeout_seconds>, 0, 1e6, true},
                      "seconds, more than 0 and at most the server's own limit"};
const Row kUser = {"user", NoBehaviour::text};

const Row kEmbeddings[] = {
    kModel,
    {"input", Custom{read_input, "EmbeddingInput"},
     "a string, an array of token ids, or an array of up to 2048 of either"},
    {"encoding_format", Custom{read_encoding, "EncodingFormat"}, "\"float\" or \"base64\""},
    {"dimensions", Integer{To::own<&Fields::dimensions>, 1, kMaxInt}},
    kLongest,
    {"add_special_tokens", Flag{To::own<&Fields::add_special>}},
    kPriority,
    kTimeout,
    kUser,
};
const Row kRerank[] = {
    kModel,
    {"query", Custom{read_query, "Text"}, "a string"},
    {"documents", Custom{read_documents, "RerankDocuments"},
     "an array of up to 2048 strings, or of objects with the string as `text`"},
    {"top_n", Integer{To::own<&Fields::most_results>, 0, kMaxInt}},
    {"return_documents", Flag{To::own<&Fields::return_documents>}},
    kLongest,
    kPriority,
    kTimeout,
    kUser,
};
const Row kScore[] = {
    kModel,
    {"text_1", Custom{read_text_1, "Texts"}, "a string or an array of up to 2048"},
    {"text_2", Custom{read_text_2, "Texts"}, "a string or an array of up to 2048"},
    {"queries", Custom{read_queries, "Texts"}, "the same as `text_1`"},
    {"documents", Custom{read_score_documents, "Texts"}, "the same as `text_2`"},
    kLongest,
    kPriority,
    kTimeout,
    kUser,
};
const Row kOllamaEmbed[] = {
    {"model", Custom{read_model, "ModelId"}, "the name of a model (GET /api/tags lists them)"},
    {"input", Custom{read_input, "EmbeddingInput"}, "a string or an array of up to 2048"},
    {"truncate", Custom{read_truncate, "Flag"}, "true (what is too long is cut) or false"},
    {"dimensions", Integer{To::own<&Fields::dimensions>, 0, kMaxInt}},
    {"options", NoBehaviour::object},
    {"keep_alive", Custom{read_keep_alive, "KeepAlive"}, "seconds, or a duration such as \"5m\""},
};
const Row kOllamaEmbeddings[] = {
    {"model", Custom{read_model, "ModelId"}, "the name of a model (GET /api/tags lists them)"},
    {"prompt", Custom{read_prompt, "Text"}, "a string"},
    {"options", NoBehaviour::object},
    {"keep_alive", Custom{read_keep_alive, "KeepAlive"}, "seconds, or a duration such as \"5m\""},
};

}  // namespace

std::span<const Parameter> parameters(Endpoint endpoint) {
  switch (endpoint) {
    case Endpoint::embeddings:
      return kEmbeddings;
    case Endpoint::rerank:
      return kRerank;
    case Endpoint::score:
      return kScore;
    case Endpoint::ollama_embed:
      return kOllamaEmbed;
    case Endpoint::ollama_embeddings:
      break;
  }
  return kOllamaEmbeddings;
}

}  // namespace mlxd::api::embeddings
