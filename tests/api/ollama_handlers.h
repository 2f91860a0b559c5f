// Ollama's API on a scripted model: bodies, and lines of answers.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>

#include "api/scripted_api.h"

namespace mlxd::api {

inline constexpr auto kChat = "/api/chat";
inline constexpr auto kGenerate = "/api/generate";

inline std::string chat_body(const std::string& more = "") {
  return R"({"model":"tiny","messages":[{"role":"user","content":"x"}])" + more + "}";
}
inline std::string generate_body(const std::string& more = "") {
  return R"({"model":"tiny","prompt":"x")" + more + "}";
}

inline TextDelta in_channel(AnswerChannel channel, std::string text, int call = -1) {
  TextDelta delta = piece(std::move(text));
  delta.channel = channel;
  delta.call = call;
  return delta;
}

inline std::vector<boost::json::value> lines_of(const std::string& stream) {
  std::vector<boost::json::value> lines;
  std::size_t begin = 0;
  while (begin < stream.size()) {
    const auto end = stream.find('\n', begin);
    EXPECT_NE(end, std::string::npos) << "a line without an end";
    if (end == std::string::npos) break;
    lines.push_back(boost::json::parse(stream.substr(begin, end - begin)));
    begin = end + 1;
  }
  return lines;
}

class OllamaHandlers : public ScriptedApi {
 protected:
  std::vector<GenerationEvent> hello() {
    return {piece("Hel"), piece("lo"), sample_end(), generation_end(5, 7)};
  }
  // The request that the model got of a body that is accepted.
  GenerateRequest accepted(const std::string& path, const std::string& body) {
    model_->play(hello());
    const auto exchange = post(path, body);
    EXPECT_TRUE(exchange->streaming_ || exchange->response_.status == 200)
        << body << exchange->response_.body;
    const auto run = model_->run(runs_taken_++);
    EXPECT_NE(run, nullptr) << body;
    return run ? run->request : GenerateRequest{};
  }
  std::string messages(const std::string& messages, const std::string& more = "") {
    const auto request = accepted(kChat, R"({"model":"tiny","messages":)" + messages + more + "}");
    return std::get<ChatPrompt>(request.prompt).messages_json;
  }
  std::string refusal(const std::string& path, const std::string& body, int status = 400) {
    const auto exchange = post(path, body);
    EXPECT_EQ(exchange->response_.status, status) << body;
    const auto error = boost::json::parse(exchange->response_.body);
    EXPECT_EQ(error.as_object().size(), 1u);
    return std::string(error.at("error").as_string());
  }

  std::size_t runs_taken_ = 0;
};

}  // namespace mlxd::api
