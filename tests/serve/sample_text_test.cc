// The path of one answer, from tokens to deltas, with a parser that knows channels.
#include "serve/sample_text.h"

#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/marker_parser.h"
#include "serve/text_offsets.h"
#include "text/small_vocabulary.h"

namespace mlxd {
namespace {

using ::testing::ElementsAre;
using testing::make_marker_parser;
using testing::MarkerParser;

// The bytes, and some pieces that cut the markers in two and join them to what stands beside.
std::shared_ptr<const Tokenizer> tokenizer() {
  static const auto loaded = Tokenizer::load(testing::byte_level_vocabulary(
      {"< t", "h i", "n k", "k >", "> a", "< /", "a <", "c a", "l l", "ll >", "S T", "a ST"}));
  return loaded;
}

std::vector<int> bytes_of(std::string_view text) {
  std::vector<int> tokens;
  for (const char byte : text) tokens.push_back(static_cast<unsigned char>(byte));
  return tokens;
}

// One of the many ways to write a text in tokens.
std::vector<int> random_tokens(std::string_view text, std::mt19937& random) {
  std::vector<int> tokens;
  while (!text.empty()) {
    int token = static_cast<unsigned char>(text.front());
    const int piece = 256 + static_cast<int>(random() % 12);
    if (text.starts_with(tokenizer()->token_bytes(piece))) token = piece;
    text.remove_prefix(tokenizer()->token_bytes(token).size());
    tokens.push_back(token);
  }
  return tokens;
}

struct Said {
  std::vector<TextDelta> deltas;
  ChoiceText joined;
  bool stopped = false;
};

Said say(const std::vector<int>& tokens, std::vector<std::string> stop = {}, bool details = false) {
  SampleText::Options options;
  options.details = details;
  SampleText text(tokenizer(), make_marker_parser(), std::move(stop), options);
  Said said;
  for (const int token : tokens) {
    SampledToken sampled;
    sampled.token = token;
    said.stopped = text.push(sampled, said.deltas);
    if (said.stopped) break;
  }
  if (!said.stopped) said.stopped = text.finish(said.deltas);
  for (const TextDelta& delta : said.deltas) append(said.joined, delta);
  return said;
}
Said say(std::string_view text, std::vector<std::string> stop = {}, bool details = false) {
  return say(bytes_of(text), std::move(stop), details);
}

// "reasoning: text", in the order of the deltas.
std::vector<std::string> words(const Said& said) {
  static constexpr const char* kNames[] = {"content", "reasoning", "name", "arguments"};
  std::vector<std::string> result;
  for (const TextDelta& part : said.joined) {
    std::string name = kNames[static_cast<int>(part.channel)];
    if (part.call >= 0) name += " " + std::to_string(part.call);
    result.push_back(name + ": " + part.text);
  }
  return result;
}

TEST(SampleText, TellsTheChannelsOfAnAnswerApart) {
  EXPECT_THAT(words(say("<think>hm</think>Hi<call>f\n{}</call><call>g\n[1]</call>!")),
              ElementsAre("reasoning: hm", "content: Hi", "name 0: f", "arguments 0: {}",
                          "name 1: g", "arguments 1: [1]", "content: !"));
}

TEST(SampleText, KeepsWhatItCannotReadAsContent) {
  for (const char* text : {"a < b", "</think>", "<thin", "<Think>", "x</call>y", "<<<", "<"}) {
    EXPECT_THAT(words(say(text)), ElementsAre("content: " + std::string(text)));
  }
  EXPECT_THAT(words(say("<think>never ended </thin")),
              ElementsAre("reasoning: never ended </thin"));
}

TEST(SampleText, LooksForStopStringsInContentAlone) {
  const Said said = say("<think>STOP</think>a<call>STOP\n\"STOP\"</call>bSTOPc", {"STOP"});
  EXPECT_TRUE(said.stopped);
  EXPECT_THAT(words(said), ElementsAre("reasoning: STOP", "content: a", "name 0: STOP",
                                       "arguments 0: \"STOP\"", "content: b"));
}

TEST(SampleText, FindsAStopStringThatGoesOnBehindAnotherChannel) {
  const Said said = say("xST<think>y</think>OPz", {"STOP"});
  EXPECT_TRUE(said.stopped);
  EXPECT_THAT(words(said), ElementsAre("content: x", "reasoning: y"));
  EXPECT_THAT(words(say("xST<think>y</think>ay", {"STOP"})),
              ElementsAre("content: x", "reasoning: y", "content: STay"));
}

TEST(SampleText, GivesEachDetailToTheTextThatItsTokenBeginsWithItsPlaceInTheChannel) {
  const Said said = say("<think>\xC3\xA9!</think>ab<call>f\n{}</call>", {}, true);
  ASSERT_EQ(said.joined.size(), 5U);
  // Markup goes with the text behind it, at that text's place.
  std::vector<int> offsets(7 + 2, 0);
  offsets.push_back(1);  // the "!" after one character of two tokens
  EXPECT_EQ(said.joined[0].offsets, offsets);
  EXPECT_EQ(said.joined[0].details[7].bytes, "\xC3");
  EXPECT_EQ(said.joined[0].details.back().bytes, "!");
  EXPECT_EQ(said.joined[1].text, "ab");
  EXPECT_EQ(said.joined[1].offsets.size(), 8U + 2);
  EXPECT_EQ(said.joined[1].offsets.back(), 1);
  EXPECT_EQ(said.joined[3].text, "{}");
  EXPECT_THAT(said.joined[3].offsets, ElementsAre(0, 0, 1));
  EXPECT_EQ(said.joined[4].details.size(), 7U) << "the last markup, with the end";
  EXPECT_THAT(said.joined[4].offsets, ::testing::Each(2)) << "of the content so far";
}

TEST(SampleText, TellsNothingOfTheTokensOfAStopString) {
  const Said said = say("a<think>b</think>cSTOP", {"STOP"}, true);
  std::string bytes;
  for (const TextDelta& part : said.joined) {
    for (const TokenDetail& detail : part.details) bytes += detail.bytes;
  }
  EXPECT_EQ(bytes, "a<think>b</think>c");
}

std::string random_answer(std::mt19937& random) {
  static const std::vector<std::string> parts = {
      "<think>", "</think>", "<call>", "</call>",  "\n",     "a",    "bc", "<",
      "ST",      "OP",       "STOP",   "\xC3\xA9", "</thin", "hi\n", ">",  " "};
  std::string text;
  for (auto count = random() % 12; count > 0; --count) text += parts[random() % parts.size()];
  return text;
}

TEST(SampleText, SaysTheSameHoweverTheTextIsCutIntoTokens) {
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random_answer(random);
    const std::vector<std::string> stop =
        i % 2 == 0 ? std::vector<std::string>{} : std::vector<std::string>{"STOP", "aa"};
    const Said expected = say(text, stop);
    for (int way = 0; way < 3; ++way) {
      const Said said = say(random_tokens(text, random), stop);
      ASSERT_EQ(words(said), words(expected)) << text;
      ASSERT_EQ(said.stopped, expected.stopped) << text;
    }
  }
}

// Every token's detail comes once, in a place where its channel's text has its bytes.
TEST(SampleText, PlacesEveryTokenWhereItsTextIs) {
  std::mt19937 random(2);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random_answer(random);
    const std::vector<int> tokens = random_tokens(text, random);
    const Said said = say(tokens, {}, true);
    std::map<std::pair<AnswerChannel, int>, std::string> texts;
    for (const TextDelta& part : said.joined) texts[{part.channel, part.call}] += part.text;
    std::vector<std::string> all;
    for (const TextDelta& part : said.joined) {
      ASSERT_EQ(part.details.size(), part.offsets.size());
      const std::string& in = texts[{part.channel, part.call}];
      for (std::size_t k = 0; k < part.details.size(); ++k) {
        const std::string& bytes = part.details[k].bytes;
        all.push_back(bytes);
        ASSERT_GE(part.offsets[k], 0);
        ASSERT_LE(part.offsets[k], count_characters(in)) << text;
        if (bytes != "b" && bytes != "\xC3" && bytes != " ") continue;  // never part of markup
        std::size_t at = 0;
        for (int left = part.offsets[k]; left > 0; --left) {
          do ++at;
          while ((in[at] & 0xC0) == 0x80);
        }
        ASSERT_TRUE(std::string_view(in).substr(at).starts_with(bytes)) << text;
      }
    }
    std::vector<std::string> given;
    for (const int token : tokens) given.emplace_back(tokenizer()->token_bytes(token, true));
    std::ranges::sort(all);
    std::ranges::sort(given);
    ASSERT_EQ(all, given) << text;
  }
}

TEST(MarkerParser, SwallowsNothingAndIsNeverMoreThanAMarkerBehind) {
  std::mt19937 random(3);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random_answer(random);
    MarkerParser parser;
    std::vector<ParsedText> out;
    std::size_t fed = 0;
    std::size_t read = 0;
    const auto account = [&] {
      for (const ParsedText& parsed : std::exchange(out, {})) {
        const std::string written = text.substr(read, parsed.read);
        if (parsed.text.empty()) {
          EXPECT_THAT(written, ::testing::AnyOf("<think>", "</think>", "<call>", "</call>", "\n"));
        } else {
          EXPECT_EQ(parsed.text, written);
        }
        read += parsed.read;
      }
    };
    while (fed < text.size()) {
      const std::size_t size = 1 + random() % 5;
      parser.add(0, std::string_view(text).substr(fed, size), out);
      fed = std::min(fed + size, text.size());
      account();
      ASSERT_LT(fed - read, MarkerParser::kLongestMarker) << text;
    }
    parser.end("", out);
    account();
    ASSERT_EQ(read, text.size()) << text;
  }
}

TEST(PromptOffsets, CountCharactersAndGiveSpecialTokensThePlaceThatTheirTextHas) {
  const auto token = [](int id, std::string bytes) {
    TokenDetail detail;
    detail.token = id;
    detail.bytes = std::move(bytes);
    return detail;
  };
  const auto special = [](int id) { return id == 7; };
  EXPECT_THAT(
      prompt_offsets("a\xC3\xB1x",
                     {token(0, "a"), token(0, "\xC3"), token(0, "\xB1"), token(0, "x")}, special),
      ElementsAre(0, 1, 1, 2));
  EXPECT_THAT(
      prompt_offsets("Once upon", {token(7, "<s>"), token(0, " Once"), token(0, " upon")}, special),
      ElementsAre(0, 0, 4))
      << "the text has no leading space, and no <s>";
  EXPECT_THAT(prompt_offsets(" kept", {token(0, " kept"), token(0, "x")}, special),
              ElementsAre(0, 5));
  EXPECT_THAT(prompt_offsets("c<s>d", {token(1, "c"), token(7, "<s>"), token(1, "d")}, special),
              ElementsAre(0, 1, 4));
}

}  // namespace
}  // namespace mlxd
