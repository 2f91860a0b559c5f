// What the server does for well-behaved clients.
#include <atomic>

#include "base/error.h"
#include "http/raw_client.h"

namespace mlxd::http {
namespace {

using testing::HasSubstr;

TEST_F(ServerTest, AnswersGetAndPost) {
  const Answer hello = ask(get("/hello"));
  EXPECT_EQ(hello.status, 200);
  EXPECT_EQ(hello.body, "hello");
  EXPECT_EQ(hello.header("content-type"), "text/plain");
  EXPECT_EQ(hello.header("x-content-type-options"), "nosniff");
  EXPECT_EQ(hello.header("server"), "mlxd");
  EXPECT_EQ(ask(post("/echo", "[1]")).body, "[1]");
}

TEST_F(ServerTest, KeepsTheConnectionForFurtherRequests) {
  auto client = connect();
  for (int i = 0; i < 50; ++i) {
    client.send(i % 2 ? get("/hello") : post("/echo", "[" + std::to_string(i) + "]"));
    EXPECT_EQ(client.read_answer().body, i % 2 ? "hello" : "[" + std::to_string(i) + "]");
  }
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrderWithoutLoss) {
  auto client = connect();
  std::string requests;
  for (int i = 0; i < 500; ++i) {
    requests += post("/echo", "[" + std::to_string(i) + "]");
    requests += get("/hello");
  }
  std::thread sender([&] { client.send(requests); });
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(client.read_answer().body, "[" + std::to_string(i) + "]");
    ASSERT_EQ(client.read_answer().body, "hello");
  }
  sender.join();
}

TEST_F(ServerTest, ReadsRequestsThatArriveByteByByte) {
  auto client = connect();
  for (const std::string& request :
       {get("/hello"), post("/echo", "[12]"), post_chunked("3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n")}) {
    for (const char c : request) ASSERT_TRUE(client.send(std::string_view(&c, 1)));
    EXPECT_EQ(client.read_answer().status, 200);
  }
}

TEST_F(ServerTest, ReadsChunkedBodies) {
  EXPECT_EQ(ask(post_chunked("3\r\n[1,\r\n2;a=b\r\n2]\r\n0\r\n\r\n")).body, "[1,2]");
  EXPECT_EQ(ask(post_chunked("0\r\n\r\n")).status, 200);
}

TEST_F(ServerTest, AnswersHeadWhereGetExists) {
  auto client = connect();
  client.send("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/hello"));
  const Answer head = client.read_answer(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("content-length"), "5");
  EXPECT_EQ(client.read_answer().body, "hello");
  EXPECT_EQ(ask("HEAD /echo HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
}

TEST_F(ServerTest, NamesTheAllowedMethods) {
  const Answer answer = ask(get("/echo"));
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.header("allow"), "POST");
  EXPECT_EQ(ask("DELETE /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").header("allow"), "GET, HEAD");
  EXPECT_EQ(ask("BREW /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
}

TEST_F(ServerTest, KeepsTheConnectionAfterARefusalWhoseBodyItRead) {
  auto client = connect();
  client.send(post("/nothing", "[1, 2, 3]") + get("/hello"));
  const Answer refusal = client.read_answer();
  EXPECT_EQ(refusal.status, 404);
  EXPECT_THAT(refusal.body, HasSubstr("unknown_url"));
  EXPECT_EQ(client.read_answer().body, "hello");
}

TEST_F(ServerTest, ReturnsAValidRequestIdAndReplacesAnyOther) {
  EXPECT_EQ(ask(get("/hello", "X-Request-Id: my.id_1-2\r\n")).header("x-request-id"), "my.id_1-2");
  for (const std::string& bad : {std::string("a b"), std::string("a;b"), std::string(129, 'a')}) {
    const std::string id =
        ask(get("/hello", "X-Request-Id: " + bad + "\r\n")).header("x-request-id");
    EXPECT_THAT(id, testing::MatchesRegex("req-[0-9a-f]{32}"));
  }
  EXPECT_NE(ask(get("/nothing")).header("x-request-id"), "");
  EXPECT_NE(ask("nonsense\r\n\r\n").header("x-request-id"), "");
  EXPECT_NE(ask(get("/hello")).header("x-request-id"), ask(get("/hello")).header("x-request-id"));
}

TEST_F(ServerTest, HonoursExpectContinue) {
  auto client = connect();
  const std::string request = post("/echo", "[1]", "Expect: 100-continue\r\n");
  client.send(request.substr(0, request.size() - 3));
  EXPECT_EQ(client.read_answer().status, 100);
  client.send("[1]");
  EXPECT_EQ(client.read_answer().body, "[1]");
}

TEST_F(ServerTest, RefusesInsteadOfContinuing) {
  auto client = connect();
  client.send(
      "POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
      "Expect: 100-continue\r\n\r\n");
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.header("connection"), "close");
  EXPECT_EQ(ask(post("/echo", "[1]", "Expect: tea\r\n")).status, 417);
}

TEST_F(ServerTest, ClosesWhenAskedTo) {
  auto client = connect();
  client.send(get("/hello", "Connection: Close\r\n"));
  EXPECT_EQ(client.read_answer().header("connection"), "close");
  EXPECT_TRUE(client.is_closed_within(3));
}

TEST_F(ServerTest, AnswersHttp10AndCloses) {
  auto client = connect();
  client.send("GET /hello HTTP/1.0\r\nHost: localhost\r\n\r\n");
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("connection"), "close");
  EXPECT_TRUE(client.is_closed_within(3));
}

TEST_F(ServerTest, AnswersABalancersCheckThatNamesNoHost) {
  const Answer answer = ask("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "hello");
}

TEST_F(ServerTest, AnswersMinorVersionsAboveItsOwnAsItsOwn) {
  EXPECT_EQ(ask("GET /hello HTTP/1.2\r\nHost: localhost\r\n\r\n").body, "hello");
  EXPECT_EQ(ask("GET /hello HTTP/1.9\r\n\r\n").status, 400) << "it needs a Host";
}

TEST_F(ServerTest, TakesAbsoluteTargetsAsClientsSendThemToProxies) {
  router_.add("GET", "/", [](Exchange& exchange) -> Task<> {
    Response response;
    response.body = exchange.request().path + "|" + exchange.request().query;
    co_await exchange.respond(std::move(response));
  });
  for (const char* target : {"http://localhost/hello", "HTTP://LocalHost:8080/hello",
                             "https://127.0.0.1/%68ello", "http://[::1]:80/hello?a=b"}) {
    EXPECT_EQ(ask(get(target)).body, "hello") << target;
  }
  EXPECT_EQ(ask(get("http://localhost")).body, "/|");
  EXPECT_EQ(ask(get("http://localhost?a=/b")).body, "/|a=/b");
  EXPECT_EQ(ask("GET http://localhost/hello HTTP/1.0\r\n\r\n").body, "hello");
}

TEST_F(ServerTest, NamesOfCodingsHaveNoCase) {
  for (const char* coding : {"chunked", "Chunked", "CHUNKED", " chunked\t"}) {
    EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  "Transfer-Encoding:" +
                  std::string(coding) + "\r\n\r\n2\r\n[]\r\n0\r\n\r\n")
                  .body,
              "[]")
        << coding;
  }
}

TEST_F(ServerTest, ATransferCodingThatIsNotImplementedIs501) {
  expect_refused_and_closed(
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: gzip, Chunked\r\n\r\n0\r\n\r\n",
      501);
}

TEST_F(ServerTest, TellsTheMethodsOfTheWholeServer) {
  auto client = connect();
  client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/hello"));
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.header("allow"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(client.read_answer().body, "hello");
}

TEST_F(ServerTest, AnUnknownPathIsToldWhatThereIsAndWhatWasMeant) {
  const Answer answer = ask(get("/helo"));
  EXPECT_EQ(answer.status, 404);
  EXPECT_THAT(answer.body, HasSubstr("There is no /helo here."));
  EXPECT_THAT(answer.body, HasSubstr("Did you mean /hello?"));
  EXPECT_THAT(answer.body, HasSubstr("There are: GET /hello, POST /echo."));
  EXPECT_THAT(ask(get("/other")).body, Not(HasSubstr("Did you mean")));
  EXPECT_LT(ask(get("/" + std::string(10'000, 'a'))).body.size(), 1000U);
}

TEST_F(ServerTest, DecodesThePathAndKeepsTheQueryRaw) {
  router_.add("GET", "/models/*", [](Exchange& exchange) -> Task<> {
    Response response;
    response.body = exchange.request().path + "|" + exchange.request().query;
    co_await exchange.respond(std::move(response));
  });
  EXPECT_EQ(ask(get("/models/a%2Fb%20c/%C3%A9?q=%20&x")).body, "/models/a/b c/\xC3\xA9|q=%20&x");
}

TEST_F(ServerTest, AnHandlersExceptionIsA500AndHurtsNobodyElse) {
  router_.add("GET", "/throws", [](Exchange&) -> Task<> {
    throw std::runtime_error("not for the client");
    co_return;
  });
  router_.add("GET", "/throws-int", [](Exchange&) -> Task<> {
    throw 1;
    co_return;
  });
  router_.add("GET", "/silent", [](Exchange&) -> Task<> { co_return; });
  router_.add("GET", "/twice", [](Exchange& exchange) -> Task<> {
    co_await respond_empty(exchange);
    co_await respond_empty(exchange);
  });
  auto client = connect();
  for (const char* path : {"/throws", "/throws-int", "/silent"}) {
    client.send(get(path));
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, 500);
    EXPECT_THAT(answer.body, HasSubstr("internal_error"));
    EXPECT_THAT(answer.body, Not(HasSubstr("not for the client")));
  }
  client.send(get("/twice"));
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_TRUE(client.is_closed_within(3));
  expect_still_serving();
}

TEST_F(ServerTest, ErrorBodiesComeFromTheOptionsByPath) {
  options_.error_body = [](std::string_view path, const Error& error) {
    return std::string(path) + ": " + std::to_string(error.status) + " " + error.code;
  };
  EXPECT_EQ(ask(get("/nothing")).body, "/nothing: 404 unknown_url");
  EXPECT_EQ(ask(get("/echo")).body, "/echo: 405 method_not_allowed");
  EXPECT_EQ(ask("x\r\n\r\n").body, ": 400 bad_request");
}

TEST_F(ServerTest, HeaderValuesOfAHandlerCannotBreakTheAnswer) {
  router_.add("GET", "/inject", [](Exchange& exchange) -> Task<> {
    Response response;
    response.headers = {{"x-a", "1\r\nx-b: 2\r\n\r\nbody"}};
    co_await exchange.respond(std::move(response));
  });
  const Answer answer = ask(get("/inject"));
  EXPECT_EQ(answer.header("x-b"), "");
  EXPECT_EQ(answer.header("x-a"), "1  x-b: 2    body");
}

TEST_F(ServerTest, StopsAcceptingButServesLiveConnections) {
  auto client = connect();
  client.send(get("/hello"));
  EXPECT_EQ(client.read_answer().header("connection"), "");
  const std::uint16_t port = server().port();
  server().stop_accepting();
  while (RawClient(port).connected()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  client.send(get("/hello"));
  const Answer last = client.read_answer();
  EXPECT_EQ(last.status, 200);
  EXPECT_EQ(last.header("connection"), "close");
  EXPECT_TRUE(client.is_closed_within(3));
}

TEST_F(ServerTest, WaitsUntilExchangesInFlightHaveEnded) {
  std::atomic<bool> begun = false;
  router_.add("GET", "/slow", [&](Exchange& exchange) -> Task<> {
    begun = true;
    co_await exchange.wakeup()->wait_for(0.3);
    co_await respond_empty(exchange);
  });
  EXPECT_TRUE(server().wait_until_idle(0));
  auto client = connect();
  client.send(get("/slow"));
  ASSERT_TRUE(eventually([&] { return begun.load(); }));
  EXPECT_FALSE(server().wait_until_idle(0.01));
  EXPECT_TRUE(server().wait_until_idle(5));
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(ServerTest, ItsDestructorEndsHandlersThatWait) {
  bool unwound = false;
  std::atomic<bool> begun = false;
  router_.add("GET", "/wait", [&](Exchange& exchange) -> Task<> {
    struct Mark {
      bool& flag;
      ~Mark() { flag = true; }
    } const mark{unwound};
    begun = true;
    for (;;) co_await exchange.wakeup()->wait_for(60);  // ignores that its peer is gone
  });
  auto client = connect();
  client.send(get("/wait"));
  ASSERT_TRUE(eventually([&] { return begun.load(); }));
  server_.reset();
  EXPECT_TRUE(unwound);
  EXPECT_TRUE(client.is_closed_within(3));
}

TEST_F(ServerTest, SaysWhatIsWrongWhenItsAddressIsTaken) {
  options_.port = server().port();
  try {
    Server second(options_, Router());
    FAIL() << "two servers listen on one port";
  } catch (const StartupError& error) {
    EXPECT_THAT(error.what(), HasSubstr("127.0.0.1:" + std::to_string(options_.port)));
    EXPECT_THAT(error.what(), HasSubstr("choose another"));
  }
  options_.host = "no.such.host.invalid";
  EXPECT_THROW(Server(options_, Router()), StartupError);
}

}  // namespace
}  // namespace mlxd::http
