// Requests of /v1/responses, read from the wire for tests.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

#include "api/fakes.h"
#include "api/generation/model_directory.h"
#include "api/responses/parse_request.h"

namespace mlxd::api::responses {

namespace json = boost::json;

inline Result<Request> parse_body(const std::string& body,
                                  std::shared_ptr<ResponseStore> store = nullptr,
                                  ParseOptions options = {}) {
  static const ModelDirectory models = [] {
    std::vector<std::shared_ptr<TextModel>> list;
    list.push_back(std::make_shared<FakeModel>());
    return ModelDirectory(std::move(list));
  }();
  if (!store) store = std::make_shared<ResponseStore>();
  return parse_request(body, options, models, store, 7);
}

inline Result<Request> parse(const std::string& members) {
  return parse_body(R"({"model":"tiny",)" + members + "}");
}
// With a plain input.
inline Result<Request> parse_with(const std::string& members) {
  return parse(R"("input":"x",)" + members);
}

inline ChatPrompt prompt_in(const Result<Request>& request, std::string_view said) {
  EXPECT_TRUE(request) << said << ": " << (request ? "" : request.error().message);
  return request ? std::get<ChatPrompt>(request->parsed.prompts.at(0)) : ChatPrompt{};
}

inline json::value messages_of(const std::string& members) {
  return json::parse(prompt_in(parse(members), members).messages_json);
}
inline json::value messages_of_items(const std::string& items) {
  return messages_of(R"("input":[)" + items + "]");
}

inline Error error_of(const std::string& members) {
  const auto request = parse(members);
  EXPECT_FALSE(request) << members;
  return request ? Error{} : request.error();
}

}  // namespace mlxd::api::responses
