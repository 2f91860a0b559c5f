#include "serve/parsers/answer_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "serve/parsers/tool_formats.h"

namespace mlxd {
namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// In this order: a template that knows two formats is of the first.
constexpr std::array kToolFormats = {
    ToolFormat{"harmony", "<|channel|>", read_harmony, harmony_calls},
    ToolFormat{"gemma4", "<|tool_call>", read_gemma4, gemma4_calls},
    ToolFormat{"lfm2", "<|tool_call_start|>", read_lfm2, lfm2_calls},
    ToolFormat{"deepseek_v32", "｜DSML｜", read_deepseek_v32, deepseek_v32_calls},
    ToolFormat{"deepseek", "<｜tool▁calls▁begin｜>", read_deepseek, deepseek_calls},
    ToolFormat{"kimi", "<|tool_calls_section_begin|>", read_kimi, kimi_calls},
    ToolFormat{"minimax", "<minimax:tool_call>", read_minimax, minimax_calls},
    ToolFormat{"mistral", "[TOOL_CALLS]", read_mistral, mistral_calls},
    ToolFormat{"qwen3_coder", "<parameter=", read_qwen3_coder, qwen3_coder_calls},
    ToolFormat{"glm", "<arg_key>", read_glm, glm_calls},
    ToolFormat{"granite", "<|tool_call|>", read_granite, granite_calls},
    ToolFormat{"hermes", "<tool_call>", read_hermes, hermes_calls},
    ToolFormat{"pythonic", "func_name1(", read_pythonic, pythonic_calls},
    ToolFormat{"llama3", "\"parameters\": dictionary", read_llama3, llama3_calls},
};

constexpr std::array kReasoningFormats = {
    ReasoningFormat{"think", {"<think>", "", "</think>"}},
    ReasoningFormat{"gemma4", {"<|channel>", "thought", "<channel|>"}},
    ReasoningFormat{"mistral", {"[THINK]", "", "[/THINK]"}},
    ReasoningFormat{"seed", {"<seed:think>", "", "</seed:think>"}},
};

template <class Formats>
auto named(const Formats& formats, std::string_view name) -> decltype(&formats[0]) {
  const auto found = std::ranges::find_if(formats, [&](const auto& f) { return f.name == name; });
  return found == formats.end() ? nullptr : &*found;
}

template <class Formats>
std::vector<std::string> names_of(const Formats& formats) {
  std::vector<std::string> names;
  for (const auto& format : formats) names.emplace_back(format.name);
  names.emplace_back("none");
  return names;
}

class FormatParser final : public AnswerParser {
 public:
  FormatParser(const AnswerFormat& format, std::shared_ptr<const Tokenizer> tokenizer,
               const AnswerContext& context)
      : format_(format),
        tokenizer_(std::move(tokenizer)),
        tools_(context.tools),
        reader_(*tokenizer_, context) {
    reader_.start(read(context.in_reasoning));
  }

  void add(int token, std::string_view text, std::vector<ParsedText>& out) override {
    reader_.add(token, text, out);
  }
  void end(std::string_view text, std::vector<ParsedText>& out) override { reader_.end(text, out); }
  bool in_call() const override { return reader_.in_call(); }

 private:
  Task<> read(bool in_reasoning) {
    if (format_.reasoning != nullptr) {
      co_await read_reasoning(reader_, format_.reasoning->marks, in_reasoning);
    }
    // Harmony's channels are there without any tools.
    const bool reads =
        !tools_->empty() || (format_.tools != nullptr && format_.tools->read == read_harmony);
    if (format_.tools != nullptr && reads) co_await format_.tools->read(reader_);
    co_await content_until(reader_, {});
  }

  const AnswerFormat format_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const std::shared_ptr<const DeclaredTools> tools_;
  AnswerReader reader_;
};

}  // namespace

std::vector<std::string> tool_parser_names() { return names_of(kToolFormats); }
std::vector<std::string> reasoning_parser_names() { return names_of(kReasoningFormats); }

AnswerFormat answer_format_of(std::string_view chat_template, const ParserNames& names) {
  AnswerFormat format;
  if (!names.tools.empty()) {
    format.tools = named(kToolFormats, names.tools);
  } else {
    const auto known = std::ranges::find_if(
        kToolFormats, [&](const ToolFormat& f) { return has(chat_template, f.shown_by); });
    format.tools = known == kToolFormats.end() ? named(kToolFormats, kFormatInWords) : &*known;
  }
  if (!names.reasoning.empty()) {
    format.reasoning = named(kReasoningFormats, names.reasoning);
  } else {
    const auto known = std::ranges::find_if(kReasoningFormats, [&](const ReasoningFormat& f) {
      return has(chat_template, f.marks.close);
    });
    format.reasoning = known == kReasoningFormats.end() ? nullptr : &*known;
  }
  return format;
}

std::unique_ptr<AnswerParser> make_answer_parser(const AnswerFormat& format,
                                                 std::shared_ptr<const Tokenizer> tokenizer,
                                                 const AnswerContext& context) {
  return std::make_unique<FormatParser>(format, std::move(tokenizer), context);
}

CallConstraint constrain_calls(const ToolFormat& format, const Tokenizer& tokenizer,
                               const DeclaredTools& tools, const CallRule& rule,
                               const GrammarSource* answer) {
  CallGrammar grammar(tokenizer, tools, rule);
  const CallForms forms = format.calls(grammar);
  CallConstraint constraint;
  const bool from_start = rule.must || answer != nullptr;
  constraint.grammar = grammar.source(forms, from_start, rule.must ? nullptr : answer);
  if (from_start) return constraint;
  for (const CallForm& form : forms.forms) {
    constraint.openers.push_back({form.opener, form.at_start, form.opener});
    for (const std::string& spelling : form.spellings) {
      constraint.openers.push_back({spelling, form.at_start, form.opener});
    }
  }
  return constraint;
}

}  // namespace mlxd
