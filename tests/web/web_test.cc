// How the page and its parts are sent.
#include "web/web.h"

#include <string>

#include "http/raw_client.h"
#include "web/encodings.h"
#include "web/files.h"

namespace mlxd::web {
namespace {

using http::Answer;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const File& page() {
  for (const File& file : files()) {
    if (file.path == "index.html") return file;
  }
  throw std::logic_error("web/dist has no page");
}

const File& script() {
  for (const File& file : files()) {
    if (file.path.starts_with("assets/index-") && file.path.ends_with(".js")) return file;
  }
  throw std::logic_error("web/dist has no script");
}

const std::string kKey = "X-Api-Key: sesame\r\n";

class WebTest : public http::ServerTest {
 protected:
  WebTest() {
    options_.api_keys = {"sesame"};  // the page must come without
    router_.add("GET", "/", page_or([](http::Exchange& exchange) {
                  http::Response response;
                  response.body = "for programs";
                  return exchange.respond(std::move(response));
                }),
                http::Key::none);
    mount_assets(router_);
  }

  Answer get(std::string_view path, const std::string& headers, std::string_view method = "GET") {
    return ask(std::string(method) + " " + std::string(path) +
               " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + "\r\n");
  }
  Answer get_page(const std::string& headers = "") {
    return get("/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n" + headers);
  }
  Answer get_script(const std::string& headers = "") {
    return get("/" + std::string(script().path), headers);
  }
};

TEST_F(WebTest, BrowsersGetThePageAndProgramsWhatTheyGotBefore) {
  const Answer answer = get_page();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("content-type"), "text/html; charset=utf-8");
  EXPECT_EQ(answer.body, page().plain);
  EXPECT_THAT(answer.header("vary"), HasSubstr("accept"));
  for (const char* accept : {"", "Accept: */*\r\n", "Accept: application/json\r\n",
                             "Accept: text/html;q=0, application/json\r\n"}) {
    EXPECT_EQ(get("/", accept).body, "for programs") << accept;
  }
}

TEST_F(WebTest, ThePageNamesItsPartsByRelativeAddressesThatThereAre) {
  const std::string_view html = page().plain;
  int parts = 0;
  for (const std::string_view attribute : {"src=\"", "href=\""}) {
    for (auto at = html.find(attribute); at != html.npos; at = html.find(attribute, at + 1)) {
      const auto begin = at + attribute.size();
      const std::string_view address = html.substr(begin, html.find('"', begin) - begin);
      ASSERT_THAT(std::string(address), StartsWith("./assets/"));
      EXPECT_EQ(get(address.substr(1), "").status, 200) << address;
      ++parts;
    }
  }
  EXPECT_GE(parts, 3);  // a script, a style sheet, an icon
}

TEST_F(WebTest, EveryFileComesInTheFormsThatABrowserTakes) {
  for (const File& file : files()) {
    if (file.path == "index.html") continue;
    const std::string path = "/" + std::string(file.path);
    EXPECT_EQ(get(path, "").body, file.plain) << path;
    const Answer gzip = get(path, "Accept-Encoding: gzip, deflate\r\n");
    EXPECT_EQ(gzip.header("content-encoding"), "gzip");
    EXPECT_EQ(gzip.body, file.gzip) << path;
    const Answer brotli = get(path, "Accept-Encoding: gzip, deflate, br, zstd\r\n");
    EXPECT_EQ(brotli.header("content-encoding"), "br");
    EXPECT_EQ(brotli.body, file.brotli) << path;
    EXPECT_EQ(brotli.header("vary"), "accept-encoding");
    EXPECT_NE(brotli.header("content-type"), "application/octet-stream") << path;
  }
}

TEST_F(WebTest, PartsAreKeptForeverAndThePageIsAskedForAgain) {
  EXPECT_EQ(get_script().header("cache-control"), "public, max-age=31536000, immutable");
  EXPECT_EQ(get_page().header("cache-control"), "no-cache");
}

TEST_F(WebTest, AKnownTagIsAnsweredWithoutABody) {
  const Answer first = get_page("Accept-Encoding: gzip\r\n");
  const std::string tag = first.header("etag");
  const Answer again = get_page("Accept-Encoding: gzip\r\nIf-None-Match: \"x\", W/" + tag + "\r\n");
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(again.body, "");
  EXPECT_EQ(again.header("etag"), tag);
  EXPECT_EQ(again.header("content-length"), first.header("content-length"));
  EXPECT_EQ(get_page("Accept-Encoding: gzip\r\nIf-None-Match: *\r\n").status, 304);
  // Another form has another tag.
  EXPECT_EQ(get_page("If-None-Match: " + tag + "\r\n").status, 200);
}

TEST_F(WebTest, AnotherRequestMayFollowA304) {
  auto client = connect();
  const std::string request = "GET /" + std::string(script().path) +
                              " HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\n";
  client.send(request + request);
  EXPECT_EQ(client.read_answer(true).status, 304);
  EXPECT_EQ(client.read_answer(true).status, 304);
}

TEST_F(WebTest, HeadTellsTheLengthAndOtherMethodsAreRefused) {
  const Answer head = get("/" + std::string(script().path), "Accept-Encoding: br\r\n", "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("content-length"), std::to_string(script().brotli.size()));
  EXPECT_EQ(get("/", "Accept: text/html\r\n", "HEAD").status, 200);
  const Answer post = get("/" + std::string(script().path), kKey + "Content-Length: 0\r\n", "POST");
  EXPECT_EQ(post.status, 405);
  EXPECT_EQ(post.header("allow"), "GET, HEAD");
  for (const char* path : {"/assets/", "/assets/x.js", "/assets/../index.html", "/index.html"}) {
    EXPECT_EQ(get(path, kKey + "Accept: text/html\r\n").status, 404) << path;
  }
}

TEST_F(WebTest, ThePolicyAllowsNothingButTheServerItself) {
  for (const Answer& answer : {get_page(), get_script()}) {
    const std::string policy = answer.header("content-security-policy");
    for (const char* part : {"default-src 'none'", "script-src 'self'", "style-src 'self'",
                             "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"}) {
      EXPECT_THAT(policy, HasSubstr(part));
    }
    EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
    EXPECT_EQ(answer.header("x-content-type-options"), "nosniff");
  }
  // And nothing stands in the page that it would forbid.
  const std::string html(page().plain);
  EXPECT_THAT(html, Not(HasSubstr("<style")));
  EXPECT_THAT(html, Not(HasSubstr("style=")));
  EXPECT_THAT(html, Not(HasSubstr("<script>")));
}

TEST(Encodings, AreTakenAsTheClientWeighsThem) {
  EXPECT_TRUE(accepts_encoding("gzip, br", "br"));
  EXPECT_TRUE(accepts_encoding("GZIP;q=0.1", "gzip"));
  EXPECT_TRUE(accepts_encoding("*", "br"));
  EXPECT_TRUE(accepts_encoding("br;q=1.0 , *;q=0", "br"));
  EXPECT_TRUE(accepts_encoding("br;q=0.001", "br"));
  for (const char* header : {"", "identity", "br;q=0", "br; q=0.000", "*;q=0", "brotli", "gzip;br",
                             ",,;;=,", "gzip, br;Q=0, *"}) {
    EXPECT_FALSE(accepts_encoding(header, "br")) << header;
  }
}

TEST(Encodings, TagsAreComparedAsWholes) {
  EXPECT_TRUE(names_tag(R"("a", "b")", R"("b")"));
  EXPECT_TRUE(names_tag("W/\"b\"", R"("b")"));
  EXPECT_FALSE(names_tag(R"("bb", b)", R"("b")"));
  EXPECT_FALSE(names_tag("", R"("b")"));
}

}  // namespace
}  // namespace mlxd::web
