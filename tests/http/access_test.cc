// Keys, Host names, origins.
#include "http/access.h"

#include "http/raw_client.h"

namespace mlxd::http {
namespace {

TEST(ApiKeys, AcceptsEachOfItsKeysAndNothingElse) {
  const ApiKeys keys({"first-key", "second-key"});
  EXPECT_TRUE(keys.required());
  EXPECT_TRUE(keys.accept("Bearer first-key"));
  EXPECT_TRUE(keys.accept("bearer second-key"));
  for (const char* wrong : {"", "Bearer", "Bearer ", "first-key", "Basic first-key", "Bearer first",
                            "Bearer first-keyx", "Bearer First-key", "Bearerfirst-key",
                            "Bearer first-key second-key", "Bearer first-key,"}) {
    EXPECT_FALSE(keys.accept(wrong)) << wrong;
  }
  EXPECT_FALSE(ApiKeys({}).required());
}

TEST(ApiKeys, AcceptsAKeyInItsOwnHeaderToo) {
  const ApiKeys keys({"first-key", "second-key"});
  EXPECT_TRUE(keys.accept("", "first-key"));
  EXPECT_TRUE(keys.accept("Basic first-key", "second-key"));
  EXPECT_EQ(keys.caller("", "second-key"), keys.caller("Bearer second-key"));
  for (const char* wrong : {"", "Bearer first-key", "first", "first-key "}) {
    EXPECT_FALSE(keys.accept("", wrong)) << wrong;
  }
  EXPECT_FALSE(ApiKeys({""}).accept("", ""));
}

TEST(ApiKeys, TellsCallersApartByANumberThatStaysTheSame) {
  const ApiKeys keys({"first-key", "second-key"});
  const auto first = keys.caller("Bearer first-key");
  const auto second = keys.caller("Bearer second-key");
  EXPECT_EQ(first, 0x122AEF5653B5249EU) << "in every run: the prefix cache's files are found by it";
  EXPECT_NE(first, second);
  EXPECT_EQ(keys.caller("bearer  first-key"), first);
  EXPECT_EQ(ApiKeys({"second-key"}).caller("Bearer second-key"), second);
  EXPECT_EQ(keys.caller("Bearer another"), 0U);
  EXPECT_EQ(ApiKeys({}).caller("Bearer first-key"), 0U);
}

TEST(ApiKeys, AnEmptyKeyOpensNothing) { EXPECT_FALSE(ApiKeys({""}).accept("Bearer ")); }

TEST(HostList, KnowsLoopbackNamesAndTheBoundHost) {
  const HostList hosts({}, "192.168.1.5");
  for (const char* host : {"localhost", "127.0.0.1", "[::1]", "192.168.1.5"}) {
    EXPECT_TRUE(hosts.accept(host, "192.168.1.5")) << host;
  }
  for (const char* host : {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
                           "192.168.1.6", "0.0.0.0", "127.0.0.2", "[::]"}) {
    EXPECT_FALSE(hosts.accept(host, "192.168.1.5")) << host;
  }
}

TEST(HostList, BoundToEveryAddressItKnowsTheOneThatTheClientConnectedTo) {
  for (const char* bound : {"0.0.0.0", "::"}) {
    const HostList hosts({}, bound);
    EXPECT_TRUE(hosts.accept("10.0.0.7", "10.0.0.7"));
    EXPECT_TRUE(hosts.accept("10.0.0.7", "::ffff:10.0.0.7"));
    EXPECT_TRUE(hosts.accept("[fd00::7]", "fd00::7"));
    EXPECT_FALSE(hosts.accept("10.0.0.8", "10.0.0.7"));
    EXPECT_FALSE(hosts.accept("evil.example", "10.0.0.7"));
  }
}

TEST(HostList, AListAddsToThisMachinesNamesAndAStarAllowsAll) {
  const HostList hosts({"LLM.example"}, "127.0.0.1");
  EXPECT_TRUE(hosts.accept("llm.example", "127.0.0.1"));
  EXPECT_TRUE(hosts.accept("localhost", "127.0.0.1"));
  EXPECT_FALSE(hosts.accept("other.example", "127.0.0.1"));
  EXPECT_TRUE(HostList({"*"}, "127.0.0.1").accept("anything.example", "127.0.0.1"));
}

class AccessTest : public ServerTest {
 protected:
  AccessTest() {
    router_.add(
        "GET", "/health",
        [](Exchange& exchange) -> Task<> {
          Response response;
          response.body = std::string(exchange.request().header("authorization"));
          co_await exchange.respond(std::move(response));
        },
        Key::none);
  }
  static std::string with_key(const std::string& key) {
    return "Authorization: Bearer " + key + "\r\n";
  }
  static std::string preflight(const std::string& origin) {
    return "OPTIONS /echo HTTP/1.1\r\nHost: localhost\r\nOrigin: " + origin +
           "\r\nAccess-Control-Request-Method: POST\r\n"
           "Access-Control-Request-Headers: content-type, authorization\r\n\r\n";
  }
};

TEST_F(AccessTest, OtherHostNamesAreRefused) {
  const auto with_host = [&](const std::string& host) {
    return ask("GET /hello HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status;
  };
  EXPECT_EQ(with_host("localhost:1234"), 200);
  EXPECT_EQ(with_host("LOCALHOST"), 200);
  EXPECT_EQ(with_host("localhost."), 200);
  EXPECT_EQ(with_host("127.0.0.1"), 200);
  EXPECT_EQ(with_host("[::1]:80"), 200);
  EXPECT_EQ(with_host("evil.example"), 421);
  EXPECT_EQ(with_host("evil.example:80"), 421);
}

TEST_F(AccessTest, ARefusedHostIsNamedWithTheOptionThatAllowsIt) {
  const std::string host = "evil.example";
  const Answer answer = ask("GET /hello HTTP/1.1\r\nHost: " + host + ":80\r\n\r\n");
  EXPECT_EQ(answer.status, 421);
  EXPECT_THAT(answer.body, testing::HasSubstr("'evil.example'"));
  EXPECT_THAT(answer.body, testing::HasSubstr("--allowed-host"));
  EXPECT_LT(ask("GET /hello HTTP/1.1\r\nHost: " + std::string(9000, 'a') + "\r\n\r\n").body.size(),
            1000U);
}

TEST_F(AccessTest, TheHostOfAnAbsoluteTargetCounts) {
  const auto ask_for = [&](const std::string& target, const std::string& host) {
    return ask("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status;
  };
  EXPECT_EQ(ask_for("http://evil.example/hello", "localhost"), 421);
  EXPECT_EQ(ask_for("http://localhost/hello", "evil.example"), 200) << "RFC 9112, 3.2.2";
  EXPECT_EQ(ask_for("http://localhost/hello", "evil.example:port"), 400);
}

TEST_F(AccessTest, WithoutAValidKeyOnlyOpenRoutesAnswer) {
  options_.api_keys = {"the-key"};
  const Answer refused = ask(get("/hello"));
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.header("www-authenticate"), "Bearer");
  EXPECT_THAT(refused.body, testing::HasSubstr("invalid_api_key"));
  EXPECT_EQ(ask(get("/hello", with_key("the-key"))).status, 200);
  EXPECT_EQ(ask(get("/hello", with_key("the-kez"))).status, 401);
  EXPECT_EQ(ask(get("/hello", "X-API-Key: the-key\r\n")).status, 200);
  EXPECT_EQ(ask(get("/hello", "X-API-Key: the-kez\r\n")).status, 401);
  expect_refused_and_closed(get("/hello", "X-Api-Key: the-key\r\nX-Api-Key: the-key\r\n"), 400);
  EXPECT_EQ(ask(get("/health")).status, 200);
}

TEST_F(AccessTest, NoPathHostOrMethodTrickGoesAroundTheKey) {
  options_.api_keys = {"the-key"};
  for (const char* path : {"/%68ello", "/hello?/health", "/health/../hello", "/hello?key=the-key",
                           "//hello", "/nothing", "/health%2f..%2fhello", "/Health"}) {
    EXPECT_EQ(ask(get(path)).status, 401) << path;
  }
  EXPECT_EQ(ask("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 401);
  EXPECT_EQ(ask("OPTIONS /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 401);
  EXPECT_EQ(ask("GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 421);
  EXPECT_EQ(ask(get("/hello", "X-Forwarded-For: 127.0.0.1\r\n")).status, 401);
  expect_refused_and_closed(get("/hello", with_key("the-kez") + with_key("the-key")), 400);
}

TEST_F(AccessTest, HandlersNeverSeeTheKey) {
  options_.api_keys = {"the-key"};
  for (const std::string& header : {with_key("the-key"), std::string("X-Api-Key: the-key\r\n")}) {
    const Answer answer = ask(get("/health", header));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "");
  }
}

TEST_F(AccessTest, CorsIsOffUntilOriginsAreGiven) {
  const Answer answer = ask(get("/hello", "Origin: http://app.example\r\n"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.head, Not(testing::HasSubstr("access-control")));
  EXPECT_EQ(ask(preflight("http://app.example")).status, 405);
}

TEST_F(AccessTest, ListedOriginsGetCorsHeadersOnAnswersAndErrors) {
  options_.cors_origins = {"http://app.example"};
  for (const char* path : {"/hello", "/nothing"}) {
    const Answer answer = ask(get(path, "Origin: http://app.example\r\n"));
    EXPECT_EQ(answer.header("access-control-allow-origin"), "http://app.example") << path;
    EXPECT_EQ(answer.header("vary"), "origin");
  }
  for (const char* other : {"http://app.example:8080", "https://app.example", "null",
                            "http://app.example.evil.example"}) {
    const Answer answer = ask(get("/hello", "Origin: " + std::string(other) + "\r\n"));
    EXPECT_EQ(answer.header("access-control-allow-origin"), "") << other;
    EXPECT_EQ(answer.header("vary"), "origin");
  }
}

TEST_F(AccessTest, AnswersPreflightOfListedOriginsWithoutAKey) {
  options_.cors_origins = {"http://app.example"};
  options_.api_keys = {"the-key"};
  const Answer answer = ask(preflight("http://app.example"));
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.header("access-control-allow-origin"), "http://app.example");
  EXPECT_EQ(answer.header("access-control-allow-methods"), "POST");
  EXPECT_EQ(answer.header("access-control-allow-headers"), "content-type, authorization");
  EXPECT_EQ(ask(preflight("http://evil.example")).status, 401);
}

}  // namespace
}  // namespace mlxd::http
