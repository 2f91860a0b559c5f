// The functions that a request declares, in any dialect: as chat templates, parsers and grammars
// want them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include "api/request_parts.h"
#include "base/error.h"
#include "serve/declared_tools.h"
#include "serve/request.h"

namespace mlxd::api {

inline constexpr int kMaxTools = 256;
inline constexpr std::size_t kMaxToolName = 128;

class ToolList {
 public:
  struct Function {
    std::string_view name;
    std::string_view description = {};               // "": none
    const boost::json::value* parameters = nullptr;  // a JSON schema; null: takes none
    bool strict = false;
  };
  // `place` is where the client wrote it, for errors: "tools[3]". A name is 1 to kMaxToolName
  // letters, digits, or any of _ - . /, and no other function's.
  Result<void> add(const Function& function, const std::string& place);

  // One as OpenAI writes it: {"name", "description", "parameters"}, and "strict" where the dialect
  // has that. Other keys are `keys`' to refuse.
  Result<void> read(const boost::json::value& value, const std::string& place, bool has_strict,
                    UnknownKeys& keys);

  bool empty() const { return tools_.empty(); }
  // Into `tools` and `tools_json`, for the template in the form and the order of keys that
  // transformers gives. Once; of an empty list nothing.
  void put_into(ChatPrompt& chat);

 private:
  boost::json::array tools_;
  std::shared_ptr<DeclaredTools> declared_ = std::make_shared<DeclaredTools>();
};

}  // namespace mlxd::api
