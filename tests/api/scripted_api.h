// The handlers of an Api on one scripted model, with exchanges in memory.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "api/api.h"
#include "api/fakes.h"
#include "api/metrics.h"

namespace mlxd::api {

// An Api on one scripted model; `run` drives one exchange to its end.
class ScriptedApi : public ::testing::Test {
 protected:
  ScriptedApi() {
    auto model = std::make_shared<FakeModel>();
    model_ = model.get();
    options_.keep_alive_seconds = 0.02;
    options_.version = "1.2.3";
    models_.push_back(std::move(model));
  }

  Api& api() {
    if (!api_) {
      api_ = std::make_unique<Api>(options_, metrics_, std::move(models_));
      api_->mount(router_);
    }
    return *api_;
  }

  std::shared_ptr<FakeExchange> start(const std::string& method, const std::string& path,
                                      const std::string& body = "") {
    api();
    auto exchange = std::make_shared<FakeExchange>(io_, method, path, body);
    exchange->request_.caller = caller_;
    exchange->request_.headers = headers_;
    const auto match = router_.match(method, path);
    EXPECT_NE(match.handler, nullptr) << path;
    runs_.push_back(std::make_unique<HandlerRun>(io_, (*match.handler)(*exchange),
                                                 [this, exchange] { ++ended_; }));
    return exchange;
  }
  void finish() {
    io_.restart();
    io_.run_for(std::chrono::seconds(5));
  }
  std::shared_ptr<FakeExchange> run(const std::string& method, const std::string& path,
                                    const std::string& body = "") {
    auto exchange = start(method, path, body);
    const int before = ended_;
    finish();
    EXPECT_EQ(ended_, before + 1) << "the handler did not end";
    return exchange;
  }
  std::shared_ptr<FakeExchange> post(const std::string& path, const std::string& body) {
    return run("POST", path, body);
  }
  // The run of a prompt whose handler waits for events.
  std::shared_ptr<FakeRun> wait_for_run(std::size_t index) {
    for (int i = 0; i < 500; ++i) {
      io_.restart();
      io_.run_for(std::chrono::milliseconds(5));
      auto run = model_->run(index);
      if (!run) continue;
      std::lock_guard lock(run->mutex);
      if (run->read) return run;
    }
    ADD_FAILURE() << "the prompt was not submitted and read from";
    return nullptr;
  }
  std::string scrape() { return run("GET", "/metrics")->response_.body; }

  boost::asio::io_context io_;
  std::vector<std::unique_ptr<HandlerRun>> runs_;
  Metrics metrics_;
  http::Router router_;
  ApiOptions options_;
  FakeModel* model_ = nullptr;
  std::vector<std::shared_ptr<TextModel>> models_;
  std::unique_ptr<Api> api_;
  std::uint64_t caller_ = 0;
  http::Headers headers_;  // of the requests to come
  int ended_ = 0;
};

}  // namespace mlxd::api
