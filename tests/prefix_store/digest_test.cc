#include "prefix_store/digest.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(Digest, IsSha256) {
  EXPECT_EQ(to_hex(sha256(bytes_of("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, HexDigitsComeBackAndNothingElseDoes) {
  const Digest digest = sha256(bytes_of("abc"));
  const std::string hex = to_hex(digest);
  EXPECT_EQ(digest_from_hex(hex), digest);
  EXPECT_FALSE(digest_from_hex(hex.substr(1)));
  EXPECT_FALSE(digest_from_hex(hex + "0"));
  EXPECT_FALSE(digest_from_hex("B" + hex.substr(1))) << "one file, one name";
  EXPECT_FALSE(digest_from_hex("g" + hex.substr(1)));
}

TEST(Checksum, ChangesWithEveryBitAndWithTheLength) {
  std::vector<std::byte> bytes(100, std::byte{7});
  const Checksum whole = checksum(bytes);
  EXPECT_EQ(checksum(bytes), whole);
  for (std::size_t bit = 0; bit < 800; ++bit) {
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
    EXPECT_NE(checksum(bytes), whole);
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
  }
  EXPECT_NE(checksum(std::span(bytes).first(99)), whole);
}

}  // namespace
}  // namespace mlxd
