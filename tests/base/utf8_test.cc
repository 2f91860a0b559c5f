#include "base/utf8.h"

#include <random>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

// By the definition of the encoding: U+0000..U+D7FF and U+E000..U+10FFFF.
std::string encode(char32_t c) {
  std::string bytes;
  const auto put = [&bytes](unsigned value) { bytes += static_cast<char>(value); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 63));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63)),
        put(0x80 | (c & 63));
  }
  return bytes;
}

TEST(Utf8, EveryCharacterIsValidAndEveryBeginningOfItUnfinished) {
  for (char32_t c = 0; c <= 0x10FFFF; c += c < 0x3000 ? 1 : 37) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const std::string bytes = encode(c);
    ASSERT_TRUE(is_valid_utf8(bytes)) << static_cast<unsigned>(c);
    ASSERT_EQ(complete_utf8_prefix("ab" + bytes), bytes.size() + 2);
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
      ASSERT_FALSE(is_valid_utf8(bytes.substr(0, cut)));
      ASSERT_EQ(complete_utf8_prefix("ab" + bytes.substr(0, cut)), 2u);
    }
  }
}

TEST(Utf8, RefusesSurrogatesOverlongFormsAndWhatIsBeyondUnicode) {
  for (const char* bytes :
       {"\xED\xA0\x80", "\xED\xBF\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80", "\xFF", "\x80", "a\xBF"}) {
    EXPECT_FALSE(is_valid_utf8(bytes));
    EXPECT_EQ(complete_utf8_prefix(bytes), std::string_view(bytes).size())
        << "no further byte can make it valid, so it is not held back";
  }
}

// Tables 3-8 to 3-11 of the Unicode standard, chapter 3.
TEST(Utf8, ReplacesMaximalInvalidPartsAsTheStandardRecommends) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(replace_invalid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
}

TEST(Utf8, RandomBytesComeOutValidAndValidTextUnchanged) {
  std::mt19937 random(1);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes;
    for (unsigned j = random() % 20; j > 0; --j) bytes += static_cast<char>(random());
    const std::string text = replace_invalid_utf8(bytes);
    ASSERT_TRUE(is_valid_utf8(text));
    ASSERT_EQ(replace_invalid_utf8(text), text);
    ASSERT_EQ(is_valid_utf8(bytes), text == bytes);
    ASSERT_LE(bytes.size() - complete_utf8_prefix(bytes), 3u);
  }
}

}  // namespace
}  // namespace mlxd
