#include "base/mapped_file.h"

#include <cstdio>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxd {
namespace {

class MappedFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(::testing::TempDir()) /
            ("mapped_file_" +
             std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  void write(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }

  std::filesystem::path path_;
};

TEST_F(MappedFileTest, ShowsTheBytesOfTheFileForAsLongAsItLives) {
  write(std::string("abc\0def", 7));
  const auto file = MappedFile::open(path_);
  std::filesystem::remove(path_);
  const auto bytes = file->bytes();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
            std::string("abc\0def", 7));
}

TEST_F(MappedFileTest, AnEmptyFileHasNoBytes) {
  write("");
  EXPECT_TRUE(MappedFile::open(path_)->bytes().empty());
}

TEST_F(MappedFileTest, NamesTheFileThatCannotBeOpened) {
  try {
    MappedFile::open(path_);
    FAIL() << "a missing file was opened";
  } catch (const LoadError& error) {
    EXPECT_NE(std::string(error.what()).find(path_.string()), std::string::npos) << error.what();
  }
}

TEST_F(MappedFileTest, RefusesAFolder) {
  std::filesystem::create_directory(path_);
  EXPECT_THROW(MappedFile::open(path_), LoadError);
}

}  // namespace
}  // namespace mlxd
