#include "tracing/span_queue.h"

#include <atomic>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace mlxd::tracing {
namespace {

std::vector<Span> spans(int count, const std::string& name = "span") {
  std::vector<Span> made(static_cast<std::size_t>(count));
  for (Span& span : made) span.name = name;
  return made;
}

TEST(SpanQueue, TakesTheSpansOfATraceWholeOrNotAtAll) {
  SpanQueue queue(5, 5);
  EXPECT_TRUE(queue.try_push(spans(3)));
  EXPECT_FALSE(queue.try_push(spans(3)));
  EXPECT_TRUE(queue.try_push(spans(2)));
  EXPECT_FALSE(queue.try_push(spans(1)));
  EXPECT_EQ(queue.take(0).size(), 5u);
  EXPECT_TRUE(queue.try_push(spans(5)));
}

TEST(SpanQueue, GivesBatchesOfWholeRequestsInTheirOrder) {
  SpanQueue queue(100, 3);
  ASSERT_TRUE(queue.try_push(spans(1, "a")));
  ASSERT_TRUE(queue.try_push(spans(2, "b")));
  ASSERT_TRUE(queue.try_push(spans(1, "c")));
  ASSERT_TRUE(queue.try_push(spans(5, "larger than a batch")));
  const auto names = [&queue] {
    std::string all;
    for (const Span& span : queue.take(0)) all += span.name + " ";
    return all;
  };
  EXPECT_EQ(names(), "a b b ");
  EXPECT_EQ(names(), "c ");
  EXPECT_EQ(queue.take(0).size(), 5u);
}

TEST(SpanQueue, DoesNotWaitForMoreThanABatch) {
  SpanQueue queue(100, 2);
  std::thread producer([&queue] {
    EXPECT_TRUE(queue.try_push(spans(1)));
    EXPECT_TRUE(queue.try_push(spans(1)));
  });
  EXPECT_EQ(queue.take(600).size(), 2u);
  producer.join();
}

TEST(SpanQueue, ThatIsClosedGivesWhatItHasAndTakesNothingMore) {
  SpanQueue queue(100, 2);
  ASSERT_TRUE(queue.try_push(spans(1)));
  std::thread closer([&queue] { queue.close(); });
  EXPECT_EQ(queue.take(600).size(), 1u);
  EXPECT_TRUE(queue.take(600).empty());
  closer.join();
  EXPECT_FALSE(queue.try_push(spans(1)));
  queue.wait_closed(600);
}

}  // namespace
}  // namespace mlxd::tracing
