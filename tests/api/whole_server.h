// The whole server in one process, over sockets: http, api, serve and the engine, on a fake model
// whose tokens are bytes. What it says is noise, and so full of broken UTF-8.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "api/api.h"
#include "api/generation/dialect.h"
#include "api/metrics.h"
#include "engine/fake/fake_runner.h"
#include "http/raw_client.h"
#include "models/model_pool.h"

namespace mlxd::api {

inline constexpr int kEos = 256;
inline constexpr int kBos = 257;
inline constexpr int kVocabulary = 258;

class ByteTokenizer : public Tokenizer {
 public:
  Result<std::vector<int>> encode_marked(std::string_view text, std::span<const ByteRange>,
                                         bool add_special, bool) const override {
    std::vector<int> tokens;
    if (add_special) tokens.push_back(kBos);
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::string_view token_bytes(int id, bool show_special) const override {
    static const std::string bytes = [] {
      std::string all;
      for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
      return all;
    }();
    if (id >= 0 && id < 256) return std::string_view(bytes).substr(static_cast<std::size_t>(id), 1);
    if (!show_special) return "";
    return id == kEos ? "<eos>" : id == kBos ? "<bos>" : "";
  }
  int vocab_size() const override { return kVocabulary; }
  bool is_special(int id) const override { return id >= 256; }
  int token_id(std::string_view token) const override { return token == "<bos>" ? kBos : -1; }
  std::size_t longest_token_bytes() const override { return 1; }
  bool strips_leading_space() const override { return false; }
};

class PlainTemplate : public ChatTemplate {
 public:
  // The messages as they are.
  Result<RenderedChat> render(std::string_view document, bool) const override {
    document.remove_prefix(std::string_view(R"({"messages":)").size());
    document.remove_suffix(1);
    return RenderedChat{std::string(document), {{0, document.size()}}};
  }
};

class WholeServer : public ::testing::Test {
 protected:
  ~WholeServer() override {
    server_.reset();
    api_.reset();
  }

  void start(EngineOptions engine = {}, double step_seconds = 0) {
    FakeOptions fake;
    fake.before_step = [step_seconds](const Batch&, std::uint64_t) {
      if (step_seconds > 0)
        std::this_thread::sleep_for(std::chrono::duration<double>(step_seconds));
    };
    start(engine, fake);
  }
  void start(const EngineOptions& engine, FakeOptions fake) {
    fake.vocab_size = kVocabulary;
    fake.context_length = 512;
    fake.pooled_size = 4;
    PooledModel pooled;
    pooled.model.id = "org/bytes";
    pooled.model.fingerprint = "mlxd-test";
    pooled.model.tokenizer = std::make_shared<ByteTokenizer>();
    pooled.model.chat_template = std::make_unique<PlainTemplate>();
    pooled.model.stop_ids = {kEos};
    pooled.model.card.pooled.emplace();
    pooled.pinned = true;
    pooled.load = [this, engine, fake](const LoadProgress&) {
      return std::make_unique<Engine>(
          engine, [fake] { return std::make_unique<FakeRunner>(fake); },
          metrics_.engine_observer());
    };
    std::vector<PooledModel> models;
    models.push_back(std::move(pooled));
    pool_.start(std::move(models), 0);
    model_ = *pool_.lease("org/bytes");
    api_ = std::make_unique<Api>(options_, metrics_, pool_);
    if (dialect_) api_->add(std::move(dialect_));
    http::Router router;
    api_->mount(router);
    router.add("GET", "/", Api::index(router), http::Key::none);
    if (more_routes_) more_routes_(router);
    http_.port = 0;
    http_.api_keys = keys_;
    http_.error_body = api_->http_error_body();
    server_ = std::make_unique<http::Server>(http_, std::move(router));
  }

  http::Answer ask(const std::string& bytes, double seconds = 20) {
    http::RawClient client(server_->port());
    EXPECT_TRUE(client.send(bytes));
    return client.read_answer(false, seconds);
  }
  http::Answer post(const std::string& path, const std::string& members) {
    return ask(http::post(path, R"({"model":"org/bytes",)" + members + "}"));
  }
  bool becomes_idle() {
    for (int i = 0; i < 1000; ++i) {
      const auto stats = model_->engine->stats();
      if (stats.live_requests == 0 && stats.running_sequences == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  Metrics metrics_;
  ApiOptions options_;
  http::ServerOptions http_;
  std::vector<std::string> keys_;
  std::unique_ptr<Dialect> dialect_;  // one more than the server's own
  std::function<void(http::Router&)> more_routes_;
  ModelPool pool_;
  ModelLease model_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace mlxd::api
