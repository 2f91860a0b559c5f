#include "api/embeddings/parse_request.h"

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "api/embeddings/parameters.h"
#include "api/embeddings/wire.h"
#include "api/errors.h"
#include "api/json_reader.h"
#include "api/ollama/find_model.h"

namespace mlxd::api::embeddings {
namespace {

Error missing(std::string param, std::string_view what_to_send) {
  Error error = bad_value(param, fmt::format("'{}' is missing; send {}.", param, what_to_send));
  error.code = "missing_required_parameter";
  return error;
}

// Every pair, or one text for all of the other side's.
Result<void> check_pairs(const Fields& fields, Endpoint endpoint) {
  const bool reranks = endpoint == Endpoint::rerank;
  if (fields.first.empty()) return missing(reranks ? "query" : "text_1", "a string");
  if (fields.second.empty()) return missing(reranks ? "documents" : "text_2", "strings");
  if (fields.first.size() == 1 || fields.first.size() == fields.second.size()) return {};
  return bad_value("text_1",
                   fmt::format("'text_1' has {} texts and 'text_2' {}; send as many, or one "
                               "'text_1' for all.",
                               fields.first.size(), fields.second.size()));
}

Result<void> check(const Fields& fields, const ParseOptions& options) {
  if (fields.model.empty() && !is_ollama(options.endpoint)) return missing("model", "a model id");
  if (fields.timeout_seconds > options.max_timeout_seconds) {
    return bad_value("timeout", fmt::format("'timeout' is out of range; send at most {} seconds.",
                                            options.max_timeout_seconds));
  }
  switch (options.endpoint) {
    case Endpoint::rerank:
    case Endpoint::score:
      return check_pairs(fields, options.endpoint);
    case Endpoint::ollama_embeddings:
      if (fields.inputs.empty()) return missing("prompt", "a string");
      return {};
    case Endpoint::embeddings:
    case Endpoint::ollama_embed:
      break;
  }
  if (fields.inputs.empty()) return missing("input", "a string or an array of them");
  return {};
}

// A cross-encoder reads pairs; of others each text is embedded once.
std::vector<EmbedInput> inputs_of(const Fields& fields, bool scores_pairs) {
  std::vector<EmbedInput> inputs = fields.inputs;
  if (!scores_pairs) {
    for (const std::string& text : fields.first) inputs.push_back({text});
    for (const std::string& text : fields.second) inputs.push_back({text});
    return inputs;
  }
  for (std::size_t i = 0; i < fields.second.size(); ++i) {
    inputs.push_back({fields.first[fields.first.size() == 1 ? 0 : i], fields.second[i]});
  }
  return inputs;
}

}  // namespace

Result<ParsedRequest> parse_request(std::string_view body, const ParseOptions& options,
                                    const ModelDirectory& models) {
  const auto object = read_json_object(body);
  if (!object) return object.error();
  const bool ollama = is_ollama(options.endpoint);
  Fields fields;
  fields.lenient = options.lenient;
  if (ollama) fields.longest = std::numeric_limits<int>::max();
  if (auto read = read_by_table(*object, parameters(options.endpoint), "", fields); !read) {
    return read.error();
  }
  if (auto checked = check(fields, options); !checked) return checked.error();
  auto model = ollama ? ollama::find_model(fields.model, models) : models.find(fields.model);
  if (!model) return model.error();
  if (fields.keep_alive) models.keep_alive((*model)->id, *fields.keep_alive);

  const auto& pooled = (*model)->card.pooled;
  const bool scores_pairs = pooled && pooled->is_score;
  const bool of_pairs = !fields.first.empty();
  ParsedRequest request;
  EmbedRequest& embed = request.embed.emplace();
  embed.inputs = inputs_of(fields, scores_pairs && of_pairs);
  embed.param = of_pairs ? (options.endpoint == Endpoint::rerank ? "documents" : "text_2")
                : options.endpoint == Endpoint::ollama_embeddings ? "prompt"
                                                                  : "input";
  embed.dimensions = fields.dimensions;
  embed.longest = fields.longest;
  embed.add_special = fields.add_special;
  request.job.samples = request.choices = static_cast<int>(embed.inputs.size());
  request.job.priority = fields.priority;
  request.job.deadline = deadline_after(fields.timeout_seconds > 0 ? fields.timeout_seconds
                                                                   : options.max_timeout_seconds);
  request.headers = ignored_header(fields.ignored);
  AnswerForm form;
  form.endpoint = options.endpoint;
  form.model = ollama ? fields.model : (*model)->id;
  form.base64 = fields.base64;
  form.by_cosine = of_pairs && !scores_pairs;
  form.queries = fields.first.size();
  form.most_results = static_cast<std::size_t>(fields.most_results);
  if (options.endpoint == Endpoint::rerank && fields.return_documents) {
    form.documents = std::move(fields.second);
  }
  request.writer = make_writer(std::move(form));
  request.model = *std::move(model);
  return request;
}

}  // namespace mlxd::api::embeddings
