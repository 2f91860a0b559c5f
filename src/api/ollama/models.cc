// What there is to ask of the models that are served, and of the server.
#include "api/ollama/models.h"

#include <cstdint>
#include <string>
#include <utility>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/api.h"
#include "api/json_reader.h"
#include "api/json_values.h"
#include "api/json_writer.h"
#include "api/ollama/dialect.h"
#include "api/ollama/errors.h"
#include "api/ollama/find_model.h"
#include "api/ollama/times.h"

namespace mlxd::api::ollama {
namespace {

namespace json = boost::json;

// The version whose API this is: clients tell by it what they may send.
constexpr std::string_view kApiVersion = "0.33.0";

// "134.5M", "1.5B"
std::string parameter_size(std::int64_t parameters) {
  const auto count = static_cast<double>(parameters);
  return count >= 1e9 ? fmt::format("{:.1f}B", count / 1e9) : fmt::format("{:.1f}M", count / 1e6);
}

std::int64_t file_bytes(const ModelSummary& summary) {
  std::int64_t bytes = 0;
  for (const auto& format : summary.formats) bytes += static_cast<std::int64_t>(format.bytes);
  return bytes;
}

void write_details(JsonWriter& json, const ModelSummary& summary) {
  json.key("details");
  json.begin_object();
  json.member("parent_model", "");
  json.member("format", summary.file_format);
  json.member("family", summary.architecture);
  json.key("families");
  json.begin_array();
  json.string(summary.architecture);
  json.end_array();
  json.member("parameter_size", parameter_size(summary.parameters));
  // The format that takes most of the bytes.
  json.member("quantization_level", summary.formats.empty() ? "" : summary.formats.front().name);
  json.end_object();
}

// Members that lists of models have in common.
void write_entry(JsonWriter& json, const ModelFacts& model) {
  json.member("name", model.id);
  json.member("model", model.id);
  json.member("size", file_bytes(model.card.summary));
  json.member("digest", model.card.summary.fingerprint);
  write_details(json, model.card.summary);
}

class OllamaQuery : public Query {
 public:
  Error in_own_terms(Error error) const override { return ollama::in_own_terms(std::move(error)); }
  std::string error_body(const Error& error) const override { return ollama::error_body(error); }
};

class Tags final : public OllamaQuery {
 public:
  std::string_view path() const override { return "/api/tags"; }
  std::string_view method() const override { return "GET"; }
  Result<std::string> answer(std::string_view, const ModelDirectory& models) const override {
    // Half a list would pass for the whole.
    if (!models.started()) return models_loading();
    std::string answer;
    JsonWriter json(answer);
    json.begin_object();
    json.key("models");
    json.begin_array();
    for (const auto& model : models.all()) {
      json.begin_object();
      write_entry(json, *model);
      json.member("modified_at", time_of(model->created));
      json.end_object();
    }
    json.end_array();
    json.end_object();
    return answer;
  }
};

class Processes final : public OllamaQuery {
 public:
  std::string_view path() const override { return "/api/ps"; }
  std::string_view method() const override { return "GET"; }
  Result<std::string> answer(std::string_view, const ModelDirectory& models) const override {
    std::string answer;
    JsonWriter json(answer);
    json.begin_object();
    json.key("models");
    json.begin_array();
    for (const auto& model : models.ready()) {
      const bool on_device = model->info().backend != "cpu";
      json.begin_object();
      write_entry(json, *model);
      json.member("expires_at", "9999-12-31T23:59:59Z");  // never by itself
      json.member("size_vram", on_device ? file_bytes(model->card.summary) : std::int64_t{0});
      json.member("context_length", model->info().context_length);
      json.end_object();
    }
    json.end_array();
    json.end_object();
    return answer;
  }
};

class Version final : public OllamaQuery {
 public:
  explicit Version(std::string own) : own_(std::move(own)) {}
  std::string_view path() const override { return "/api/version"; }
  std::string_view method() const override { return "GET"; }
  Result<std::string> answer(std::string_view, const ModelDirectory&) const override {
    std::string answer;
    JsonWriter json(answer);
    json.begin_object();
    json.member("version", kApiVersion);
    json.member("mlxd", own_);
    json.end_object();
    return answer;
  }

 private:
  const std::string own_;
};

Result<void> read_name(const json::value& value, ShowFields& fields) {
  if (!value.is_string()) return wrong_type("model", "the name of a model", value);
  if (fields.model.empty()) fields.model = std::string(value.get_string());
  return {};
}
bool is_false(const json::value& value) { return value.is_bool() && !value.get_bool(); }
bool is_empty(const json::value& value) {
  return (value.is_string() && value.get_string().empty()) ||
         (value.is_object() && value.get_object().empty());
}

const ShowRow kShow[] = {
    {"model", ShowRow::Rules::Custom{read_name, "ModelId"}, "the name of a model"},
    {"name", ShowRow::Rules::Custom{read_name, "ModelId"},
     "the name of a model"},  // its older name
    {"verbose", Unsupported{is_false}},
    {"system", Unsupported{is_empty}},
    {"template", Unsupported{is_empty}},
    {"options", Unsupported{is_empty}},
};

void write_info(JsonWriter& json, const ModelFacts& model) {
  const ModelSummary& summary = model.card.summary;
  const auto of_family = [&](std::string_view name, int value) {
    json.member(fmt::format("{}.{}", summary.architecture, name), value);
  };
  json.key("model_info");
  json.begin_object();
  json.member("general.architecture", summary.architecture);
  json.member("general.basename", model.id);
  json.member("general.parameter_count", summary.parameters);
  of_family("context_length", summary.context_length);
  of_family("block_count", summary.layers);
  of_family("embedding_length", summary.hidden_size);
  of_family("attention.head_count", summary.heads);
  of_family("attention.head_count_kv", summary.kv_heads);
  of_family("attention.key_length", summary.head_dim);
  of_family("vocab_size", summary.vocab_size);
  json.end_object();
}

void write_capabilities(JsonWriter& json, const ModelCard& card) {
  json.key("capabilities");
  json.begin_array();
  if (card.generates) json.string("completion");
  if (card.pooled && !card.pooled->is_score) json.string("embedding");
  if (!card.chat_template.empty()) json.string("tools");  // in words where it knows none
  if (card.reasons) json.string("thinking");
  json.end_array();
}

class Show final : public OllamaQuery {
 public:
  explicit Show(bool lenient) : lenient_(lenient) {}
  std::string_view path() const override { return "/api/show"; }
  Result<std::string> answer(std::string_view body, const ModelDirectory& models) const override {
    const auto object = read_json_object(body);
    if (!object) return object.error();
    ShowFields fields;
    fields.lenient = lenient_;
    if (auto read = read_by_table(*object, kShow, "", fields); !read) return read.error();
    const auto model = find_facts(fields.model, models);
    if (!model) return model.error();
    std::string answer;
    JsonWriter json(answer);
    json.begin_object();
    json.member("modelfile", fmt::format("FROM {}\n", (*model)->id));
    json.member("parameters", "");
    json.member("template", (*model)->card.chat_template);
    write_details(json, (*model)->card.summary);
    write_info(json, **model);
    write_capabilities(json, (*model)->card);
    json.member("modified_at", time_of((*model)->created));
    json.end_object();
    return answer;
  }

 private:
  const bool lenient_;
};

}  // namespace

std::span<const ShowRow> show_parameters() { return kShow; }

std::vector<std::unique_ptr<Query>> queries(const ApiOptions& options) {
  std::vector<std::unique_ptr<Query>> queries;
  queries.push_back(std::make_unique<Tags>());
  queries.push_back(std::make_unique<Processes>());
  queries.push_back(std::make_unique<Version>(options.version));
  queries.push_back(std::make_unique<Show>(options.lenient));
  return queries;
}

}  // namespace mlxd::api::ollama
