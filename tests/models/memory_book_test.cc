#include "models/memory_book.h"

#include <utility>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

TEST(MemoryBook, GivesNoMoreThanItsBound) {
  MemoryBook book(100);
  const auto most = book.reserve(80);
  ASSERT_TRUE(most);
  EXPECT_FALSE(book.reserve(21));
  EXPECT_TRUE(book.reserve(20));
  EXPECT_EQ(book.reserved(), 80u);  // the last one's was given back at once
}

TEST(MemoryBook, TakesBackWhatAReservationHeldOnce) {
  MemoryBook book(100);
  auto first = book.reserve(60);
  auto second = book.reserve(40);
  *first = *std::move(second);  // its own 60 are free again, the 40 go on being somebody's
  EXPECT_EQ(book.reserved(), 40u);
  MemoryBook::Reservation moved = *std::move(first);
  first.reset();
  second.reset();
  EXPECT_EQ(book.reserved(), 40u);
  moved = {};
  EXPECT_EQ(book.reserved(), 0u);
}

}  // namespace
}  // namespace mlxd
