#include "exchange.h"

#include <array>
#include <string_view>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

namespace mlxd::load {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;

// Takes the frames of an event stream from the bytes as they come.
class FrameReader {
 public:
  explicit FrameReader(Outcome& outcome) : outcome_(outcome) {}

  void feed(std::string_view bytes, Clock::time_point now) {
    pending_ += bytes;
    std::size_t start = 0;
    for (std::size_t end; (end = pending_.find("\n\n", start)) != std::string::npos;
         start = end + 2) {
      frame(std::string_view(pending_).substr(start, end - start), now);
    }
    pending_.erase(0, start);
  }

 private:
  void frame(std::string_view text, Clock::time_point now) {
    constexpr std::string_view kData = "data: ";
    if (!text.starts_with(kData)) return;
    text.remove_prefix(kData.size());
    if (text == "[DONE]") {
      outcome_.ok = outcome_.error.empty();
      return;
    }
    const json::value value = json::parse(text);
    if (const auto* error = value.as_object().if_contains("error")) {
      outcome_.error = json::serialize(*error);
      return;
    }
    read_text(value, now);
    if (const auto* usage = value.as_object().if_contains("usage"); usage && usage->is_object()) {
      outcome_.prompt_tokens = usage->at("prompt_tokens").to_number<int>();
      outcome_.completion_tokens = usage->at("completion_tokens").to_number<int>();
      if (const auto* details = usage->as_object().if_contains("prompt_tokens_details");
          details && details->is_object() && details->as_object().contains("cached_tokens")) {
        outcome_.cached_tokens = details->at("cached_tokens").to_number<int>();
      }
    }
  }

  void read_text(const json::value& value, Clock::time_point now) {
    const auto* choices = value.as_object().if_contains("choices");
    if (!choices || choices->as_array().empty()) return;
    const auto* content = choices->as_array()[0].at("delta").as_object().if_contains("content");
    if (!content || !content->is_string() || content->get_string().empty()) return;
    outcome_.text += content->get_string();
    outcome_.frames.push_back(now);
  }

  Outcome& outcome_;
  std::string pending_;
};

}  // namespace

asio::awaitable<Outcome> Connection::ask(std::string body, Clock::time_point begun) {
  Outcome outcome;
  outcome.begun = begun;
  try {
    // A server may close a connection between two requests at any time.
    const bool used_before = std::exchange(connected_, true);
    if (!used_before || !co_await send(body)) {
      co_await connect();
      if (!co_await send(body)) throw beast::system_error(http::error::end_of_stream);
    }
    co_await receive(outcome);
    if (!outcome.ok && outcome.error.empty()) outcome.error = "the stream ended without [DONE]";
  } catch (const std::exception& exception) {
    outcome.ok = false;
    outcome.error = exception.what();
  }
  outcome.ended = Clock::now();
  if (!outcome.ok) connected_ = false;
  co_return outcome;
}

asio::awaitable<void> Connection::connect() {
  stream_.close();
  buffer_.clear();
  asio::ip::tcp::resolver resolver(stream_.get_executor());
  const auto found =
      co_await resolver.async_resolve(server_.host, server_.port, asio::use_awaitable);
  co_await stream_.async_connect(found, asio::use_awaitable);
  stream_.socket().set_option(asio::ip::tcp::no_delay(true));
}

asio::awaitable<bool> Connection::send(const std::string& body) {
  http::request<http::string_body> request(http::verb::post, "/v1/chat/completions", 11, body);
  request.set(http::field::host, "localhost");
  request.set(http::field::content_type, "application/json");
  if (!server_.api_key.empty()) {
    request.set(http::field::authorization, "Bearer " + server_.api_key);
  }
  request.prepare_payload();
  beast::error_code error;
  co_await http::async_write(stream_, request, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return false;
  co_await stream_.socket().async_wait(asio::ip::tcp::socket::wait_read, asio::use_awaitable);
  char first = 0;
  const std::size_t got =
      stream_.socket().receive(asio::buffer(&first, 1), asio::socket_base::message_peek, error);
  co_return !error && got > 0;
}

asio::awaitable<void> Connection::receive(Outcome& outcome) {
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  co_await http::async_read_header(stream_, buffer_, parser, asio::use_awaitable);
  const auto status = parser.get().result_int();
  FrameReader frames(outcome);
  std::string refusal;
  std::array<char, 16384> bytes;
  while (!parser.is_done()) {
    parser.get().body().data = bytes.data();
    parser.get().body().size = bytes.size();
    beast::error_code error;
    co_await http::async_read_some(stream_, buffer_, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
    if (error && error != http::error::need_buffer) throw beast::system_error(error);
    const std::string_view got(bytes.data(), bytes.size() - parser.get().body().size);
    if (status == 200) {
      frames.feed(got, Clock::now());
    } else {
      refusal += got;
    }
  }
  if (status != 200) outcome.error = std::to_string(status) + " " + refusal.substr(0, 300);
  if (!parser.keep_alive()) connected_ = false;
}

}  // namespace mlxd::load
