#include "http/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlxd::http {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Handler nothing() {
  return [](Exchange&) -> Task<> { co_return; };
}

TEST(Router, MatchesExactPathsAndMethods) {
  Router router;
  router.add("GET", "/health", nothing(), Key::none);
  EXPECT_NE(router.match("GET", "/health").handler, nullptr);
  EXPECT_EQ(router.match("GET", "/health").key, Key::none);
  for (const char* path : {"/Health", "/health/", "//health", "/x/../health", "/healt", ""}) {
    EXPECT_EQ(router.match("GET", path).handler, nullptr) << path;
    EXPECT_EQ(router.match("GET", path).key, Key::client) << path;
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
  router.add("GET", "/models/*", nothing(), Key::none);
  router.add("GET", "/models/secret", nothing(), Key::client);
  EXPECT_EQ(router.match("GET", "/models/secret").key, Key::client);
  EXPECT_EQ(router.match("GET", "/models/other").key, Key::none);
}

TEST(Router, ListsTheMethodsOfAPath) {
  Router router;
  router.add("GET", "/a", nothing(), Key::none);
  router.add("POST", "/a", nothing());
  EXPECT_THAT(router.match("PUT", "/a").allowed, ElementsAre("GET", "HEAD", "POST"));
  EXPECT_EQ(router.match("PUT", "/a").handler, nullptr);
  EXPECT_EQ(router.match("PUT", "/a").key, Key::client);
}

TEST(Router, ListsItsEndpointsAndFindsTheOneThatWasMeant) {
  Router router;
  router.add("GET", "/", nothing());
  router.add("POST", "/v1/chat/completions", nothing());
  router.add("POST", "/v1/completions", nothing());
  router.add("GET", "/v1/models", nothing());
  router.add("GET", "/v1/models/*", nothing());
  router.add("GET", "/health", nothing());
  EXPECT_THAT(router.endpoints(),
              ElementsAre("GET /", "POST /v1/chat/completions", "POST /v1/completions",
                          "GET /v1/models", "GET /v1/models/*", "GET /health"));
  EXPECT_EQ(router.nearest("/v1/chat/completion"), "/v1/chat/completions");
  EXPECT_EQ(router.nearest("/chat/completions"), "/v1/chat/completions");
  EXPECT_EQ(router.nearest("/v1/v1/models"), "/v1/models");
  EXPECT_EQ(router.nearest("/v1/models/"), "/v1/models");
  EXPECT_EQ(router.nearest("/healthz"), "/health");
  for (const char* path :
       {"", "/x", "/favicon.ico", "/v1/responses", "/api/tags", "/v1/embeddings"}) {
    EXPECT_EQ(router.nearest(path), "") << path;
  }
  EXPECT_EQ(router.nearest("/health" + std::string(100'000, 'z')), "");
}

}  // namespace
}  // namespace mlxd::http
