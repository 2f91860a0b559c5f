#include "api/openai/parameters.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <boost/json/value.hpp>

#include "api/openai/read_grammar.h"
#include "api/openai/read_values.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using P = Parameter;
using parameter_rules::is_false;
using parameter_rules::is_one;
using parameter_rules::is_true;
using parameter_rules::is_zero;

constexpr int kMaxInt = std::numeric_limits<int>::max();
constexpr double kMaxFloat = std::numeric_limits<float>::max();

bool never(const json::value&) { return false; }
bool is_empty_string(const json::value& value) {
  return value.is_string() && value.get_string().empty();
}
bool is_text_alone(const json::value& value) {
  if (!value.is_array() || value.get_array().size() != 1) return false;
  const auto& only = value.get_array()[0];
  return only.is_string() && only.get_string() == "text";
}

// The fields that the rows below write to.
template <auto member>
auto& chat(RequestFields& fields) {
  return fields.chat.*member;
}
// DashScope's name, vLLM's and llama-server's two.
constexpr std::array<const char*, 4> kBudgets = {"thinking_budget", "thinking_token_budget",
                                                 "thinking_budget_tokens",
                                                 "reasoning_budget_tokens"};
constexpr std::string_view kBudget = "an integer, the most tokens of reasoning; -1: any number";
template <std::size_t index>
Result<void> read_budget(const json::value& value, RequestFields& fields) {
  return read_reasoning_budget(kBudgets[index], value, fields);
}
using Sampling = SamplingParams;
using Job = GenerateJob;
using Fields = RequestFields;
using To = FieldsOf<Fields>;

// name, chat, completions, rule, what it accepts (where the rule does not say it), default
const std::array kParameters = {
    P{"model", true, true, P::Custom{read_model, "ModelId"},
      "a model id (GET /v1/models lists them)", "required"},
    P{"messages", true, false, P::Custom{read_messages, "ChatMessages"},
      "an array of 1 to 1024 messages", "required"},
    P{"prompt", false, true, P::Custom{read_prompt, "CompletionPrompt"},
      "a string, an array of token ids, or an array of up to 128 strings or token arrays",
      "required"},
    P{"max_completion_tokens",
      true,
      false,
      P::Integer{To::own<&Fields::max_completion_tokens>, 0, kMaxInt},
      {},
      "what is left of the context"},
    P{"max_tokens",
      true,
      false,
      P::Integer{To::job<&Job::max_tokens>, 0, kMaxInt},
      {},
      "what is left of the context"},
    P{"max_tokens", false, true, P::Integer{To::job<&Job::max_tokens>, 0, kMaxInt}, {}, "16"},
    P{"temperature", true, true, P::Number{To::sampling<&Sampling::temperature>, 0, 2}, {}, "1"},
    P{"top_p", true, true, P::Number{To::sampling<&Sampling::top_p>, 0, 1, true}, {}, "1"},
    P{"top_k", true, true, P::Integer{To::sampling<&Sampling::top_k>, -1, kMaxInt}, {}, "0 (off)"},
    P{"min_p", true, true, P::Number{To::sampling<&Sampling::min_p>, 0, 1}, {}, "0"},
    P{"seed", true, true, P::Custom{read_seed, "Seed"}, "a 64-bit integer",
      "random, told in the header x-seed"},
    P{"stop", true, true, P::Custom{read_stop, "Stop"},
      "a string or an array of up to 16 strings, none of them empty"},
    P{"presence_penalty",
      true,
      true,
      P::Number{To::sampling<&Sampling::presence_penalty>, -2, 2},
      {},
      "0"},
    P{"frequency_penalty",
      true,
      true,
      P::Number{To::sampling<&Sampling::frequency_penalty>, -2, 2},
      {},
      "0"},
    P{"repetition_penalty",
      true,
      true,
      P::Number{To::sampling<&Sampling::repetition_penalty>, 0, kMaxFloat, true},
      {},
      "1"},
    P{"logit_bias", true, true, P::Custom{read_logit_bias, "LogitBias"},
      "an object of token ids (as strings), each with a number from -100 to 100"},
    P{"logprobs", true, false, P::Flag{To::sampling<&Sampling::logprobs>}, {}, "false"},
    P{"top_logprobs",
      true,
      false,
      P::Integer{To::sampling<&Sampling::top_logprobs>, 0, 20},
      {},
      "0"},
    P{"logprobs", false, true, P::Integer{To::own<&Fields::completion_logprobs>, 0, 20}},
    P{"return_tokens_as_token_ids", true, true, P::Flag{To::own<&Fields::token_ids>}, {}, "false"},
    P{"echo", false, true, P::Flag{To::text<&TextOptions::echo>}, {}, "false"},
    P{"n", true, true, P::Integer{To::own<&Fields::n>, 1, 8}, {}, "1"},
    P{"best_of", true, true, P::Integer{To::own<&Fields::best_of>, 1, 8}, {}, "n"},
    P{"stream", true, true, P::Flag{To::own<&Fields::stream>}, {}, "false"},
    P{"stream_options", true, true, P::Custom{read_stream_options, "StreamOptions"},
      "an object with include_usage and continuous_usage_stats: true or false"},
    P{"return_progress", true, true, P::Flag{To::own<&Fields::return_progress>}, {}, "false"},
    P{"ignore_eos", true, true, P::Flag{To::job<&Job::ignore_eos>}, {}, "false"},
    P{"min_tokens", true, true, P::Integer{To::job<&Job::min_tokens>, 0, kMaxInt}, {}, "0"},
    P{"priority", true, true, P::Integer{To::job<&Job::priority>, 0, kHighestPriority}, {}, "0"},
    P{"response_format", true, true, P::Custom{read_response_format, "ResponseFormat"},
      "an object whose 'type' is \"text\", \"json_object\" or \"json_schema\""},
    P{"structured_outputs", true, true, P::Custom{read_structured_outputs, "StructuredOutputs"},
      "an object with json, regex, choice, grammar or json_object"},
    P{"guided_json", true, true, P::Custom{read_guided_json, "JsonSchema"}, "a JSON schema"},
    P{"guided_regex", true, true, P::Custom{read_guided_regex, "Expression"},
      "a regular expression"},
    P{"guided_choice", true, true, P::Custom{read_guided_choice, "Choices"}, "an array of strings"},
    P{"guided_grammar", true, true, P::Custom{read_guided_grammar, "Expression"},
      "a grammar in GBNF or Lark"},
    P{"json_schema", true, true, P::Custom{read_json_schema, "JsonSchema"}, "a JSON schema"},
    P{"grammar", true, true, P::Custom{read_grammar, "Expression"}, "a grammar in GBNF or Lark"},
    P{"timeout", true, true, P::Custom{read_timeout, "Seconds"},
      "seconds, more than 0 and at most the server's own limit", "the server's limit"},

    P{"user", true, true, P::NoBehaviour::text},
    P{"metadata", true, true, P::NoBehaviour::object},
    P{"store", true, true, P::NoBehaviour::boolean},
    P{"service_tier", true, true, P::NoBehaviour::text},
    P{"safety_identifier", true, true, P::NoBehaviour::text},
    P{"prompt_cache_key", true, true, P::Custom{read_cache_key, "Text"}, "a string"},
    P{"prompt_cache_retention", true, true, P::NoBehaviour::text},
    P{"prompt_cache_options", true, true, P::NoBehaviour::object},
    P{"cache_prompt", true, true, P::NoBehaviour::boolean},  // an answer does not depend on it
    P{"verbosity", true, false, P::NoBehaviour::text},       // no template knows it
    P{"prediction", true, false, P::NoBehaviour::object},    // drafts are made of the prompt

    // What vLLM and llama-server have, where it asks for what is done anyway.
    P{"skip_special_tokens", true, true, P::Unsupported{is_true}},
    P{"spaces_between_special_tokens", true, true, P::Unsupported{is_true}},
    P{"include_stop_str_in_output", true, true, P::Unsupported{is_false}},
    P{"use_beam_search", true, true, P::Unsupported{is_false}},
    P{"typical_p", true, true, P::Unsupported{is_one}},
    P{"mirostat", true, true, P::Unsupported{is_zero}},

    P{"tools", true, false, P::Custom{read_tools, "ChatTools"}, "an array of up to 256 functions"},
    P{"tool_choice", true, false, P::Custom{read_tool_choice, "ChatToolChoice"},
      "none, auto, required, a function or allowed_tools", "auto"},
    P{"parallel_tool_calls", true, false, P::Flag{To::own<&Fields::parallel_calls>}, {}, "true"},
    P{"functions", true, false, P::Custom{read_functions, "Functions"},
      "an array of up to 256 functions"},
    P{"function_call", true, false, P::Custom{read_function_call, "FunctionChoice"},
      "none, auto or a function", "auto"},
    P{"documents", true, false, P::Custom{read_documents, "Objects"}, "an array of objects"},
    P{"chat_template_kwargs", true, false, P::Custom{read_template_arguments, "TemplateVariables"},
      "an object"},
    P{"enable_thinking", true, false, P::Custom{read_enable_thinking, "Flag"}, "true or false",
      "the template's"},
    P{"reasoning_effort", true, false, P::Custom{read_reasoning_effort, "ReasoningEffort"},
      "none, minimal, low, medium, high, xhigh or max", "the template's"},
    P{"reasoning", true, false, P::Custom{read_reasoning, "Reasoning"},
      "an object with effort, enabled or max_tokens", "the template's"},
    P{"thinking_budget", true, false, P::Custom{read_budget<0>, "ReasoningBudget"}, kBudget, "any"},
    P{"thinking_token_budget", true, false, P::Custom{read_budget<1>, "ReasoningBudget"}, kBudget,
      "any"},
    P{"thinking_budget_tokens", true, false, P::Custom{read_budget<2>, "ReasoningBudget"}, kBudget,
      "any"},
    P{"reasoning_budget_tokens", true, false, P::Custom{read_budget<3>, "ReasoningBudget"}, kBudget,
      "any"},
    P{"add_generation_prompt",
      true,
      false,
      P::Flag{chat<&ChatPrompt::add_generation_prompt>},
      {},
      "true, unless continue_final_message"},
    P{"continue_final_message",
      true,
      false,
      P::Flag{chat<&ChatPrompt::continue_final_message>},
      {},
      "false"},
    P{"modalities", true, false, P::Unsupported{is_text_alone}},
    P{"audio", true, false, P::Unsupported{never}},
    P{"web_search_options", true, false, P::Unsupported{never}},
    P{"suffix", false, true, P::Unsupported{is_empty_string}},
};

}  // namespace

std::string Parameter::describe() const {
  return accepts.empty() ? describe_rule<RequestFields>(rule) : std::string(accepts);
}

Result<void> Parameter::read(const json::value& value, RequestFields& fields) const {
  return read_by_rule<RequestFields>(rule, name, describe(), value, fields);
}

std::span<const Parameter> parameters() { return kParameters; }

const Parameter* find_parameter(std::string_view name, Endpoint endpoint) {
  const auto row = std::find_if(kParameters.begin(), kParameters.end(), [&](const Parameter& p) {
    return p.name == name && p.applies_to(endpoint);
  });
  return row == kParameters.end() ? nullptr : &*row;
}

}  // namespace mlxd::api
