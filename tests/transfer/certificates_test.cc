#include "transfer/certificates.h"

#include <array>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace mlxd::transfer {
namespace {

TEST(Certificates, AreTheFirstFileThatASystemHas) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "certificates";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder / "a folder.pem");
  const std::array places = {folder / "none.pem", folder / "a folder.pem", folder / "first.pem",
                             folder / "second.pem"};
  EXPECT_EQ(find_certificates(places), "");
  std::ofstream(folder / "second.pem") << "second";
  EXPECT_EQ(find_certificates(places), folder / "second.pem");
  std::ofstream(folder / "first.pem") << "first";
  EXPECT_EQ(find_certificates(places), folder / "first.pem");
}

TEST(Certificates, OfTheUserComeFirst) {
  EXPECT_EQ(certificates_for("/of/the/user.pem", true), "/of/the/user.pem");
}

}  // namespace
}  // namespace mlxd::transfer
