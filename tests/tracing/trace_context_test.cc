#include "tracing/trace_context.h"

#include <string>

#include <gtest/gtest.h>

namespace mlxd::tracing {
namespace {

constexpr const char* kTrace = "0af7651916cd43dd8448eb211c80319c";
constexpr const char* kSpan = "b7ad6b7169203331";

std::string header(const std::string& version = "00", const std::string& flags = "01") {
  return version + "-" + kTrace + "-" + kSpan + "-" + flags;
}

TEST(TraceParent, NamesTraceAndSpanAndWhetherTheyAreRecorded) {
  const auto parent = read_trace_context(header(), "");
  ASSERT_TRUE(parent);
  EXPECT_EQ(to_hex(parent->trace_id), kTrace);
  EXPECT_EQ(to_hex(parent->span_id), kSpan);
  EXPECT_TRUE(parent->sampled);
  EXPECT_EQ(parent->trace_state, "");

  const auto unsampled = read_trace_context(header("00", "02"), "");  // another flag than the first
  ASSERT_TRUE(unsampled);
  EXPECT_FALSE(unsampled->sampled);
  EXPECT_TRUE(read_trace_context(" " + header() + "\t", ""))
      << "blanks around a value are none of it";
}

TEST(TraceParent, OfALaterVersionIsReadAsFarAsItIsKnown) {
  EXPECT_TRUE(read_trace_context(header("01"), ""));
  EXPECT_TRUE(read_trace_context(header("cc") + "-more", ""));
  EXPECT_FALSE(read_trace_context(header("cc") + "more", "")) << "what is new stands behind a dash";
  EXPECT_FALSE(read_trace_context(header("00") + "-more", "")) << "version 00 ends here";
  EXPECT_FALSE(read_trace_context(header("ff"), "")) << "no version";
}

TEST(TraceParent, ThatIsMalformedIsNone) {
  const std::string good = header();
  EXPECT_FALSE(read_trace_context("", ""));
  EXPECT_FALSE(read_trace_context(good + "," + good, "")) << "the header came twice";
  EXPECT_FALSE(read_trace_context(header("0"), ""));
  EXPECT_FALSE(read_trace_context("00-" + std::string(32, '0') + "-" + kSpan + "-01", ""));
  EXPECT_FALSE(read_trace_context(std::string("00-") + kTrace + "-0000000000000000-01", ""));
  // No byte of it may be another one than it is, but in its digits.
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const char wrong : {'G', 'A', ' ', '\0', '\xff'}) {
      std::string text = good;
      text[i] = wrong;
      if (i == 0 || i == good.size() - 1) text += "x";  // blanks at the ends are trimmed
      EXPECT_FALSE(read_trace_context(text, "")) << text;
    }
    EXPECT_FALSE(read_trace_context(good.substr(0, i), "")) << i;
  }
}

TEST(TraceState, IsHandedOnAsItCame) {
  const auto state = [](const std::string& text) {
    return read_trace_context(header(), text).value().trace_state;
  };
  EXPECT_EQ(state("congo=t61rcWkgMzE"), "congo=t61rcWkgMzE");
  EXPECT_EQ(state(" a=1 ,, b@vendor=two words "), "a=1 ,, b@vendor=two words");
}

TEST(TraceState, ThatIsMalformedIsLeftOutAlone) {
  std::string many = "a0=1";
  for (int i = 1; i < 33; ++i) many += ",a" + std::to_string(i) + "=1";
  for (const std::string& text :
       {std::string("a"), std::string("A=1"), std::string("=1"), std::string("a="),
        std::string("a=1=2"), std::string("a=\x01"), std::string("a=\xc3\xa9"), std::string(","),
        "a=" + std::string(257, 'x'), std::string(257, 'a') + "=1", many}) {
    const auto parent = read_trace_context(header(), text);
    ASSERT_TRUE(parent);
    EXPECT_EQ(parent->trace_state, "") << text;
  }
  EXPECT_FALSE(read_trace_context("none", "a=1")) << "it means nothing without a traceparent";
}

}  // namespace
}  // namespace mlxd::tracing
