#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/vocabulary.h"

namespace mlxd {

// A model's Jinja chat template. Untrusted: instruction fuel and output size are bounded.
// Immutable; any thread may render.
class ChatTemplate {
 public:
  // Null for a model without a template. Throws LoadError when the template does not parse.
  static std::unique_ptr<const ChatTemplate> load(const Vocabulary& vocabulary);
  virtual ~ChatTemplate() = default;

  // `messages_json`: a JSON array of {"role", "content", ...}, content a string. The result is the
  // prompt's text, with special tokens written out and the turn of the assistant begun. An error of
  // the template (raise_exception, fuel, size) is a 400 with the template's own words.
  virtual Result<std::string> render(std::string_view messages_json) const = 0;
};

}  // namespace mlxd
