#include "cli/suggestions.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlxd {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kServe = {"--model",       "--port",        "--context",
                                         "--threads",     "--max-running", "--step-tokens",
                                         "--log-level",   "--api-key",     "--kv-cache-type",
                                         "--cors-origin", "--timeout-chat"};

TEST(Suggestions, TheNearestNameIsTheOneWithTheFewestChanges) {
  EXPECT_EQ(nearest("--prot", kServe), "--port");  // two letters swapped are one change
  EXPECT_EQ(nearest("--modle", kServe), "--model");
  EXPECT_EQ(nearest("--max-runing", kServe), "--max-running");
}

TEST(Suggestions, AWordThatIsLikeNoneHasNone) {
  EXPECT_EQ(nearest("--frobnicate", kServe), "");
  EXPECT_EQ(nearest("-x", kServe), "");
}

TEST(Suggestions, OtherServersOptionsAreToldWithOurs) {
  for (const char* theirs :
       {"-c", "--ctx-size", "--n-ctx", "--max-model-len", "--context-length"}) {
    EXPECT_EQ(hint_for_option(theirs, kServe), "; here it is --context") << theirs;
  }
  EXPECT_EQ(hint_for_option("-np", kServe), "; here it is --max-running");
  EXPECT_EQ(hint_for_option("--cache-type-k", kServe), "; here it is --kv-cache-type");
  EXPECT_THAT(hint_for_option("-hf", kServe), HasSubstr("--model hf:OWNER/NAME"));
  EXPECT_THAT(hint_for_option("--temp", kServe), HasSubstr("each request"));
}

TEST(Suggestions, WhatACommandHasDecidesWhatAnOptionMeansThere) {
  const std::vector<std::string> bench = {"--gen", "--prompt", "--batch"};
  const std::vector<std::string> chat = {"--max-tokens", "--temperature"};
  EXPECT_EQ(hint_for_option("-n", bench), "; here it is --gen");
  EXPECT_EQ(hint_for_option("-n", chat), "; here it is --max-tokens");
  EXPECT_EQ(hint_for_option("--temp", chat), "; here it is --temperature");
}

TEST(Suggestions, AModelInThePlaceOfACommandIsServedOrTalkedTo) {
  const std::vector<std::string> commands = {"serve", "chat", "bench", "inspect", "help"};
  EXPECT_THAT(hint_for_command("a.gguf", commands), HasSubstr("mlxd serve a.gguf"));
  EXPECT_EQ(hint_for_command("talk", commands), "; here it is chat");
  EXPECT_EQ(hint_for_command("sevre", commands), "; did you mean serve?");
  EXPECT_EQ(hint_for_command("frobnicate", commands), "");
}

}  // namespace
}  // namespace mlxd
