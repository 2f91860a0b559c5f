#include "web/web.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "web/encodings.h"
#include "web/files.h"

namespace mlxd::web {
namespace {

constexpr std::string_view kPage = "index.html";

// Nothing from elsewhere, nothing inline, in nobody's frame. data: and blob: are what the page
// itself makes.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const File* find(std::string_view path) {
  const auto found = std::ranges::find(files(), path, &File::path);
  return found == files().end() ? nullptr : &*found;
}

std::string content_type(std::string_view path) {
  if (path.ends_with(".html")) return "text/html; charset=utf-8";
  if (path.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (path.ends_with(".css")) return "text/css; charset=utf-8";
  if (path.ends_with(".svg")) return "image/svg+xml";
  return "application/octet-stream";
}

// In the smallest form that the client takes; a form of its own has an entity tag of its own.
http::Response answer(const File& file, const http::Request& request) {
  http::Response response;
  response.content_type = content_type(file.path);
  std::string tag(file.hash.substr(0, 32));
  std::string_view bytes = file.plain;
  const std::string_view accepted = request.header("accept-encoding");
  for (const auto& [coding, form] : {std::pair("br", file.brotli), std::pair("gzip", file.gzip)}) {
    if (!accepts_encoding(accepted, coding)) continue;
    bytes = form;
    tag += std::string("-") + coding;
    response.headers.emplace_back("content-encoding", coding);
    break;
  }
  tag = "\"" + tag + "\"";
  const bool is_page = file.path == kPage;
  response.headers.emplace_back("etag", tag);
  response.headers.emplace_back("vary", is_page ? "accept, accept-encoding" : "accept-encoding");
  // The name of a part has a hash of what is in it.
  response.headers.emplace_back("cache-control",
                                is_page ? "no-cache" : "public, max-age=31536000, immutable");
  response.headers.emplace_back("content-security-policy", kPolicy);
  response.headers.emplace_back("referrer-policy", "no-referrer");
  response.headers.emplace_back("cross-origin-resource-policy", "same-origin");
  if (names_tag(request.header("if-none-match"), tag)) response.status = 304;
  response.body = bytes;
  return response;
}

}  // namespace

void mount_assets(http::Router& router) {
  for (const File& file : files()) {
    if (file.path == kPage) continue;
    router.add(
        "GET", "/" + std::string(file.path),
        [&file](http::Exchange& exchange) {
          return exchange.respond(answer(file, exchange.request()));
        },
        http::Key::none);
  }
}

http::Handler page_or(http::Handler other) {
  const File* page = find(kPage);
  check(page != nullptr, "web/dist has a page");
  return [page, other = std::move(other)](http::Exchange& exchange) {
    if (!asks_for_html(exchange.request().header("accept"))) return other(exchange);
    return exchange.respond(answer(*page, exchange.request()));
  };
}

}  // namespace mlxd::web
