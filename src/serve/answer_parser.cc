#include "serve/answer_parser.h"

namespace mlxd {
namespace {

class ContentParser final : public AnswerParser {
 public:
  void add(int, std::string_view text, std::vector<ParsedText>& out) override { pass(text, out); }
  void end(std::string_view text, std::vector<ParsedText>& out) override { pass(text, out); }

 private:
  static void pass(std::string_view text, std::vector<ParsedText>& out) {
    if (!text.empty()) out.push_back({AnswerChannel::content, -1, std::string(text), text.size()});
  }
};

}  // namespace

std::unique_ptr<AnswerParser> make_content_parser() { return std::make_unique<ContentParser>(); }

}  // namespace mlxd
