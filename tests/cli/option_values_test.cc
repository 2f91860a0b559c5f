#include "cli/option_values.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/settings.h"

namespace mlxd {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class OptionValues : public ::testing::Test {
 protected:
  OptionValues() {
    add_serve_options(*command_, settings_);
    variables_ = std::make_unique<Variables>(app_);
  }
  ~OptionValues() override {
    for (const std::string& name : set_) ::unsetenv(name.c_str());
    std::filesystem::remove(file_);
  }

  void set(const std::string& name, const std::string& value) {
    ::setenv(name.c_str(), value.c_str(), 1);
    set_.push_back(name);
  }
  void parse(std::vector<std::string> words) {
    std::ranges::reverse(words);
    command_->parse(words);
    variables_->apply(*command_);
  }
  std::vector<std::string> mistakes(const std::vector<std::string>& words) {
    return mistakes_in(*command_, words);
  }
  void read_file(const std::string& text) {
    std::ofstream(file_) << text;
    read_config_file(*command_, file_);
  }
  // What is said of a file.
  std::string refusal(const std::string& text) {
    try {
      read_file(text);
    } catch (const StartupError& error) {
      return error.what();
    }
    return "";
  }

  CLI::App app_;
  CLI::App* command_ = app_.add_subcommand("serve");
  ServeSettings settings_;
  std::unique_ptr<Variables> variables_;
  std::vector<std::string> set_;
  const std::string file_ = std::filesystem::path(::testing::TempDir()) /
                            ("option_values_test." + std::to_string(::getpid()) + ".toml");
};

TEST_F(OptionValues, UnknownOptionsAreToldInTheOrderInWhichTheyWereTyped) {
  EXPECT_THAT(mistakes({"--first", "--port", "80", "--second=2", "--prot", "81"}),
              ElementsAre(HasSubstr("--first"), HasSubstr("--second"),
                          AllOf(HasSubstr("--prot"), HasSubstr("did you mean --port?"))));
}

TEST_F(OptionValues, OptionsOfOneLetterOfOtherServersAreNotTakenApart) {
  // -hf is not -h with an f.
  EXPECT_THAT(mistakes({"-hf", "org/model", "-c", "4096"}),
              ElementsAre(HasSubstr("--model hf:OWNER/NAME"), HasSubstr("--context")));
  EXPECT_THAT(mistakes({"-m", "a.gguf", "-mb.gguf"}), IsEmpty());
}

TEST_F(OptionValues, AValueMayLookLikeAnOption) {
  EXPECT_THAT(mistakes({"--api-key", "--odd", "--port", "-1"}), IsEmpty());
}

TEST_F(OptionValues, WhatLacksItsValueOrIsGivenTwiceIsTold) {
  EXPECT_THAT(mistakes({"--port"}), ElementsAre("--port needs a value"));
  EXPECT_THAT(mistakes({"--port", "1", "--port=2"}), ElementsAre(HasSubstr("given twice")));
  EXPECT_THAT(mistakes({"--model", "a", "--model", "b", "a.gguf", "b.gguf"}), IsEmpty());
}

TEST_F(OptionValues, AValueOutOfRangeNamesTheRange) {
  const auto refusal = [&](std::vector<std::string> words) {
    try {
      parse(std::move(words));
    } catch (const CLI::ParseError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal({"--port", "99999"}), "--port: 99999 is not a whole number from 0 to 65535");
  EXPECT_EQ(refusal({"--threads", "many"}), "--threads: many is not a whole number from 0 to 1024");
  EXPECT_EQ(refusal({"--hang-timeout", "0"}),
            "--hang-timeout: 0 is not a number from 0.001 to 3600");
  EXPECT_EQ(refusal({"--log-format", "xml"}), "--log-format: xml is not one of text, json");
}

TEST_F(OptionValues, AVariableSetsWhatNoOptionDid) {
  set("MLXD_PORT", "81");
  set("MLXD_THREADS", "3");
  set("MLXD_LENIENT", "true");
  parse({"--port", "80"});
  EXPECT_EQ(settings_.port, 80);
  EXPECT_EQ(settings_.engine.backend.threads, 3);
  EXPECT_TRUE(settings_.lenient);
}

TEST_F(OptionValues, AVariableIsBlamedForWhatItHolds) {
  set("MLXD_PORT", "99999");
  try {
    parse({});
    FAIL();
  } catch (const StartupError& error) {
    EXPECT_STREQ(error.what(), "MLXD_PORT=99999: 99999 is not a whole number from 0 to 65535");
  }
}

TEST_F(OptionValues, AFlagIsOnOrOff) {
  EXPECT_THAT(mistakes({"--lenient", "--no-auth=true"}), IsEmpty());
  EXPECT_THAT(mistakes({"--lenient=7x"}), ElementsAre(HasSubstr("--lenient=7x says too much")));
  set("MLXD_LENIENT", "7x");
  EXPECT_THROW(parse({}), StartupError);
}

TEST_F(OptionValues, ModelsThatAreNamedAsFilesStandInPlaceOfTheVariable) {
  set("MLXD_MODEL", "other.gguf");
  parse({"a.gguf", "-m", "b=c.gguf"});
  const std::vector<ModelSetting> models = listed_models(settings_.models);
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].name, "a");
  EXPECT_EQ(models[1].name, "b");
}

TEST_F(OptionValues, VariablesThatAreNoSettingAreTold) {
  set("MLXD_PROT", "1");
  set("MLXD_CTX_SIZE", "1");
  set("MLXD_FROBNICATE", "1");
  set("MLXD_MODELS_DIR", "/models");
  const std::vector<std::string> unknown = variables_->unknown();
  EXPECT_THAT(unknown, Contains(AllOf(HasSubstr("MLXD_PROT"), HasSubstr("mean MLXD_PORT?"))));
  EXPECT_THAT(unknown, Contains(AllOf(HasSubstr("MLXD_CTX_SIZE"), HasSubstr("is MLXD_CONTEXT"))));
  EXPECT_THAT(unknown, Contains("the variable MLXD_FROBNICATE is no setting of mlxd"));
  EXPECT_THAT(unknown, Not(Contains(HasSubstr("MODELS_DIR"))));
}

TEST_F(OptionValues, AFileSetsWhatNeitherOptionNorVariableDid) {
  set("MLXD_THREADS", "3");
  parse({"--port", "80"});
  read_file(
      "port = 81\nthreads = 4\nmodel = ['a.gguf', 'b.gguf']\nlenient = true\n"
      "kv-cache-gb = 0.5\nprefix-cache = false\nlog-level = 'debug'\napi-key = []\n");
  EXPECT_EQ(settings_.port, 80);
  EXPECT_EQ(settings_.engine.backend.threads, 3);
  EXPECT_EQ(listed_models(settings_.models).size(), 2u);
  EXPECT_TRUE(settings_.lenient);
  EXPECT_EQ(settings_.engine.kv_cache_gb, 0.5);
  EXPECT_FALSE(settings_.engine.prefix_cache);
  EXPECT_EQ(settings_.log_level, "debug");
}

TEST_F(OptionValues, AFileIsBlamedWithItsLine) {
  parse({});
  EXPECT_THAT(refusal("# settings\nport = 80\nmodel = [\"a.gguf\"\n"),
              AllOf(HasSubstr(file_ + ", line "), HasSubstr("model")));
  EXPECT_THAT(refusal("port = 80\nlenient = 7x\n"),
              AllOf(HasSubstr(file_ + ", line 2: "), HasSubstr("lenient = 7x")));
  EXPECT_THAT(refusal("port = 99999"),
              AllOf(HasSubstr(file_ + ", line 1, port: "), HasSubstr("from 0 to 65535")));
}

TEST_F(OptionValues, AKeyThatIsNoSettingIsToldWithTheNearest) {
  parse({});
  EXPECT_THAT(refusal("\nmodle = 'a'\n"), AllOf(HasSubstr("line 2"), HasSubstr("no setting modle"),
                                                HasSubstr("did you mean model?")));
  EXPECT_THAT(refusal("ctx-size = 4096"), HasSubstr("here it is context"));
  EXPECT_THAT(refusal("[server]\nport = 80\n"), HasSubstr("no setting server"));
  EXPECT_THAT(refusal("config = 'other.toml'"), HasSubstr("no setting config"));
}

TEST_F(OptionValues, AFileThatIsNotThereIsTold) {
  parse({});
  EXPECT_THROW(read_config_file(*command_, "/nowhere.toml"), StartupError);
}

}  // namespace
}  // namespace mlxd
