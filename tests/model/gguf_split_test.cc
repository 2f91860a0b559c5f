#include "model/weights/gguf_split.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/model_files.h"
#include "model/model_lookup.h"
#include "model/sample_models.h"

namespace mlxd {
namespace {

using test::small_gguf;
using test::TemporaryFolder;
using test::write_parts;
using testing::HasSubstr;

std::string complaint(const std::filesystem::path& path) {
  try {
    open_model(path);
    return "";
  } catch (const LoadError& error) {
    return error.what();
  }
}

TEST(GgufSplit, ReadsTheNamesOfParts) {
  const auto part = gguf_part("a-b-00002-of-00012.gguf");
  ASSERT_TRUE(part);
  EXPECT_EQ(part->stem, "a-b");
  EXPECT_EQ(part->number, 2);
  EXPECT_EQ(part->count, 12);
  EXPECT_EQ(part->file_name(), "a-b-00002-of-00012.gguf");
  for (const char* name :
       {"a.gguf", "-00001-of-00002", "a-00003-of-00002.gguf", "a-00000-of-00002.gguf",
        "a-0001-of-0002.gguf", "a_00001-of-00002.gguf", "a-0000x-of-00002.gguf"}) {
    EXPECT_FALSE(gguf_part(name)) << name;
  }
}

TEST(GgufSplit, OpensAllPartsWhicheverIsNamed) {
  TemporaryFolder folder;
  const auto paths = write_parts(folder, "small", small_gguf().split(3));
  const auto whole = small_gguf().bytes();
  const auto single =
      folder.write("whole/small.gguf", {reinterpret_cast<const char*>(whole.data()), whole.size()});
  const ModelFiles expected = open_model(single);
  for (const auto& path : paths) {
    const ModelFiles model = open_model(path);
    EXPECT_EQ(model.plan.weights->all().size(), expected.plan.weights->all().size());
    EXPECT_EQ(model.vocabulary.tokens, expected.vocabulary.tokens);
    EXPECT_EQ(model.plan.config.layers, 2);
    EXPECT_EQ(model.fingerprint, open_model(paths.front()).fingerprint);
  }
}

TEST(GgufSplit, AFolderOfPartsStandsForTheirModel) {
  TemporaryFolder folder;
  const auto paths = write_parts(folder, "small", small_gguf().split(2));
  EXPECT_EQ(find_model(folder.path().string()), paths.front());
}

TEST(GgufSplit, NamesThePartsThatAreMissing) {
  TemporaryFolder folder;
  const auto paths = write_parts(folder, "small", small_gguf().split(4));
  std::filesystem::remove(paths[1]);
  std::filesystem::remove(paths[3]);
  EXPECT_THAT(complaint(paths[0]), HasSubstr("has 4 parts, of which 2 are missing beside it: "
                                             "small-00002-of-00004.gguf, "
                                             "small-00004-of-00004.gguf"));
}

TEST(GgufSplit, RefusesPartsInEachOthersPlaceOrOfAnotherModel) {
  TemporaryFolder folder;
  const auto paths = write_parts(folder, "small", small_gguf().split(3));
  std::filesystem::rename(paths[1], folder.path() / "x");
  std::filesystem::copy(paths[2], paths[1]);
  EXPECT_THAT(complaint(paths[0]),
              HasSubstr("small-00002-of-00003.gguf: \"split.no\" says part 3 of 3, and the file's "
                        "name part 2 of 3"));

  TemporaryFolder other;
  auto parts = small_gguf().split(2);
  parts[1] = parts[0];
  parts[1] = test::GgufWriter();
  parts[1].number("split.no", 1).number("split.count", 2);
  const auto fewer = write_parts(other, "small", parts);
  EXPECT_THAT(complaint(fewer[0]), HasSubstr("\"split.tensors.count\" is 20, and the 2 parts hold "
                                             "10 tensors"));
}

TEST(GgufSplit, RefusesAPartThatDoesNotBearItsName) {
  TemporaryFolder folder;
  const auto paths = write_parts(folder, "small", small_gguf().split(2));
  const auto renamed = folder.path() / "model.gguf";
  std::filesystem::rename(paths[0], renamed);
  EXPECT_THAT(complaint(renamed), HasSubstr("says that this is one of 2 parts, and its name does "
                                            "not end in -00001-of-00002.gguf"));
}

TEST(GgufSplit, RefusesATensorThatTwoPartsHold) {
  TemporaryFolder folder;
  auto parts = small_gguf().split(2);
  parts[1].tensor("token_embd.weight", 8, {64, 8}, 8 * 68);
  EXPECT_THAT(complaint(write_parts(folder, "small", parts)[0]),
              HasSubstr("\"split.tensors.count\""));
}

}  // namespace
}  // namespace mlxd
