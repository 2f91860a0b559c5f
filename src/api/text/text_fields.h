#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "api/parameter_rules.h"
#include "api/request_parts.h"
#include "base/error.h"

namespace mlxd::api {

// What a question about a text says, in either server's words.
struct TextFields : UnknownKeys {
  std::string model = "default";
  std::optional<std::string> text;         // `content`, `prompt`
  std::optional<std::vector<int>> tokens;  // of any size, each at least 0
  std::optional<bool> add_special;         // `add_special`, `add_special_tokens`
  bool parse_special = true;
  bool pieces = false;  // `with_pieces`, `return_token_strs`
};

enum class TextQuestion { tokenize_content, tokenize_prompt, detokenize, tokenizer_info };

// The keys of one question, each in one row.
std::span<const ParameterRow<TextFields>> text_parameters(TextQuestion question);

Result<TextFields> read_text_fields(const boost::json::object& body, TextQuestion question,
                                    bool lenient);

}  // namespace mlxd::api
