#include "http/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlxd::http {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Handler nothing() {
  return [](Exchange&) -> boost::asio::awaitable<void> { co_return; };
}

TEST(Router, MatchesExactPathsAndMethods) {
  Router router;
  router.add("GET", "/health", nothing(), false);
  EXPECT_NE(router.match("GET", "/health").handler, nullptr);
  EXPECT_FALSE(router.match("GET", "/health").needs_key);
  for (const char* path : {"/Health", "/health/", "//health", "/x/../health", "/healt", ""}) {
    EXPECT_EQ(router.match("GET", path).handler, nullptr) << path;
    EXPECT_TRUE(router.match("GET", path).needs_key) << path;
    EXPECT_THAT(router.match("GET", path).allowed, IsEmpty()) << path;
  }
}

TEST(Router, APrefixTakesWhateverFollowsButNotNothing) {
  Router router;
  router.add("GET", "/models/*", nothing());
  EXPECT_NE(router.match("GET", "/models/a/b").handler, nullptr);
  EXPECT_EQ(router.match("GET", "/models/").handler, nullptr);
  EXPECT_EQ(router.match("GET", "/models").handler, nullptr);
  EXPECT_EQ(router.match("GET", "/modelsX").handler, nullptr);
}

TEST(Router, AnExactPathWinsOverAPrefix) {
  Router router;
  router.add("GET", "/models/*", nothing(), false);
  router.add("GET", "/models/secret", nothing(), true);
  EXPECT_TRUE(router.match("GET", "/models/secret").needs_key);
  EXPECT_FALSE(router.match("GET", "/models/other").needs_key);
}

TEST(Router, ListsTheMethodsOfAPath) {
  Router router;
  router.add("GET", "/a", nothing(), false);
  router.add("POST", "/a", nothing());
  EXPECT_THAT(router.match("PUT", "/a").allowed, ElementsAre("GET", "HEAD", "POST"));
  EXPECT_EQ(router.match("PUT", "/a").handler, nullptr);
  EXPECT_TRUE(router.match("PUT", "/a").needs_key);
}

}  // namespace
}  // namespace mlxd::http
