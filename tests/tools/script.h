// tests/tools: what the model of scripted_server says. A script is JSON:
//
//   {"turns": [{"prompt": ["\"name\": \"Write\""], "last": ["make a file"], "say":
//   "<tool_call>..."}],
//    "otherwise": "Done."}
//
// The first turn answers whose `prompt` texts all are in the prompt, as the template wrote it, and
// whose `last` texts all are in its last message. So an answer depends on its prompt alone, and
// what a client asks beside its task (titles, topics, retries) does not shift the turns. What is
// said is the model's own text, marks of calls and of reasoning included.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace mlxd::testing {

class Script {
 public:
  // `opening` is what the template writes between a prompt and its answer. Throws
  // std::runtime_error that says what is wrong with `json`.
  Script(std::string_view json, std::string opening);

  // What is answered to a prompt that ends before its last `opening`.
  const std::string& answer_to(std::string_view prompt) const;

  // The token that follows these, special ones written out; -1 where the answer is over. What came
  // of the answer so far is compared as text, since a grammar may have forced other tokens of it;
  // std::runtime_error where it is no part of the script, as when a grammar forbids what is
  // written.
  int next(const Tokenizer& tokenizer, std::span<const int> history) const;

 private:
  struct Turn {
    std::vector<std::string> prompt;
    std::vector<std::string> last;
    std::string say;
  };
  std::vector<Turn> turns_;
  std::string otherwise_;
  std::string opening_;
};

}  // namespace mlxd::testing
