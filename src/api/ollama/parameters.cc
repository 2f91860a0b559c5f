#include "api/ollama/parameters.h"

#include <iterator>
#include <limits>
#include <vector>

#include <boost/json/value.hpp>

#include "api/json_values.h"
#include "api/ollama/read_values.h"
#include "api/parameter_rules.h"

namespace mlxd::api::ollama {
namespace {

namespace json = boost::json;
using Row = Parameter;
using Rules = Row::Rules;
using Number = Rules::Number;
using Integer = Rules::Integer;
using Flag = Rules::Flag;
using Custom = Rules::Custom;
using parameter_rules::is_false;
using parameter_rules::is_one;
using parameter_rules::is_true;
using parameter_rules::is_zero;

constexpr int kMaxInt = std::numeric_limits<int>::max();
constexpr double kMaxFloat = std::numeric_limits<float>::max();

bool is_empty(const json::value& value) {
  return (value.is_string() && value.get_string().empty()) ||
         (value.is_array() && value.get_array().empty());
}

using Sampling = SamplingParams;
using To = FieldsOf<Fields>;

// name, rule, what it accepts (where the rule does not say it)
const Row kOptions[] = {
    {"num_predict", Custom{read_num_predict, "Integer"},
     "an integer; below 0: what is left of the context"},
    {"temperature", Number{To::sampling<&Sampling::temperature>, 0, 100}},
    {"top_k", Custom{read_top_k, "Integer"}, "an integer; 0 or less: off"},
    {"top_p", Number{To::sampling<&Sampling::top_p>, 0, 1, true}},
    {"min_p", Number{To::sampling<&Sampling::min_p>, 0, 1}},
    {"seed", Custom{read_seed, "Seed"}, "a 64-bit integer; -1: random"},
    {"stop", Custom{read_stop, "Stop"}, "an array of up to 16 strings, none of them empty"},
    {"repeat_penalty", Number{To::sampling<&Sampling::repetition_penalty>, 0, kMaxFloat, true}},
    {"presence_penalty", Number{To::sampling<&Sampling::presence_penalty>, -2, 2}},
    {"frequency_penalty", Number{To::sampling<&Sampling::frequency_penalty>, -2, 2}},
    {"repeat_last_n", Integer{To::own<&Fields::repeat_last_n>, -1, kMaxInt}},
    {"num_ctx", Integer{To::own<&Fields::context>, 1, kMaxInt}},

    // Ways to draw that there are not here.
    {"typical_p", Unsupported{is_one}},
    {"tfs_z", Unsupported{is_one}},
    {"mirostat", Unsupported{is_zero}},
    {"mirostat_tau", NoBehaviour::number},
    {"mirostat_eta", NoBehaviour::number},
    {"penalize_newline", Unsupported{is_true}},

    // A context is never shifted, and the operator has settled how a model is loaded.
    {"num_keep", NoBehaviour::number},
    {"num_batch", NoBehaviour::number},
    {"num_gpu", NoBehaviour::number},
    {"main_gpu", NoBehaviour::number},
    {"num_thread", NoBehaviour::number},
    {"draft_num_predict", NoBehaviour::number},
    {"numa", NoBehaviour::boolean},
    {"low_vram", NoBehaviour::boolean},
    {"f16_kv", NoBehaviour::boolean},
    {"use_mmap", NoBehaviour::boolean},
    {"use_mlock", NoBehaviour::boolean},
    {"logits_all", Unsupported{is_false}},
    {"vocab_only", Unsupported{is_false}},
    {"embedding_only", Unsupported{is_false}},
};

Result<void> read_options(const json::value& value, Fields& fields) {
  if (!value.is_object()) return wrong_type("options", "an object", value);
  return read_by_table(value.get_object(), kOptions, "options.", fields);
}

const Row kShared[] = {
    {"model", Custom{read_model, "ModelId"}, "the name of a model (GET /api/tags lists them)"},
    {"stream", Flag{To::own<&Fields::stream>}},
    {"format", Custom{read_format, "OllamaFormat"}, "\"json\" or a JSON schema"},
    {"options", Custom{read_options, "OllamaOptions"}, "an object"},
    {"think", Custom{read_think, "OllamaThink"},
     "true, false, \"low\", \"medium\", \"high\" or \"max\""},
    {"keep_alive", Custom{read_keep_alive, "KeepAlive"}, "seconds, or a duration such as \"5m\""},
    {"logprobs", Flag{To::sampling<&Sampling::logprobs>}},
    {"top_logprobs", Integer{To::sampling<&Sampling::top_logprobs>, 0, 20}},
    // What does not fit the context is an error: nothing is dropped of what was said.
    {"truncate", Unsupported{is_false}},
    {"shift", Unsupported{is_false}},
    {"_debug_render_only", Unsupported{is_false}},
};

const Row kChat[] = {
    {"messages", Custom{read_messages, "OllamaMessages"}, "an array of up to 1024 messages"},
    {"tools", Custom{read_tools, "OllamaTools"}, "an array of up to 256 functions"},
};

const Row kGenerate[] = {
    {"prompt", Custom{read_prompt, "Text"}, "a string"},
    {"system", Custom{read_system, "Text"}, "a string"},
    {"raw", Flag{To::own<&Fields::raw>}},
    {"suffix", Unsupported{is_empty}},
    {"template", Unsupported{is_empty}},
    // Of earlier answers, which here have none: /api/chat takes a conversation.
    {"context", Unsupported{is_empty}},
    {"images", Unsupported{is_empty}},
    {"width", Unsupported{is_zero}},
    {"height", Unsupported{is_zero}},
    {"steps", Unsupported{is_zero}},
};

template <std::size_t own_rows>
std::vector<Row> with_shared(const Row (&rows)[own_rows]) {
  std::vector<Row> all(std::begin(kShared), std::end(kShared));
  all.insert(all.end(), std::begin(rows), std::end(rows));
  return all;
}

}  // namespace

std::span<const Parameter> parameters(Endpoint endpoint) {
  static const std::vector<Row> chat = with_shared(kChat);
  static const std::vector<Row> generate = with_shared(kGenerate);
  return endpoint == Endpoint::chat ? chat : generate;
}

std::span<const Parameter> option_parameters() { return kOptions; }

Result<void> read_body(const json::object& body, Endpoint endpoint, Fields& fields) {
  return read_by_table(body, parameters(endpoint), "", fields);
}

}  // namespace mlxd::api::ollama
