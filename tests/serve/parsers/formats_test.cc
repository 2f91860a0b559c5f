// Every format: what its models write, and what must hold for all of them whatever they write.
#include <random>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/parsers/answers.h"

namespace mlxd::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

struct Sample {
  std::string format;
  std::string text;
  std::vector<std::string> words;
};

// As the models' own templates write them.
const std::vector<Sample> kSamples = {
    {"hermes",
     "I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"é <b>\"}}\n</tool_call>\n"
     "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
     {"content: I look.", "call: f {\"s\": \"é <b>\"}", "call: g {}"}},
    {"qwen3_coder",
     "So.\n<tool_call>\n<function=f>\n<parameter=s>\na \"b\"\n\n</parameter> x\n</parameter>\n"
     "<parameter=n>\n5\n</parameter>\n<parameter=l>\n[1, 2]\n</parameter>\n<parameter=b>\nTrue\n"
     "</parameter>\n</function>\n</tool_call>",
     {"content: So.",
      "call: f {\"s\": \"a \\\"b\\\"\\n\\n</parameter> x\", \"n\": 5, \"l\": [1, 2], \"b\": "
      "true}"}},
    {"qwen3_coder", "<function=g>\n</function>", {"call: g {}"}},
    {"glm",
     "\n<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>5</arg_value>\n<arg_key>x</arg_key>\n"
     "<arg_value>1.5</arg_value>\n</tool_call>\n<tool_call>g</tool_call>",
     {"call: f {\"s\": \"5\", \"x\": 1.5}", "call: g {}"}},
    {"glm",
     "Hi<tool_call>f<arg_key>o</arg_key><arg_value>{\"a\": [null]}</arg_value></tool_call>",
     {"content: Hi", "call: f {\"o\": {\"a\": [null]}}"}},
    {"minimax",
     "\n<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"s\">a\nb</parameter>\n"
     "<parameter name=\"any\">{\"k\": 1}</parameter>\n</invoke>\n<invoke name=\"g\">\n</invoke>\n"
     "</minimax:tool_call>",
     {"call: f {\"s\": \"a\\nb\", \"any\": {\"k\": 1}}", "call: g {}"}},
    {"deepseek_v32",
     "Ok.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter "
     "name=\"any\" "
     "string=\"true\">1</｜DSML｜parameter>\n<｜DSML｜parameter name=\"n\" string=\"false\">2"
     "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     {"content: Ok.\n", "call: f {\"any\": \"1\", \"n\": 2}"}},
    {"deepseek",
     "Ok.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"n\": 1}<｜tool▁call▁end｜>"
     "<｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     {"content: Ok.", "call: f {\"n\": 1}", "call: g {}"}},
    {"deepseek",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"n\": 1}\n```"
     "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```"
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     {"call: f {\"n\": 1}", "call: g {}"}},
    {"kimi",
     "Ok.<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
     "{\"n\": 1}<|tool_call_end|><|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{}"
     "<|tool_call_end|><|tool_calls_section_end|>",
     {"content: Ok.", "call: f {\"n\": 1}", "call: g {}"}},
    {"mistral",
     "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"n\": 1}, \"id\": \"abcdefghi\"}, {\"name\": "
     "\"g\", \"arguments\": {}}]",
     {"call: f {\"n\": 1}", "call: g {}"}},
    {"mistral",
     "Ok.[TOOL_CALLS]f[ARGS]{\"n\": 1}[TOOL_CALLS]g[CALL_ID]abcdefghi[ARGS]{}",
     {"content: Ok.", "call: f {\"n\": 1}", "call: g {}"}},
    {"granite",
     "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"n\": 1}}, {\"name\": \"g\", "
     "\"arguments\": {}}]",
     {"call: f {\"n\": 1}", "call: g {}"}},
    {"llama3",
     "{\"name\": \"f\", \"parameters\": {\"n\": 1}}; {\"name\": \"g\", \"parameters\": {}}",
     {"call: f {\"n\": 1}", "call: g {}"}},
    {"llama3",
     "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"n\": 1}}",
     {"call: f {\"n\": 1}"}},
    {"llama3", "<function=f>{\"n\": 1}</function>", {"call: f {\"n\": 1}"}},
    {"pythonic",
     "[f(s='it\\'s \"é\"', n=-1, b=True, l=[1, 'x'], o={'k': None}), g()]",
     {"call: f {\"s\": \"it's \\\"é\\\"\", \"n\": -1, \"b\": true, \"l\": [1, \"x\"], "
      "\"o\": {\"k\": null}}",
      "call: g {}"}},
    {"lfm2",
     "Ok.<|tool_call_start|>[f(s=\"a\\nb\", x=.5)]<|tool_call_end|>Done.",
     {"content: Ok.", "call: f {\"s\": \"a\\nb\", \"x\": \".5\"}", "content: Done."}},
    {"gemma4",
     "Ok.<|tool_call>call:f{s:<|\"|>a \"b\", {c}<|\"|>,n:5,b:true,l:[1,<|\"|>x<|\"|>],"
     "o:{k:{<|\"|>z y<|\"|>:null}}}<tool_call|><|tool_call>call:g{}<tool_call|>",
     {"content: Ok.",
      "call: f {\"s\": \"a \\\"b\\\", {c}\", \"n\": 5, \"b\": true, \"l\": [1, \"x\"], "
      "\"o\": {\"k\": {\"z y\": null}}}",
      "call: g {}"}},
    {"harmony",
     "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
     "to=functions.f <|constrain|>json<|message|>{\"n\": 1}<|call|>",
     {"reasoning: Hm.", "call: f {\"n\": 1}"}},
    {"harmony",
     "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi"
     "<|return|>",
     {"reasoning: Hm.", "content: Hi"}},
    {"harmony",
     "<|start|>assistant to=functions.g<|channel|>commentary json<|message|>{}<|call|>",
     {"call: g {}"}},
};

std::size_t next_character(std::string_view text, std::size_t at) {
  ++at;
  while (at < text.size() && (text[at] & 0xC0) == 0x80) ++at;
  return at;
}

// Read in random pieces of whole characters, each at most `most` bytes.
Reading in_pieces(const AnswerFormat& format, std::shared_ptr<const Tokenizer> tokenizer,
                  std::string_view text, std::mt19937& random, std::size_t most) {
  Reading reading(format, std::move(tokenizer));
  while (!text.empty()) {
    std::size_t size = next_character(text, 0);
    for (std::size_t more = random() % most; size <= more && size < text.size();) {
      size = next_character(text, size);
    }
    reading.add(text.substr(0, size));
    text.remove_prefix(size);
  }
  reading.end();
  return reading;
}

class Formats : public ::testing::TestWithParam<Sample> {};
INSTANTIATE_TEST_SUITE_P(All, Formats, ::testing::ValuesIn(kSamples), [](const auto& sample) {
  return sample.param.format + "_" + std::to_string(sample.index);
});

TEST_P(Formats, ReadWhatTheirModelsWrite) {
  const Sample& sample = GetParam();
  EXPECT_THAT(read(format(sample.format), sample.text), ElementsAreArray(sample.words));
}

TEST_P(Formats, KnowTheirMarksAsControlTokens) {
  const Sample& sample = GetParam();
  EXPECT_THAT(read(format(sample.format), sample.text, kMarks), ElementsAreArray(sample.words));
}

TEST_P(Formats, GiveArgumentsThatAreJson) {
  Reading reading(format(GetParam().format), marks_tokenizer());
  reading.add(GetParam().text);
  reading.end();
  EXPECT_FALSE(reading.in_call());
  for (const TextDelta& part : reading.choice()) {
    if (part.channel != AnswerChannel::tool_arguments) continue;
    EXPECT_TRUE(boost::json::parse(part.text).is_object()) << part.text;
  }
}

TEST_P(Formats, GiveTheSameHoweverTheTextIsCut) {
  const Sample& sample = GetParam();
  std::mt19937 random(7);
  const auto tokenizer = marks_tokenizer();
  for (int round = 0; round < 50; ++round) {
    const Reading reading =
        in_pieces(format(sample.format), tokenizer, sample.text, random, 1 + round % 12);
    ASSERT_THAT(reading.words(), ElementsAreArray(sample.words));
    ASSERT_EQ(reading.read(), sample.text.size());
  }
}

// Cut off anywhere, nothing of a call is half: what is there is a beginning of the whole.
TEST_P(Formats, SayOfABeginningABeginning) {
  const Sample& sample = GetParam();
  const auto tokenizer = marks_tokenizer();
  for (std::size_t size = 0; size < sample.text.size(); size = next_character(sample.text, size)) {
    Reading reading(format(sample.format), tokenizer);
    reading.add(std::string_view(sample.text).substr(0, size));
    const auto words = reading.words();
    ASSERT_LE(words.size(), sample.words.size()) << size;
    for (std::size_t i = 0; i < words.size(); ++i) {
      ASSERT_TRUE(sample.words[i].starts_with(words[i])) << size << ": " << words[i];
      const bool is_whole = words[i] == sample.words[i];
      ASSERT_TRUE(is_whole || i + 1 == words.size()) << size << ": " << words[i];
    }
  }
}

TEST_P(Formats, LeaveAnUndeclaredNameInTheContent) {
  std::string text = GetParam().text;
  if (GetParam().format == "harmony") return;  // a message to somebody else, without its header
  for (const std::string_view declared : {"f", "g"}) {
    for (const std::string_view before : {"\"", "=", ">", ".", ":", "[", "]", " ", "l>"}) {
      for (const std::string_view after : {"\"", ">", "<", "(", "[", "{", ":", "\n"}) {
        const std::string name = std::string(before) + std::string(declared) + std::string(after);
        const std::string other = std::string(before) + "unknown" + std::string(after);
        for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name)) {
          text.replace(at, name.size(), other);
        }
      }
    }
  }
  EXPECT_THAT(read(format(GetParam().format), text), ElementsAre("content: " + text));
}

// Pieces of all formats in any order.
std::string garbage(std::mt19937& random) {
  static const std::vector<std::string> kPieces = [] {
    std::vector<std::string> pieces = kMarks;
    for (const char* more : {"f",
                             "g",
                             "{",
                             "}",
                             "[",
                             "]",
                             "(",
                             ")",
                             "\"",
                             "'",
                             "\\",
                             ":",
                             ",",
                             "=",
                             "\n",
                             " ",
                             "name",
                             "arguments",
                             "{\"name\": \"f\", \"arguments\": ",
                             "<function=f>",
                             "<parameter=s>",
                             "call:f{",
                             "</parameter>",
                             "</function>",
                             "<invoke name=\"f\">",
                             "<parameter name=\"n\">",
                             "é",
                             "1",
                             "functions.f:0",
                             "to=functions.f",
                             "analysis",
                             "```json\n",
                             "```",
                             "<think>",
                             "</think>",
                             "[f(",
                             "s=",
                             "null",
                             "a"}) {
      pieces.emplace_back(more);
    }
    return pieces;
  }();
  std::string text;
  for (std::size_t i = random() % 25; i > 0; --i) text += kPieces[random() % kPieces.size()];
  return text;
}

TEST(AllFormats, ReadGarbageToItsEndHoweverItIsCut) {
  std::mt19937 random(11);
  const auto spelt = marks_tokenizer(), tokens = marks_tokenizer(kMarks);
  for (const std::string& name : tool_parser_names()) {
    const AnswerFormat both = format(name, "think");
    for (int round = 0; round < 1500; ++round) {
      const std::string text = garbage(random);
      Reading whole(both, spelt);
      whole.add(text);
      whole.end();
      ASSERT_EQ(whole.read(), text.size()) << name << ": " << text;
      const Reading cut = in_pieces(both, spelt, text, random, 4);
      ASSERT_EQ(cut.words(), whole.words()) << name << ": " << text;
      ASSERT_EQ(cut.read(), text.size()) << name << ": " << text;
      ASSERT_EQ(cut.in_call(), whole.in_call()) << name << ": " << text;
      Reading with_tokens(both, tokens);
      with_tokens.add(text);
      with_tokens.end();
      for (const TextDelta& part : with_tokens.choice()) {
        ASSERT_EQ(part.text.find_first_of("\xFE\xFF"), std::string::npos) << name << ": " << text;
      }
    }
  }
}

TEST(AllFormats, ArgumentsOfWholeCallsAreJsonEvenInGarbage) {
  std::mt19937 random(13);
  const auto tokenizer = marks_tokenizer();
  for (const std::string& name : tool_parser_names()) {
    for (int round = 0; round < 1500; ++round) {
      const std::string text = garbage(random);
      Reading reading(format(name), tokenizer);
      reading.add(text);
      reading.end();
      if (reading.in_call() || reading.choice().empty()) continue;
      const TextDelta& last = reading.choice().back();
      if (last.channel != AnswerChannel::tool_arguments) continue;
      boost::system::error_code error;
      boost::json::parse(last.text, error);
      ASSERT_FALSE(error) << name << ": " << text << ": " << last.text;
    }
  }
}

TEST(AllFormats, TakeTimeInProportionToTheText) {
  for (const std::string& name : tool_parser_names()) {
    for (const char* piece :
         {"<tool_call>", "<tool_call>{\"name\": \"", "<", "\n", "[TOOL_CALLS]f",
          "<function=f><parameter=s>", "</parameter>", "<|tool_call>call:f{s:["}) {
      std::string text;
      while (text.size() < 200'000) text += piece;
      Reading reading(format(name, "think"), marks_tokenizer());
      for (std::size_t at = 0; at < text.size(); at += 5) reading.add(text.substr(at, 5));
      reading.end();
      ASSERT_EQ(reading.read(), text.size()) << name << ": " << piece;
    }
  }
}

TEST(AllFormats, TypeBareValuesByTheSchema) {
  const auto qwen = [](std::string_view key, std::string_view value) {
    const auto words =
        read(format("qwen3_coder"), "<function=f>\n<parameter=" + std::string(key) + ">\n" +
                                        std::string(value) + "\n</parameter>\n</function>");
    return words.size() == 1 ? words[0] : "several";
  };
  EXPECT_EQ(qwen("s", "5"), R"(call: f {"s": "5"})");
  EXPECT_EQ(qwen("s", "  a\tb "), R"(call: f {"s": "  a\tb "})");
  EXPECT_EQ(qwen("n", "5"), R"(call: f {"n": 5})");
  EXPECT_EQ(qwen("n", "five"), R"(call: f {"n": "five"})");
  EXPECT_EQ(qwen("n", "None"), R"(call: f {"n": null})");
  EXPECT_EQ(qwen("b", "True"), R"(call: f {"b": true})");
  EXPECT_EQ(qwen("o", "{\"a\": 1}"), R"(call: f {"o": {"a": 1}})");
  EXPECT_EQ(qwen("o", "{'a': 1}"), R"(call: f {"o": "{'a': 1}"})");
  EXPECT_EQ(qwen("any", "5"), R"(call: f {"any": 5})");
  EXPECT_EQ(qwen("any", "five"), R"(call: f {"any": "five"})");
  EXPECT_EQ(qwen("new", "true"), R"(call: f {"new": true})");
}

TEST(AllFormats, AKeyThatComesTwiceIsSaidOnce) {
  EXPECT_THAT(read(format("qwen3_coder"),
                   "<function=f>\n<parameter=n>\n1\n</parameter>\n"
                   "<parameter=n>\n2\n</parameter>\n</function>"),
              ElementsAre(R"(call: f {"n": 1})"));
}

TEST(AllFormats, AreChosenByWhatATemplateShows) {
  const auto chosen = [](std::string_view text) {
    const AnswerFormat format = answer_format_of(text, {});
    return std::string(format.tools->name) + " " +
           (format.reasoning == nullptr ? "-" : std::string(format.reasoning->name));
  };
  EXPECT_EQ(chosen("... <tool_call>{\"name\": ...}</tool_call>"), "hermes -");
  EXPECT_EQ(chosen("<tool_call>\n<function=x>\n<parameter=y> </think>"), "qwen3_coder think");
  EXPECT_EQ(chosen("<tool_call>{name}<arg_key> </think>"), "glm think");
  EXPECT_EQ(chosen("[TOOL_CALLS] [/THINK]"), "mistral mistral");
  EXPECT_EQ(chosen("<|channel|>analysis<|message|>"), "harmony -");
  EXPECT_EQ(chosen("<|tool_call>call: <|channel>thought <channel|>"), "gemma4 gemma4");
  EXPECT_EQ(chosen("no word of tools"), "hermes -");
  EXPECT_EQ(answer_format_of("<tool_call>", {"none", "think"}).tools, nullptr);
  EXPECT_EQ(answer_format_of("<tool_call>", {"glm", ""}).tools->name, "glm");
}

TEST(AllFormats, Gemma4ReasonsInAChannel) {
  const AnswerFormat both = format("gemma4", "gemma4");
  EXPECT_THAT(read(both, "<|channel>thought\nHm.\n<channel|>Hi"),
              ElementsAre("reasoning: Hm.", "content: Hi"));
}

}  // namespace
}  // namespace mlxd::testing
