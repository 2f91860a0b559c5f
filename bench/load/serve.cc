// Loads a server that speaks OpenAI's chat completions, and says how it did:
//
//   bench_serve --model M --clients 16 --requests 200          closed loop: 16 clients, each asks
//                                                               when it has its answer
//   bench_serve --model M --rate 5 --requests 200              open loop: Poisson arrivals, 5 a
//                                                               second, whatever the server does
//   bench_serve --model M --scenario agent --turns 5 --clients 4
//
// In the open loop a request's time counts from its arrival, not from when a connection was free
// (no coordinated omission).
#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "conversation.h"
#include "exchange.h"
#include "report.h"

namespace mlxd::load {
namespace {

namespace asio = boost::asio;

struct Settings {
  Server server;
  ConversationOptions conversation;
  int requests = 100;  // in all; an agent's conversation counts each turn
  int clients = 8;     // closed loop
  double rate = 0;     // arrivals a second; 0: closed loop
  bool json = false;
};

class LoadTest {
 public:
  explicit LoadTest(const Settings& settings)
      : settings_(settings), arrivals_(settings.conversation.seed) {}

  std::vector<Finished> run() {
    if (settings_.rate > 0) {
      asio::co_spawn(context_, arrive(), asio::detached);
    } else {
      for (int i = 0; i < settings_.clients; ++i) {
        asio::co_spawn(context_, repeat(), asio::detached);
      }
    }
    context_.run();
    return std::move(finished_);
  }

 private:
  bool more() const {
    const bool agent = settings_.conversation.scenario == Scenario::agent;
    return conversations_ * (agent ? settings_.conversation.turns : 1) < settings_.requests;
  }

  // A client of the closed loop: one conversation after the other.
  asio::awaitable<void> repeat() {
    Connection connection(context_.get_executor(), settings_.server);
    while (more()) co_await converse(connection, conversations_++, Clock::now());
  }

  // The open loop: exponential gaps between arrivals, each on a connection of its own.
  asio::awaitable<void> arrive() {
    std::exponential_distribution<double> gap(settings_.rate);
    asio::steady_timer timer(context_);
    Clock::time_point next = Clock::now();
    while (more()) {
      next += std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double>(gap(arrivals_)));
      timer.expires_at(next);
      co_await timer.async_wait(asio::use_awaitable);
      asio::co_spawn(context_, visit(conversations_++, next), asio::detached);
    }
  }

  asio::awaitable<void> visit(int number, Clock::time_point arrival) {
    Connection connection(context_.get_executor(), settings_.server);
    co_await converse(connection, number, arrival);
  }

  asio::awaitable<void> converse(Connection& connection, int number, Clock::time_point begun) {
    Conversation conversation(settings_.conversation, number);
    for (int turn = 0; turn < conversation.turns(); ++turn) {
      Outcome outcome = co_await connection.ask(conversation.ask(), begun);
      const bool failed = !outcome.ok;
      conversation.hear(outcome.text);
      outcome.text.clear();
      finished_.push_back({turn, std::move(outcome)});
      if (failed) co_return;
      begun = Clock::now();
    }
  }

  const Settings& settings_;
  std::mt19937_64 arrivals_;
  asio::io_context context_{1};
  std::vector<Finished> finished_;
  int conversations_ = 0;  // begun
};

int main(int argc, char** argv) {
  Settings settings;
  auto& conversation = settings.conversation;
  CLI::App app("Loads a server that speaks OpenAI's chat completions.");
  app.add_option("--host", settings.server.host)->capture_default_str();
  app.add_option("--port", settings.server.port)->capture_default_str();
  app.add_option("--api-key", settings.server.api_key);
  app.add_option("--model", conversation.model, "as the server calls it")->required();
  app.add_option("--requests", settings.requests, "in all")->capture_default_str();
  app.add_option("--clients", settings.clients, "closed loop")->capture_default_str();
  app.add_option("--rate", settings.rate, "open loop: arrivals a second");
  app.add_option("--scenario", conversation.scenario, "chat, shared-prefix or agent")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Scenario>{{"chat", Scenario::chat},
                                          {"shared-prefix", Scenario::shared_prefix},
                                          {"agent", Scenario::agent}}));
  app.add_option("--prompt-words", conversation.prompt_words)->capture_default_str();
  app.add_option("--system-words", conversation.system_words)->capture_default_str();
  app.add_option("--turns", conversation.turns)->capture_default_str();
  app.add_option("--max-tokens", conversation.max_tokens)->capture_default_str();
  app.add_option("--seed", conversation.seed)->capture_default_str();
  app.add_flag("--json", settings.json, "one JSON object");
  CLI11_PARSE(app, argc, argv);

  const Report report(LoadTest(settings).run());
  std::printf("%s\n", settings.json ? report.json().c_str() : report.text().c_str());
  if (report.failures() == 0) return 0;
  std::fprintf(stderr, "the first of %d failures: %s\n", report.failures(),
               report.first_error().c_str());
  return 1;
}

}  // namespace
}  // namespace mlxd::load

int main(int argc, char** argv) { return mlxd::load::main(argc, argv); }
