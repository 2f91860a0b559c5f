// What a client does with a stream: frames to JSON, chunks to the choices of a whole answer.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace mlxd::api {

// The JSON of a stream's `data:` frames, without [DONE]; fails the shape silently by leaving out
// what is no frame, so tests also compare counts.
inline std::vector<boost::json::value> data_frames(std::string_view stream) {
  std::vector<boost::json::value> frames;
  while (!stream.empty()) {
    const auto end = stream.find("\n\n");
    const auto frame = stream.substr(0, end);
    stream.remove_prefix(end == std::string_view::npos ? stream.size() : end + 2);
    if (frame.substr(0, 6) != "data: " || frame == "data: [DONE]") continue;
    frames.push_back(boost::json::parse({frame.data() + 6, frame.size() - 6}));
  }
  return frames;
}

inline std::string text_of(const boost::json::value& value) {
  const auto& text = value.as_string();
  return {text.data(), text.size()};
}

// What a client makes of a stream: the choices of a non-streamed answer.
inline boost::json::value put_together(const std::vector<boost::json::value>& chunks, bool chat,
                                       int choices) {
  boost::json::array out;
  for (int i = 0; i < choices; ++i) {
    boost::json::object one{{"index", i}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
    one[chat ? "message" : "text"] = "";
    out.push_back(one);
  }
  std::map<int, std::string> texts;
  for (const auto& chunk : chunks) {
    for (const auto& choice_value : chunk.at("choices").as_array()) {
      const auto index = static_cast<std::size_t>(choice_value.at("index").as_int64());
      auto& one = out.at(index).as_object();
      const auto& from = choice_value.as_object();
      if (chat) {
        if (const auto* content = from.at("delta").as_object().if_contains("content")) {
          texts[static_cast<int>(index)] += text_of(*content);
        }
      } else {
        texts[static_cast<int>(index)] += text_of(from.at("text"));
      }
      if (!from.at("finish_reason").is_null()) one["finish_reason"] = from.at("finish_reason");
      if (from.at("logprobs").is_null()) continue;
      if (one["logprobs"].is_null()) {
        one["logprobs"] = from.at("logprobs");
        continue;
      }
      for (const auto& [key, more] : from.at("logprobs").as_object()) {
        if (!more.is_array()) continue;
        auto& list = one["logprobs"].as_object()[key].as_array();
        list.insert(list.end(), more.as_array().begin(), more.as_array().end());
      }
    }
  }
  for (int i = 0; i < choices; ++i) {
    auto& one = out.at(static_cast<std::size_t>(i)).as_object();
    if (chat) {
      one["message"] = {{"role", "assistant"}, {"content", texts[i]}, {"refusal", nullptr}};
    } else {
      one["text"] = texts[i];
    }
  }
  return out;
}

// An answer without tokens has empty lists of log-probabilities, or none when it was streamed.
inline void forget_empty_logprobs(boost::json::value& choices) {
  for (auto& one : choices.as_array()) {
    auto& logprobs = one.as_object()["logprobs"];
    if (logprobs.is_null()) continue;
    const auto* content = logprobs.as_object().if_contains("content");
    const auto* tokens = logprobs.as_object().if_contains("tokens");
    const auto& list = content != nullptr ? content->as_array() : tokens->as_array();
    if (list.empty()) logprobs = nullptr;
  }
}

}  // namespace mlxd::api
