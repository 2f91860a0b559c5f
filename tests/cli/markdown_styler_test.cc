#include "cli/markdown_styler.h"

#include <random>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

std::string styled(std::string_view text) {
  MarkdownStyler styler;
  std::string shown = styler.feed(text);
  shown += styler.end();
  EXPECT_TRUE(shown.ends_with("\x1b[0m"));
  shown.resize(shown.size() - 4);
  // As tags, which are easier to read.
  std::string out;
  for (std::size_t i = 0; i < shown.size();) {
    const std::size_t end = shown.find('m', i);
    if (shown[i] == '\x1b') {
      out += '<' + shown.substr(i + 2, end - i - 2) + '>';
      i = end + 1;
    } else {
      out += shown[i++];
    }
  }
  return out;
}

TEST(MarkdownStyler, ShowsHeadingsStrongWordsEmphasisAndCodeWithoutTheirMarks) {
  EXPECT_EQ(styled("## Two\nplain\n"), "<0;1>Two<0>\nplain\n");
  EXPECT_EQ(styled("a **strong** word"), "a <0;1>strong<0> word");
  EXPECT_EQ(styled("an *important* word"), "an <0;3>important<0> word");
  EXPECT_EQ(styled("***both***"), "<0;1;3>both<0>");
  EXPECT_EQ(styled("call `f(*a)` now"), "call <0;36>f(*a)<0> now");
}

TEST(MarkdownStyler, ShowsBlocksOfCodeAsTheyStand) {
  EXPECT_EQ(styled("```cpp\n*p = **q; # no heading\n```\nafter **it**\n"),
            "<0;2>```cpp<0;36>\n*p = **q; # no heading\n<0;2>```<0>\nafter <0;1>it<0>\n");
  EXPECT_EQ(styled("```\n```cpp\n```\n"), "<0;2>```<0;36>\n```cpp\n<0;2>```<0>\n");
  EXPECT_EQ(styled("  ```\n  x\n  ```\n"), "<0;2>  ```<0;36>\n  x\n<0;2>  ```<0>\n");
}

TEST(MarkdownStyler, LeavesWhatIsNoMark) {
  for (const char* text : {"2 * 3 * 4", "2*3*4", "x ** y", "* one\n* two\n", "#hashtag",
                           "#!/bin/sh", "a_b_c", "- [ ] do", "\\frac{a}{b}", "\\[ x \\]", "``",
                           "100%", "| a | b |\n|---|---|\n", "ends in *", "ends in \\"}) {
    EXPECT_EQ(styled(text), text);
  }
}

TEST(MarkdownStyler, ABackslashTakesAMarksMeaning) {
  EXPECT_EQ(styled("\\*not so\\*"), "*not so*");
  EXPECT_EQ(styled("\\`x\\`"), "`x`");
}

TEST(MarkdownStyler, WhatWasNotClosedEndsWithTheLine) {
  EXPECT_EQ(styled("a **strong start\nnext"), "a <0;1>strong start<0>\nnext");
  EXPECT_EQ(styled("`code\nnext"), "<0;36>code<0>\nnext");
}

TEST(MarkdownStyler, ShowsTheSameHoweverATextIsCut) {
  std::mt19937 random(3);
  const std::string pieces[] = {"*",  "**", "`", "```",  "#", "# ",
                                "\\", "\n", " ", "word", "é", "    "};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 30; ++i) text += pieces[random() % std::size(pieces)];
    MarkdownStyler whole, cut;
    std::string expected = whole.feed(text), shown;
    expected += whole.end();
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t length = 1 + random() % 4;
      shown += cut.feed(std::string_view(text).substr(i, length));
      i += length;
    }
    shown += cut.end();
    ASSERT_EQ(shown, expected) << text;
  }
}

}  // namespace
}  // namespace mlxd
