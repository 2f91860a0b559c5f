#include "serve/parsers/call_grammar.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "serve/parsers/json_scanner.h"
#include "serve/parsers/marks.h"

namespace mlxd {
namespace {

// Of Lark, in which a choice binds loosest.
std::string grouped(std::string_view body) { return fmt::format("({})", body); }

std::string regex_escaped(std::string_view text) {
  constexpr std::string_view kOperators = "\\^$.|?*+()[]{}/";
  std::string escaped;
  for (const char c : text) {
    if (kOperators.find(c) != std::string_view::npos) escaped += '\\';
    escaped += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return escaped;
}

bool may_be_string(unsigned types) { return types == kAnyJson || (types & kJsonString) != 0; }

}  // namespace

CallGrammar::CallGrammar(const Tokenizer& tokenizer, const DeclaredTools& tools,
                         const CallRule& rule)
    : tokenizer_(tokenizer), tools_(tools), rule_(rule), callable_(rule.only) {
  if (callable_.empty()) {
    for (const auto& tool : tools) callable_.push_back(tool.first);
  }
}

std::string CallGrammar::mark(std::string_view marker) const { return mark_of(tokenizer_, marker); }

std::string CallGrammar::text(std::string_view text) {
  std::string lark;
  while (!text.empty()) {
    if (!lark.empty()) lark += ' ';
    if (text.front() == kTokenBegins) {
      const std::size_t end = text.find(kTokenEnds);
      lark += fmt::format("<[{}]>", text.substr(1, end - 1));
      text.remove_prefix(end + 1);
      continue;
    }
    const std::string_view plain = text.substr(0, text.find(kTokenBegins));
    lark += json_string(plain);
    text.remove_prefix(plain.size());
  }
  return lark;
}

std::string CallGrammar::text_until(std::string_view end) {
  const std::size_t token = end.find(kTokenBegins);
  if (token == std::string_view::npos) {
    const std::string name = new_name();
    rules_ += fmt::format("{}[suffix={}]: /(?s:.*)/\n", name, json_string(end));
    return name;
  }
  // The token ends the text, which must have ended with what stands before it.
  return fmt::format("/(?s:.*){}/ {}", regex_escaped(end.substr(0, token)),
                     text(end.substr(token)));
}

std::string CallGrammar::any_of(
    const std::function<std::string(const std::string& name)>& call) const {
  std::string lark;
  for (const std::string& name : callable_) {
    if (!lark.empty()) lark += " | ";
    lark += call(name);
  }
  return grouped(lark);
}

std::string CallGrammar::list(const std::string& call, const std::string& between) const {
  if (rule_.at_most_one) return call;
  return between.empty() ? fmt::format("({})+", call)
                         : fmt::format("{} ({} {})*", call, between, call);
}

std::string CallGrammar::step(std::string_view name) {
  std::string step = "/";
  for (const char c : name) step += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return step;
}

std::string CallGrammar::pointer_to(std::string_view parameter) {
  return "/properties" + step(parameter);
}

// Constraint parts of textkit: calls.rs.
std::string CallGrammar::part(std::string_view tool, const std::string& at,
                              std::string_view end_members) {
  const std::string name = fmt::format("p{}", ++part_count_);
  parts_ += fmt::format(R"({}"{}":{{"tool":{},"at":{}{}}})", parts_.empty() ? "" : ",", name,
                        json_string(tool), json_string(at), end_members);
  needed_.emplace(tool);
  return "@" + name;
}

std::string CallGrammar::arguments(std::string_view tool) { return part(tool, "", ""); }

std::string CallGrammar::json_at(std::string_view tool, const std::string& at) {
  return part(tool, at, "");
}

std::string CallGrammar::text_at(std::string_view tool, const std::string& at,
                                 std::string_view end) {
  const std::size_t token = end.find(kTokenBegins);
  const bool has_token = token != std::string_view::npos;
  const std::string members =
      fmt::format(R"(,"end":{},"token":{})", json_string(end.substr(0, token)), has_token);
  const std::string lark = part(tool, at, members);
  return has_token ? lark + " " + text(end.substr(token)) : lark;
}

// Those that are not required may be left out, and the first that comes has none before it.
std::string CallGrammar::each_argument(
    std::string_view tool, std::string_view between,
    const std::function<std::string(const ToolParameter&)>& write) {
  std::vector<Item> items;
  for (const ToolParameter& parameter : tools_.find(tool)->second.parameters) {
    items.push_back({write(parameter), parameter.required});
  }
  return each_of(items, between);
}

// From the last to the first: what may follow where none, or some, came before.
std::string CallGrammar::each_of(const std::vector<Item>& items, std::string_view between) {
  std::string first, next;
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    const std::string one = rule(item->lark);
    const std::string with = fmt::format("{} {}", one, next);
    const std::string behind = fmt::format("{} {}", between, with);
    if (item->required) {
      first = rule(with);
      next = rule(behind);
    } else {
      first =
          rule(first.empty() ? fmt::format("({})?", with) : fmt::format("{} | {}", with, first));
      next =
          rule(next.empty() ? fmt::format("({})?", behind) : fmt::format("{} | {}", behind, next));
    }
  }
  return first;
}

std::string CallGrammar::tagged_arguments(std::string_view tool, const TaggedArguments& format) {
  const std::string end = format.value_ends[0];
  const std::string all = each_argument(tool, "", [&](const ToolParameter& parameter) {
    std::string lark =
        "(\"\\n\")? " + text(format.key_begin + parameter.name + format.key_end) + " ";
    const bool is_text = may_be_string(parameter.types);
    // Where a format says which values are strings, those that may be are.
    for (const auto& begin : format.value_begins) {
      if (begin.types && is_text != (*begin.types == kJsonString)) continue;
      lark += text(begin.mark) + " ";
      break;
    }
    if (!parameter.choices.empty()) {
      std::string choices;
      for (const std::string& choice : parameter.choices) {
        choices += (choices.empty() ? "" : " | ") + json_string(choice);
      }
      return lark + grouped(choices) + " " + text(end);
    }
    if (parameter.types == kJsonString) {
      return lark + text_at(tool, pointer_to(parameter.name), end);
    }
    if (is_text) return lark + text_until(end);
    return lark + argument(tool, parameter) + " " + text(end);
  });
  return fmt::format("{} (\"\\n\")? {}", all, text(format.call_end));
}

std::string CallGrammar::rule(const std::string& body) {
  const std::string name = new_name();
  define(name, body);
  return name;
}

void CallGrammar::define(std::string_view name, const std::string& body) {
  rules_ += fmt::format("{}: {}\n", name, body);
}

GrammarSource CallGrammar::source(const CallForms& forms, bool forced,
                                  const GrammarSource* answer) const {
  std::string start;
  if (forced) {
    const CallForm& form = forms.forms.front();
    const std::string call =
        forms.forced.empty() ? text(form.opener) + " " + form.after : forms.forced;
    start = forms.between ? list(grouped(call), *forms.between) : call;
  } else {
    for (const CallForm& form : forms.forms) {
      if (!start.empty()) start += " | ";
      start += text(form.opener) + " " + form.after;
    }
  }
  if (answer != nullptr) start += " | @answer";
  std::string tools;
  for (const std::string& name : needed_) {
    const DeclaredTool& tool = tools_.find(name)->second;
    tools += fmt::format(R"({}{}:{{"parameters":{},"strict":{}}})", tools.empty() ? "" : ",",
                         json_string(name), tool.schema, tool.strict);
  }
  GrammarSource source{GrammarSource::Kind::calls, {}};
  source.text = fmt::format(R"({{"lark":{},"tools":{{{}}},"parts":{{{}}})",
                            json_string("start: " + start + "\n" + rules_), tools, parts_);
  if (answer != nullptr) {
    source.text += fmt::format(R"(,"answer":{{"kind":{},"text":{}}})",
                               static_cast<int>(answer->kind), json_string(answer->text));
  }
  source.text += '}';
  return source;
}

}  // namespace mlxd
