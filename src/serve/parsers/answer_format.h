#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/answer_parser.h"
#include "serve/parsers/answer_reader.h"
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/reasoning.h"

namespace mlxd {

// How a family writes tool calls. `shown_by`: what a chat template has in it that knows the format.
struct ToolFormat {
  std::string_view name, shown_by;
  Task<> (*read)(AnswerReader& in);
  CallForms (*calls)(CallGrammar& to);
};

// ... and how its reasoning.
struct ReasoningFormat {
  std::string_view name;
  ReasoningMarks marks;
};

// A model's two formats; null: it has none, and what looks like one is content.
struct AnswerFormat {
  const ReasoningFormat* reasoning = nullptr;
  const ToolFormat* tools = nullptr;
};

// What an operator may ask for: the name of a format, "none", or "" for what the template shows.
struct ParserNames {
  std::string tools, reasoning;
};
std::vector<std::string> tool_parser_names();       // with "none"
std::vector<std::string> reasoning_parser_names();  // likewise

// What a model is asked for whose template knows no tools.
inline constexpr std::string_view kFormatInWords = "hermes";

// The first tool format that the template knows; kFormatInWords where it knows none. Names that
// are none of the above have been refused before.
AnswerFormat answer_format_of(std::string_view chat_template, const ParserNames& names);

// What holds an answer's calls to the tools of a request: a grammar, from the first token on, or
// where there are openers only behind each of them.
struct CallConstraint {
  struct Opener {
    std::string text;       // with marks (marks.h)
    bool at_start = false;  // as CallForm's
    std::string means;      // what it is in the grammar
  };
  GrammarSource grammar;
  std::vector<Opener> openers;
};

// `answer`, null: none, is what the answer is held to where it makes no call.
using ConstrainCalls = std::function<CallConstraint(
    const DeclaredTools& tools, const CallRule& rule, const GrammarSource* answer)>;

// For a format with tools.
CallConstraint constrain_calls(const ToolFormat& format, const Tokenizer& tokenizer,
                               const DeclaredTools& tools, const CallRule& rule,
                               const GrammarSource* answer);

// The parser of one choice.
std::unique_ptr<AnswerParser> make_answer_parser(const AnswerFormat& format,
                                                 std::shared_ptr<const Tokenizer> tokenizer,
                                                 const AnswerContext& context);

}  // namespace mlxd
