#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/vocabulary.h"
#include "text/rendered_chat.h"

namespace mlxd {

// A model's Jinja chat template, rendered as transformers renders it with Jinja2, byte for byte.
// Untrusted: work, memory and output are bounded, in proportion to the conversation. Immutable; any
// thread may render.
class ChatTemplate {
 public:
  // Null for a model without a template. Throws LoadError, with the line, when it does not parse.
  static std::unique_ptr<const ChatTemplate> load(const Vocabulary& vocabulary);
  virtual ~ChatTemplate() = default;

  // `document`: a JSON object with `messages` (as OpenAI's wire has them: content a string, text
  // parts or null; a tool call's arguments JSON in a string) and, where wanted, `tools`,
  // `documents`, `add_generation_prompt` (default true: the assistant's turn is begun),
  // `continue_final_message` (the text ends with the last message's words),
  // `chat_template_kwargs`, an object of further variables, and `tools_in_words` (default false:
  // true tells the model of tools in the messages where the template knows none). Messages are
  // brought to the form that this template reads. `has_tools`: a model with a template of its own
  // for tools takes that. Errors: 400 with the template's own words (raise_exception) or its line
  // and what is wrong there; 500 for a fault of ours.
  virtual Result<RenderedChat> render(std::string_view document, bool has_tools = false) const = 0;
};

}  // namespace mlxd
