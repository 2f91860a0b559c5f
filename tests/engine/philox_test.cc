#include "engine/philox.h"

#include <gtest/gtest.h>

namespace mlxd {
namespace {

using Words = std::array<std::uint32_t, 4>;

// kat_vectors of Random123, the authors' own library.
TEST(Philox, GivesTheKnownAnswersOfItsAuthors) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, DrawsAreUniformAndDifferBySeedSampleAndIndex) {
  double sum = 0;
  int low = 0;
  for (int i = 0; i < 10000; ++i) {
    const double draw = uniform_draw(7, 0, i);
    ASSERT_GE(draw, 0);
    ASSERT_LT(draw, 1);
    sum += draw;
    low += draw < 0.1;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.015);
  EXPECT_NEAR(low, 1000, 120);
  EXPECT_NE(uniform_draw(7, 0, 0), uniform_draw(8, 0, 0));
  EXPECT_NE(uniform_draw(7, 0, 0), uniform_draw(7 + (1ull << 32), 0, 0));
  EXPECT_NE(uniform_draw(7, 0, 0), uniform_draw(7, 1, 0));
  EXPECT_NE(uniform_draw(7, 0, 0), uniform_draw(7, 0, 1));
}

}  // namespace
}  // namespace mlxd
