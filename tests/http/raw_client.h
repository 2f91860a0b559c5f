// A server of its own for each test, and a client that sends exactly the bytes that a test writes.
#pragma once

#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server.h"

#ifndef MSG_NOSIGNAL  // macOS
#define MSG_NOSIGNAL 0
#endif

namespace mlxd::http {

// An answer as it came over the wire. `status` 0: the connection ended without one.
struct Answer {
  int status = 0;
  std::string head;
  std::string body;  // chunks put together
  bool complete = false;
  std::string header(const std::string& name) const {
    const auto start = head.find("\r\n" + name + ": ");
    if (start == head.npos) return "";
    const auto value = start + 4 + name.size();
    return head.substr(value, head.find("\r\n", value) - value);
  }
};

class RawClient {
 public:
  explicit RawClient(std::uint16_t port, int receive_buffer = 0) {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    if (receive_buffer > 0) {
      ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }

  // False when the server has reset the connection.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  void half_close() { ::shutdown(socket_, SHUT_WR); }
  void reset() {
    const linger hard{1, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }

  // One more piece; false at the end of the connection or after `seconds` of silence.
  bool receive(double seconds = 5) {
    pollfd waiting{socket_, POLLIN, 0};
    if (::poll(&waiting, 1, static_cast<int>(seconds * 1000)) <= 0) return false;
    char buffer[65536];
    const auto count = ::recv(socket_, buffer, sizeof buffer, 0);
    if (count <= 0) {
      ended_ = true;
      return false;
    }
    input_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }
  bool receive_until(std::string_view text, double seconds = 5) {
    while (input_.find(text) == input_.npos) {
      if (!receive(seconds)) return false;
    }
    return true;
  }

  Answer read_answer(bool without_body = false, double seconds = 5) {
    Answer answer;
    if (!receive_until("\r\n\r\n", seconds)) return answer;
    const auto size = input_.find("\r\n\r\n") + 4;
    answer.head = input_.substr(0, size);
    input_.erase(0, size);
    answer.status = std::stoi(answer.head.substr(9, 3));
    if (without_body || answer.status == 204 || answer.status == 100) {
      answer.complete = true;
    } else if (answer.header("transfer-encoding") == "chunked") {
      answer.complete = read_chunks(answer.body, seconds);
    } else if (const auto length = answer.header("content-length"); !length.empty()) {
      const std::size_t count = std::stoul(length);
      while (input_.size() < count && receive(seconds)) {
      }
      answer.complete = input_.size() >= count;
      answer.body = input_.substr(0, count);
      input_.erase(0, count);
    } else {
      while (receive(seconds)) {
      }
      answer.complete = ended_;
      answer.body = std::exchange(input_, {});
    }
    input_.shrink_to_fit();  // tests measure the memory of connections
    return answer;
  }

  // The server closed, and sent nothing more.
  bool is_closed_within(double seconds) {
    const auto start = std::chrono::steady_clock::now();
    while (!ended_) {
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
      if (spent.count() > seconds) return false;
      receive(seconds - spent.count() + 0.001);
    }
    return input_.empty();
  }
  bool is_open_after(double seconds) { return !receive(seconds) && !ended_; }
  // False when the server has not closed after that many seconds of silence.
  bool receive_to_end(double seconds) {
    while (receive(seconds)) {
    }
    return ended_;
  }
  // Of all answers in what was received.
  std::vector<int> statuses() const {
    std::vector<int> found;
    constexpr std::string_view start = "HTTP/1.1 ";
    for (auto at = input_.find(start); at != input_.npos; at = input_.find(start, at + 1)) {
      if (at == 0 || input_.find("\r\ndate: ", at) < at + 60 ||
          input_.compare(at + 9, 3, "100") == 0) {
        found.push_back(std::atoi(input_.c_str() + at + start.size()));
      }
    }
    return found;
  }
  bool has_ended() const { return ended_; }
  const std::string& unread() const { return input_; }

 private:
  bool read_chunks(std::string& body, double seconds) {
    for (;;) {
      if (!receive_until("\r\n", seconds)) return false;
      const auto line = input_.find("\r\n");
      const std::size_t size = std::stoul(input_.substr(0, line), nullptr, 16);
      while (input_.size() < line + 2 + size + 2) {
        if (!receive(seconds)) return false;
      }
      body += input_.substr(line + 2, size);
      input_.erase(0, line + 2 + size + 2);
      if (size == 0) return true;
    }
  }

  int socket_ = -1;
  bool connected_ = false;
  bool ended_ = false;
  std::string input_;
};

template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds limit = std::chrono::seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// The empty answer. (g++ 12 destroys a braced aggregate twice that it meets inside of co_await.)
inline Task<> respond_empty(Exchange& exchange) {
  Response response;
  co_await exchange.respond(std::move(response));
}

// GET /hello says hello, POST /echo returns the body.
inline Router test_router() {
  Router router;
  router.add("GET", "/hello", [](Exchange& exchange) -> Task<> {
    Response response;
    response.content_type = "text/plain";
    response.body = "hello";
    co_await exchange.respond(std::move(response));
  });
  router.add("POST", "/echo", [](Exchange& exchange) -> Task<> {
    Response response;
    response.body = exchange.request().body.text;
    co_await exchange.respond(std::move(response));
  });
  return router;
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    options_.port = 0;
    options_.error_body = [](std::string_view, const Error& error) {
      return R"({"error":")" + error.code + ": " + error.message + "\"}";
    };
  }

  Server& server() {
    if (!server_) server_ = std::make_unique<Server>(options_, router_);
    return *server_;
  }
  RawClient connect() { return RawClient(server().port()); }

  // The answer to these bytes on a connection of their own.
  Answer ask(std::string_view bytes) {
    RawClient client(server().port());
    client.send(bytes);
    return client.read_answer(bytes.starts_with("HEAD "));
  }
  // Whether the server closes after answering these bytes with this status.
  void expect_refused_and_closed(std::string_view bytes, int status) {
    RawClient client(server().port());
    client.send(bytes);
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, status) << bytes.substr(0, 300);
    EXPECT_EQ(answer.header("connection"), "close") << bytes.substr(0, 300);
    EXPECT_THAT(answer.body, ::testing::HasSubstr("\"error\""));
    EXPECT_TRUE(client.is_closed_within(3)) << bytes.substr(0, 300);
  }
  void expect_still_serving() {
    EXPECT_EQ(ask("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").body, "hello");
  }

  // A request and its answer take the I/O thread through all that it had to do before.
  void let_io_thread_catch_up() {
    for (int i = 0; i < 3; ++i) expect_still_serving();
  }

  ServerOptions options_;
  Router router_ = test_router();
  std::unique_ptr<Server> server_;
};

inline std::string get(const std::string& path, const std::string& headers = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
}

inline std::string post(const std::string& path, const std::string& body,
                        const std::string& headers = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         "Content-Length: " + std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body;
}

// A POST to /echo whose body, in the chunked coding, is exactly `chunks`.
inline std::string post_chunked(const std::string& chunks) {
  return "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
         "Transfer-Encoding: chunked\r\n\r\n" +
         chunks;
}

}  // namespace mlxd::http
