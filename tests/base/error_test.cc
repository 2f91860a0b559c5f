#include "base/error.h"

#include <memory>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

TEST(Result, HoldsAValueOrTheErrorThatTookItsPlace) {
  Result<std::unique_ptr<int>> value(std::make_unique<int>(3));
  ASSERT_TRUE(value);
  EXPECT_EQ(**value, 3);
  const std::unique_ptr<int> taken = *std::move(value);
  EXPECT_EQ(*taken, 3);
  const Result<int> error(Error{429, "queue_full", "", "later", 2});
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code, "queue_full");
  EXPECT_THROW((void)*error, std::bad_variant_access);
}

TEST(Result, OfNothingIsGoodByDefault) {
  EXPECT_TRUE(Result<void>());
  EXPECT_FALSE(Result<void>(Error{}));
}

}  // namespace
}  // namespace mlxd
