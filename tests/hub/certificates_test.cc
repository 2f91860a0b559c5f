#include "hub/certificates.h"

#include <array>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace mlxd::hub {
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
  Settings settings;
  settings.certificates = "/of/the/user.pem";
  EXPECT_EQ(certificates_for(settings), "/of/the/user.pem");
}

}  // namespace
}  // namespace mlxd::hub
