#pragma once

#include <memory>
#include <string_view>

#include <boost/json/object.hpp>

#include "api/generation/model_directory.h"
#include "base/error.h"
#include "serve/request.h"

namespace mlxd::api {

struct ChatQuestion {
  LeasedModel model;
  ChatPrompt chat;
};

// The chat of a body that has /v1/chat/completions' parameters, every one checked as there.
Result<ChatQuestion> read_chat_question(const boost::json::object& body, bool lenient,
                                        const ModelDirectory& models);

}  // namespace mlxd::api
