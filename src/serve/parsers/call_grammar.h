#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "serve/declared_tools.h"
#include "serve/parsers/arguments.h"
#include "serve/request.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

namespace mlxd {

// A beginning of calls, and all that follows it up to their end, as Lark.
struct CallForm {
  std::string opener;  // text, with marks
  std::string after;
  bool at_start = false;  // it is one where an answer begins with it, and nowhere else
  std::vector<std::string> spellings = {};  // that a model may write in place of the opener
};

// How a format writes calls that are held to a grammar: what its parser reads, and no more than one
// way of it. The first form is the one in which a call is forced, unless `forced` says another.
struct CallForms {
  std::vector<CallForm> forms;
  std::string forced = {};
  std::optional<std::string> between = {};  // two such calls, as Lark; none: a form holds them all
};

// Writes a format's grammar of calls, in Lark as llguidance reads it, for the tools of a request.
class CallGrammar {
 public:
  // All three outlive it. No tool that `rule` names is undeclared.
  CallGrammar(const Tokenizer& tokenizer, const DeclaredTools& tools, const CallRule& rule);

  std::string mark(std::string_view marker) const;
  // A text, in which marks stand for their tokens.
  static std::string text(std::string_view text);
  // Any text up to `end`, and that.
  std::string text_until(std::string_view end);
  // `call` of each tool that may be called, and one of them.
  std::string any_of(const std::function<std::string(const std::string& name)>& call) const;
  // One call, or several with `between` between them where that is allowed.
  std::string list(const std::string& call, const std::string& between) const;
  // The schema of a tool's arguments.
  std::string_view schema_of(std::string_view tool) const {
    return tools_.find(tool)->second.schema;
  }
  // A tool's arguments as JSON.
  std::string arguments(std::string_view tool);
  // ... one of them,
  std::string argument(std::string_view tool, const ToolParameter& parameter) {
    return json_at(tool, pointer_to(parameter.name));
  }
  // ... what a JSON pointer into their schema names,
  std::string json_at(std::string_view tool, const std::string& at);
  // ... a string there as plain text up to `end`, and that,
  std::string text_at(std::string_view tool, const std::string& at, std::string_view end);
  // ... all of them, each as `write` gives it, with `between` between them.
  std::string each_argument(std::string_view tool, std::string_view between,
                            const std::function<std::string(const ToolParameter&)>& write);
  // ... all of them in tags, up to the end of the call; a line break may stand before each.
  std::string tagged_arguments(std::string_view tool, const TaggedArguments& format);
  // Values that come one after the other, as Lark, each of which may have to come.
  struct Item {
    std::string lark;
    bool required = false;
  };
  std::string each_of(const std::vector<Item>& items, std::string_view between);
  // A JSON pointer (RFC 6901) to an argument's schema.
  static std::string pointer_to(std::string_view parameter);
  // One step more of a JSON pointer.
  static std::string step(std::string_view name);
  // The name of a rule with this body; or one of a name of its own or a new one, for what nests.
  std::string rule(const std::string& body);
  std::string new_name() { return "r" + std::to_string(++rule_count_); }
  void define(std::string_view name, const std::string& body);

  // `forms` as a grammar. `forced`: of an answer that is calls; else of one form, from its opener
  // on. With `answer`, that may come in place of the calls.
  GrammarSource source(const CallForms& forms, bool forced, const GrammarSource* answer) const;

 private:
  std::string part(std::string_view tool, const std::string& at, std::string_view end_members);

  const Tokenizer& tokenizer_;
  const DeclaredTools& tools_;
  const CallRule& rule_;
  std::vector<std::string> callable_;
  std::string rules_;
  int rule_count_ = 0;
  std::string parts_;  // JSON members
  int part_count_ = 0;
  std::set<std::string, std::less<>> needed_;  // tools that parts_ names
};

}  // namespace mlxd
