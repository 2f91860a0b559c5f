// What the grammar of a format lets through, its parser reads as calls of the declared tools, whole
// and of their schemas: shown by random walks through the masks.
#include <random>
#include <span>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/grammars.h"
#include "serve/parsers/answers.h"

namespace mlxd::testing {
namespace {

namespace json = boost::json;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

constexpr std::string_view kSchema = R"({"type":"object","properties":{
    "s":{"type":"string"},"n":{"type":"integer","minimum":-5},"x":{"type":"number"},
    "b":{"type":"boolean"},"e":{"type":"string","enum":["red","dark blue"]},
    "o":{"$ref":"#/$defs/k"},"l":{"type":"array","items":{"type":"integer"},"maxItems":3},
    "p":{"type":"string","pattern":"^a[0-9]+$","maxLength":4},
    "d":{"type":"array","minItems":1,"maxItems":2,"items":{"type":"object","required":["c"],
        "properties":{"c":{"type":"string","enum":["up","far out"]},"k":{"$ref":"#/$defs/k"}}}}},
    "required":["n","e"],"$defs":{"k":{"type":"object","properties":{"k":{"type":"boolean"}}}}})";

DeclaredTools tools_with_schemas(bool strict = false) {
  DeclaredTools tools;
  tools["f"] = {{{"s", kJsonString},
                 {"n", kJsonInteger, true},
                 {"x", kJsonNumber},
                 {"b", kJsonBoolean},
                 {"e", kJsonString, true, {"red", "dark blue"}},
                 {"o", kJsonObject},
                 {"l", kJsonArray},
                 {"p", kJsonString},
                 {"d", kJsonArray}},
                std::string(kSchema),
                strict};
  tools["g"] = {{}, R"({"type":"object","properties":{}})", strict};
  return tools;
}

bool fits(const json::value& value, unsigned types) {
  if (value.is_string()) return (types & kJsonString) != 0;
  if (value.is_bool()) return (types & kJsonBoolean) != 0;
  if (value.is_int64() || value.is_uint64()) return (types & (kJsonInteger | kJsonNumber)) != 0;
  if (value.is_double()) return (types & (kJsonInteger | kJsonNumber)) != 0;  // of any length
  if (value.is_object()) return (types & kJsonObject) != 0;
  if (value.is_array()) return (types & kJsonArray) != 0;
  return types == kAnyJson;
}

bool is_flags(const json::value& value) {
  return value.is_object() && std::ranges::all_of(value.get_object(), [](const auto& member) {
           return member.key() == "k" && member.value().is_bool();
         });
}

// What kSchema says of arguments beyond their types.
bool fits_schema(const std::string& name, const json::value& value) {
  const auto all_of = [&](auto&& fits) { return std::ranges::all_of(value.get_array(), fits); };
  if (name == "o") return is_flags(value);
  if (name == "l") {
    return value.get_array().size() <= 3 &&
           all_of([](const json::value& item) { return fits(item, kJsonInteger); });
  }
  if (name == "p") {
    const std::string_view text = value.get_string();
    return text.size() >= 2 && text.size() <= 4 && text[0] == 'a' &&
           text.find_first_not_of("0123456789", 1) == std::string_view::npos;
  }
  if (name == "d") {
    const std::size_t size = value.get_array().size();
    return size >= 1 && size <= 2 && all_of([](const json::value& item) {
             if (!item.is_object()) return false;
             const json::object& in = item.get_object();
             const json::value* choice = in.if_contains("c");
             const json::value* flags = in.if_contains("k");
             return choice != nullptr && (*choice == "up" || *choice == "far out") &&
                    (flags == nullptr || is_flags(*flags)) &&
                    in.size() == (flags == nullptr ? 1U : 2U);
           });
  }
  return true;
}

// "" or what is wrong with a call that was read.
std::string fault_of(const DeclaredTools& tools, const std::string& name,
                     const std::string& arguments) {
  boost::system::error_code failed;
  const json::value value = json::parse(arguments, failed);
  if (failed || !value.is_object()) return "no JSON object";
  const auto tool = tools.find(name);
  if (tool == tools.end()) return "no tool";
  for (const auto& member : value.get_object()) {
    const auto& known = tool->second.parameters;
    const auto parameter =
        std::ranges::find(known, std::string(member.key()), &ToolParameter::name);
    if (parameter == known.end()) return "no parameter " + std::string(member.key());
    if (!fits(member.value(), parameter->types)) return "type of " + parameter->name;
    if (!fits_schema(parameter->name, member.value())) return "schema of " + parameter->name;
    if (!parameter->choices.empty() &&
        std::ranges::count(parameter->choices, std::string(member.value().get_string())) == 0) {
      return "none of the choices";
    }
  }
  for (const ToolParameter& parameter : tool->second.parameters) {
    if (parameter.required && !value.get_object().contains(parameter.name)) {
      return "lacks " + parameter.name;
    }
  }
  return {};
}

// A format over a vocabulary in which its marks are tokens, or are spelt with bytes.
class Written {
 public:
  Written(const std::string& format_name, bool marks_are_tokens)
      : format_(format(format_name)),
        tokenizer_(marks_tokenizer(marks(marks_are_tokens))),
        end_(tokenizer_->token_id("<|the_end|>")),
        grammars_(tokenizer_, tokenizer_->vocab_size(), {end_}) {}

  // A random answer that is held to calls; in words, as Reading gives them.
  std::vector<std::string> walk(const DeclaredTools& tools, const CallRule& rule,
                                std::mt19937& random, std::string* text = nullptr) {
    const auto declared = std::make_shared<const DeclaredTools>(tools);
    const CallConstraint calls =
        constrain_calls(*format_.tools, *tokenizer_, *declared, rule, nullptr);
    auto state = grammars_.state(calls.grammar, 0);
    if (!state) return {"refused: " + state.error().message};
    Reading reading(format_, tokenizer_, declared);
    std::vector<std::uint32_t> allowed(static_cast<std::size_t>(tokenizer_->vocab_size() + 31) /
                                       32);
    for (int step = 0; step < 2000 && !(*state)->is_over(); ++step) {
      std::ranges::fill(allowed, 0);
      (*state)->fill(allowed);
      const int token = draw(allowed, step, random);
      if (token == end_) break;
      if (!(*state)->accept(token)) return {"refused its own token"};
      const bool special = tokenizer_->is_special(token);
      const std::string said(tokenizer_->token_bytes(token, special));
      if (text != nullptr) *text += said;
      reading.add_token(token);
    }
    reading.end();
    return reading.words();
  }

 private:
  static std::vector<std::string> marks(bool are_tokens) {
    std::vector<std::string> marks = are_tokens ? kMarks : std::vector<std::string>();
    marks.emplace_back("<|the_end|>");
    return marks;
  }

  // The later, the sooner it comes to an end: ends of strings, objects and tags come first then.
  int draw(std::span<const std::uint32_t> allowed, int step, std::mt19937& random) const {
    const auto may = [&](int token) { return (allowed[token / 32] >> token % 32 & 1) != 0; };
    if (step > 40 || random() % 4 == 0) {
      if (may(end_) && step > 40) return end_;
      for (const char c : std::string_view("\"}])<>\n/|")) {
        if (may(static_cast<unsigned char>(c)) && random() % 3 != 0) {
          return static_cast<unsigned char>(c);
        }
      }
    }
    std::vector<int> all;
    for (int token = 0; token < tokenizer_->vocab_size(); ++token) {
      // No exponents: JSON's have no bounds, its readers' do.
      const bool plain = token >= 0x20 && token < 0x7F && token != 'e' && token != 'E';
      if (may(token) && (token >= 256 || plain)) all.push_back(token);
    }
    for (int token = 0; token < 256 && all.empty(); ++token) {
      if (may(token)) all.push_back(token);
    }
    return all.empty() ? end_ : all[random() % all.size()];
  }

  const AnswerFormat format_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const int end_;
  Grammars grammars_;
};

std::vector<std::string> formats_with_calls() {
  auto names = tool_parser_names();
  std::erase(names, "none");
  return names;
}

class CallGrammars : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, CallGrammars, ::testing::ValuesIn(formats_with_calls()),
                         [](const auto& format) { return format.param; });

TEST_P(CallGrammars, LetThroughWhatTheirParserReadsAsCallsOfTheSchema) {
  std::mt19937 random(5);
  const DeclaredTools tools = tools_with_schemas();
  for (const bool tokens : {true, false}) {
    Written written(GetParam(), tokens);
    int whole = 0;
    for (int round = 0; round < 25; ++round) {
      std::string text;
      const auto words =
          written.walk(tools, {.must = true, .only = {}, .param = {}}, random, &text);
      ASSERT_FALSE(words.empty()) << text;
      for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i].starts_with("reasoning: ")) continue;
        ASSERT_THAT(words[i], StartsWith("call: ")) << text;
        const std::string call = words[i].substr(6);
        const std::size_t space = call.find(' ');
        const std::string arguments = space == std::string::npos ? "" : call.substr(space + 1);
        const std::string fault = fault_of(tools, call.substr(0, space), arguments);
        if (fault.empty()) ++whole;
        ASSERT_TRUE(fault.empty() || i + 1 == words.size()) << fault << ": " << text;
      }
    }
    EXPECT_GE(whole, 12) << (tokens ? "tokens" : "spelt");
  }
}

TEST_P(CallGrammars, LetThroughOnlyTheToolsThatMayBeCalled) {
  std::mt19937 random(6);
  Written written(GetParam(), true);
  for (int round = 0; round < 10; ++round) {
    const auto words =
        written.walk(tools_with_schemas(),
                     {.must = true, .only = {"g"}, .at_most_one = true, .param = {}}, random);
    std::vector<std::string> calls;
    for (const std::string& word : words) {
      if (!word.starts_with("reasoning: ")) calls.push_back(word);
    }
    ASSERT_LE(calls.size(), 1U);
    for (const std::string& call : calls) {
      EXPECT_THAT(call, MatchesRegex("call: g( \\{\\s*\\})?"));
    }
  }
}

TEST(CallGrammar, OfAStrictToolNamesWhatCannotBeEnforced) {
  std::mt19937 random(7);
  DeclaredTools tools;
  tools["f"] = {
      {{"s", kJsonString}}, R"({"type":"object","properties":{"s":{"not":{"const":1}}}})", true};
  Written written("hermes", true);
  const CallRule rule{.must = true, .only = {}, .param = {}};
  EXPECT_THAT(written.walk(tools, rule, random), Contains(HasSubstr("'f'")));
  tools["f"].strict = false;
  EXPECT_THAT(written.walk(tools, rule, random), Contains(StartsWith("call: f {")));
}

// Formats that write strings as they are hold them to what JSON's are held to.
TEST(CallGrammar, OfAStringThatIsWrittenAsItIsHoldsItToItsSchema) {
  const struct {
    std::string schema, read;
  } kCases[] = {
      {R"({"type":"string","const":"a.b"})", "a\\.b"},
      {R"({"type":"string","pattern":"b[0-9]$","maxLength":4})", R"((\\?.)?(\\?.)?b[0-9])"},
      {R"({"type":"string","pattern":"^x|y$","maxLength":2})", R"(x(\\?.)?|(\\?.)?y)"},
      {R"({"type":"string","minLength":2,"maxLength":3})", R"((\\?.){2,3})"},
      {R"({"type":"string","format":"date"})", "[0-9]{4}-[01][0-9]-[0-3][0-9]"},
  };
  std::mt19937 random(8);
  const CallRule rule{.must = true, .only = {}, .at_most_one = true, .param = {}};
  for (const std::string format : {"qwen3_coder", "glm", "gemma4", "minimax"}) {
    for (const bool tokens : {true, false}) {
      Written written(format, tokens);
      for (const auto& [schema, read] : kCases) {
        SCOPED_TRACE(format + " " + schema);
        DeclaredTools tools;
        tools["f"] = {{{"s", kJsonString, true}},
                      R"({"type":"object","properties":{"s":)" + schema + "}}",
                      true};
        for (int round = 0; round < 10; ++round) {
          for (const std::string& word : written.walk(tools, rule, random)) {
            if (word.starts_with("reasoning: ")) continue;
            EXPECT_THAT(word, MatchesRegex("call: f \\{\"s\": ?\"(" + read + ")\"\\}"));
          }
        }
      }
    }
  }
}

TEST(CallGrammar, OfAStrictToolNamesWhatCannotBeEnforcedOfAString) {
  std::mt19937 random(9);
  Written written("qwen3_coder", true);
  const CallRule rule{.must = true, .only = {}, .param = {}};
  for (const std::string schema :
       {R"({"type":"string","not":{"const":"x"}})", R"({"type":"string","pattern":"a\\bc"})",
        R"({"type":"string","minLength":3,"maxLength":2})"}) {
    DeclaredTools tools;
    tools["f"] = {
        {{"s", kJsonString}}, R"({"type":"object","properties":{"s":)" + schema + "}}", true};
    EXPECT_THAT(written.walk(tools, rule, random), Contains(HasSubstr("'f'"))) << schema;
    tools["f"].strict = false;
    EXPECT_THAT(written.walk(tools, rule, random), Contains(StartsWith("call: f"))) << schema;
  }
}

}  // namespace
}  // namespace mlxd::testing
