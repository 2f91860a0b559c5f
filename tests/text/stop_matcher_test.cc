#include "text/stop_matcher.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

TEST(StopMatcher, HoldsBackWhatMayYetBecomeAStopString) {
  StopMatcher matcher({"\n\nUser:"});
  EXPECT_EQ(matcher.push("Hi\n").text, "Hi");
  EXPECT_EQ(matcher.push("\nUse").text, "");
  EXPECT_EQ(matcher.push("d").text, "\n\nUsed");
  const auto output = matcher.push("x\n\nUser: more");
  EXPECT_EQ(output.text, "x");
  EXPECT_TRUE(output.stopped);
}

TEST(StopMatcher, GivesOutWhatWasHeldWhenTheTextEnds) {
  StopMatcher matcher({"stop"});
  EXPECT_EQ(matcher.push("a st").text, "a ");
  EXPECT_EQ(matcher.finish(), "st");
}

TEST(StopMatcher, WithoutStopStringsLetsEverythingThrough) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("text").text, "text");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, TheStringCompletedFirstWinsAndOfEqualsTheLongest) {
  StopMatcher first({"abcde", "bc"});
  const auto early = first.push("abcde");
  EXPECT_EQ(early.text, "a");
  StopMatcher longest({"b", "ab"});
  EXPECT_EQ(longest.push("xab").text, "x");
}

// What the class promises, by plain search over the whole text.
std::pair<std::string, bool> find_plainly(const std::string& text,
                                          const std::vector<std::string>& stops) {
  std::size_t best_end = std::string::npos, best_start = 0;
  for (const std::string& stop : stops) {
    const std::size_t start = text.find(stop);
    if (start == std::string::npos) continue;
    const std::size_t end = start + stop.size();
    if (end < best_end || (end == best_end && start < best_start)) {
      best_end = end;
      best_start = start;
    }
  }
  if (best_end == std::string::npos) return {text, false};
  return {text.substr(0, best_start), true};
}

std::string random_text(std::mt19937& random, int length) {
  static const std::vector<std::string> characters = {
      "a", "b", "\n", "\xC3\xA9", "\xC3\xA8", "\xF0\x9F\x98\x80", "\xF0\x9F\x98\x81"};
  std::string text;
  for (int i = 0; i < length; ++i) text += characters[random() % characters.size()];
  return text;
}

TEST(StopMatcher, EqualsAPlainSearchWhereverTheTextIsCut) {
  std::mt19937 random(1);
  int stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops;
    for (unsigned i = 0; i < 1 + random() % 4; ++i) {
      stops.push_back(random_text(random, 1 + static_cast<int>(random() % 5)));
    }
    const std::string text = random_text(random, static_cast<int>(random() % 40));
    const auto [expected, expect_stopped] = find_plainly(text, stops);

    StopMatcher matcher(stops);
    std::string sent;
    bool found = false;
    for (std::size_t at = 0; at < text.size() && !found;) {
      const std::size_t size = std::min<std::size_t>(random() % 7, text.size() - at);
      const auto output = matcher.push(std::string_view(text).substr(at, size));
      sent += output.text;
      found = output.stopped;
      at += size;
      // Nothing is sent that the answer will not have.
      ASSERT_EQ(expected.compare(0, sent.size(), sent), 0);
    }
    if (!found) sent += matcher.finish();
    ASSERT_EQ(sent, expected);
    ASSERT_EQ(found, expect_stopped);
    stopped += found;
  }
  EXPECT_GT(stopped, 5000);
  EXPECT_LT(stopped, 19000);
}

TEST(StopMatcher, ALongRepetitiveStopStringCostsNoMoreThanAShortOne) {
  StopMatcher matcher({std::string(1 << 20, 'a')});
  std::size_t sent = 0;
  for (int i = 0; i < 200000; ++i) sent += matcher.push(i % 1000 == 999 ? "b" : "aaaa").text.size();
  EXPECT_GT(sent, 700000U);
}

TEST(StopMatcher, AStopStringMayHoldASpecialTokenThatIsNoText) {
  StopMatcher matcher({"a" + StopMatcher::special(12) + "b"});
  EXPECT_EQ(matcher.push("xa").text, "x");
  EXPECT_EQ(matcher.push_special(1).text, "a");  // another one
  EXPECT_EQ(matcher.push("ba").text, "b");
  EXPECT_EQ(matcher.push_special(12).text, "");
  const auto output = matcher.push("bc");
  EXPECT_TRUE(output.stopped);
  EXPECT_EQ(output.text, "");
}

TEST(StopMatcher, StopsAtASpecialTokenItself) {
  StopMatcher matcher({"\n" + StopMatcher::special(7)});
  EXPECT_EQ(matcher.push("line\n").text, "line");
  EXPECT_TRUE(matcher.push_special(7).stopped);
}

TEST(StopMatcher, OtherStopStringsDoNotSeeSpecialTokens) {
  StopMatcher matcher({"ab", "x" + StopMatcher::special(7)});
  EXPECT_EQ(matcher.push("a").text, "");
  matcher.push_special(7);
  EXPECT_TRUE(matcher.push("b").stopped);
}

}  // namespace
}  // namespace mlxd
