#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/declared_tools.h"
#include "serve/text_delta.h"

namespace mlxd {

// A stretch of an answer as a parser read it. `text` is what it says, which need not be what the
// model wrote: of markup it is nothing, and arguments may be put into another form. `read` is how
// many bytes of the model's text it stands for, so that tokens keep their places.
struct ParsedText {
  AnswerChannel channel = AnswerChannel::content;
  int call = -1;  // as TextDelta's
  std::string text;
  std::size_t read = 0;
};

// Tells an answer's channels apart, by the marks that a model family writes between them. One
// choice, one thread. Its place in the path of an answer:
//
//   tokens -> text (Detokenizer) -> AnswerParser -> stop strings, in content alone -> TextDelta
//
// What every parser promises:
// - Nothing is swallowed: what it cannot read is content, as the model wrote it. Only markup that
//   it understood is left out.
// - It holds back no more than may yet turn out to be a mark.
// - What it reads does not depend on where the text is cut.
// - The `read` of all that it gives, `end` included, add up to the text that it was given.
class AnswerParser {
 public:
  virtual ~AnswerParser() = default;
  // `text`: the whole characters that came out with this token. "" for a control token, which is
  // known by its id; the text of others may be late, as characters may take several tokens.
  virtual void add(int token, std::string_view text, std::vector<ParsedText>& out) = 0;
  // The answer is over: `text` is the last of it, which no token completed.
  virtual void end(std::string_view text, std::vector<ParsedText>& out) = 0;
  // A call has begun whose arguments are not whole yet.
  virtual bool in_call() const { return false; }
};

// What a parser has to know of a request beside the answer.
struct AnswerContext {
  std::shared_ptr<const DeclaredTools> tools;  // never null; without any, nothing is a call
  bool in_reasoning = false;                   // the prompt has opened the block of reasoning
  bool calls_are_held = false;                 // to a grammar, once they have begun
  bool all_is_calls = false;                   // ... from the start: there is no content
};

// A model's own, chosen when it is loaded; called once a choice. Any thread.
using MakeAnswerParser = std::function<std::unique_ptr<AnswerParser>(const AnswerContext&)>;

// All is content.
std::unique_ptr<AnswerParser> make_content_parser();

}  // namespace mlxd
