// docs/compatibility.md is what the tables of the dialects say, and these decide what happens with
// a field. MLXD_WRITE_DOCS=1 writes it anew.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <variant>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/anthropic/parameters.h"
#include "api/embeddings/parameters.h"
#include "api/ollama/parameters.h"
#include "api/openai/parameters.h"
#include "api/responses/parameters.h"

namespace mlxd::api {
namespace {

constexpr std::string_view kAbove = R"(# What happens with each field

Every field of every dialect that the server knows. A field that is not here is a 400 that names it,
or with `--lenient` is left out of account and named in the header `x-mlxd-ignored`, unless it says
what the answer is held to (`stop_token_ids`, `bad_words`, ...); in Anthropic's dialect it always is
left out. "Refused" is a 400 that names the field, unless its value asks for
what is done anyway (`"background": false`).

This page is written from the tables that requests are read by, and a test holds it to them
(`tests/api/compatibility_test.cc`). What is inside of messages, tools and other objects is in the
[README](../README.md#the-api), and which clients were tried in [clients.md](clients.md).
)";

template <class Rule>
std::string_view effect_of(const Rule& rule) {
  if (std::holds_alternative<NoBehaviour>(rule)) return "accepted, without effect";
  if (std::holds_alternative<Unsupported>(rule)) return "refused";
  return "honoured";
}

// A field, what it accepts and what happens with it, as a row of a table.
std::string row(std::string_view name, std::string accepts, std::string_view effect) {
  if (effect == "refused") accepts = "";
  for (std::size_t at = 0; (at = accepts.find('|', at)) != std::string::npos; at += 2) {
    accepts.insert(at, "\\");
  }
  return fmt::format("| `{}` | {} | {} |\n", name, accepts, effect);
}

std::string table(std::string_view title, const std::string& rows) {
  return fmt::format("\n## {}\n| field | accepts | |\n|---|---|---|\n{}", title, rows);
}

std::string openai_rows(Endpoint endpoint) {
  std::string rows;
  for (const Parameter& parameter : parameters()) {
    if (!parameter.applies_to(endpoint)) continue;
    rows += row(parameter.name, parameter.describe(), effect_of(parameter.rule));
  }
  return rows;
}

template <class Parameters>
std::string rows_of(const Parameters& parameters) {
  std::string rows;
  for (const auto& parameter : parameters) {
    rows += row(parameter.name, parameter.describe(), effect_of(parameter.rule));
  }
  return rows;
}

std::string anthropic_rows() {
  using Rules = ParameterRules<anthropic::RequestFields>;
  std::string rows;
  for (const auto& parameter : anthropic::parameters()) {
    if (!parameter.rule) {
      rows += row(parameter.name, "", "left out of account, and named in `x-mlxd-ignored`");
      continue;
    }
    const bool own = std::holds_alternative<Rules::Custom>(*parameter.rule);
    rows += row(parameter.name,
                own ? std::string("as Anthropic's API has it")
                    : describe_rule<anthropic::RequestFields>(*parameter.rule),
                effect_of(*parameter.rule));
  }
  return rows;
}

std::string page() {
  using Texts = embeddings::Endpoint;
  return std::string(kAbove) + table("`POST /v1/chat/completions`", openai_rows(Endpoint::chat)) +
         table("`POST /v1/completions`", openai_rows(Endpoint::completions)) +
         table("`POST /v1/responses`", rows_of(responses::parameters())) +
         table("`POST /v1/embeddings`", rows_of(embeddings::parameters(Texts::embeddings))) +
         table("`POST /v1/rerank`, `/v2/rerank`, `/rerank`",
               rows_of(embeddings::parameters(Texts::rerank))) +
         table("`POST /v1/score`, `/score`", rows_of(embeddings::parameters(Texts::score))) +
         table("`POST /v1/messages`, `/v1/messages/count_tokens`", anthropic_rows()) +
         table("`POST /api/chat`", rows_of(ollama::parameters(ollama::Endpoint::chat))) +
         table("`POST /api/generate`", rows_of(ollama::parameters(ollama::Endpoint::generate))) +
         table("`POST /api/embed`", rows_of(embeddings::parameters(Texts::ollama_embed))) +
         table("`POST /api/embeddings`",
               rows_of(embeddings::parameters(Texts::ollama_embeddings))) +
         table("`options` of `/api/chat` and `/api/generate`",
               rows_of(ollama::option_parameters()));
}

TEST(Compatibility, ThePageSaysWhatTheTablesSay) {
  const std::string path = std::string(MLXD_TEST_DATA) + "/../docs/compatibility.md";
  if (std::getenv("MLXD_WRITE_DOCS") != nullptr) std::ofstream(path) << page();
  std::ifstream file(path);
  const std::string written{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(written, page()) << "MLXD_WRITE_DOCS=1 writes it anew";
}

}  // namespace
}  // namespace mlxd::api
