#include "serve/parsers/answer_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "serve/parsers/tool_formats.h"

namespace mlxd {
namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

constexpr std::array kToolFormats = {
    ToolFormat{"hermes", [](std::string_view text) { return has(text, "<tool_call>"); },
               read_hermes},
};

constexpr std::array kReasoningFormats = {
    ReasoningFormat{"think", {"<think>", "</think>"}},
};

template <class Formats>
auto named(const Formats& formats, std::string_view name) -> decltype(&formats[0]) {
  const auto found = std::ranges::find_if(formats, [&](const auto& f) { return f.name == name; });
  return found == formats.end() ? nullptr : &*found;
}

template <class Formats>
std::vector<std::string> names_of(const Formats& formats) {
  std::vector<std::string> names;
  for (const auto& format : formats) names.emplace_back(format.name);
  names.emplace_back("none");
  return names;
}

class FormatParser final : public AnswerParser {
 public:
  FormatParser(const AnswerFormat& format, std::shared_ptr<const Tokenizer> tokenizer,
               const AnswerContext& context)
      : format_(format),
        tokenizer_(std::move(tokenizer)),
        tools_(context.tools),
        reader_(*tokenizer_, *tools_),
        grammar_(read(context.in_reasoning)) {
    grammar_.start(reader_);
  }

  void add(int token, std::string_view text, std::vector<ParsedText>& out) override {
    reader_.add(token, text, out);
  }
  void end(std::string_view text, std::vector<ParsedText>& out) override { reader_.end(text, out); }
  bool in_call() const override { return reader_.in_call(); }

 private:
  Parse<> read(bool in_reasoning) {
    if (format_.reasoning != nullptr) {
      co_await read_reasoning(reader_, format_.reasoning->marks, in_reasoning);
    }
    if (format_.tools != nullptr && !tools_->empty()) co_await format_.tools->read(reader_);
    co_await pass_until(reader_, AnswerChannel::content, {});
  }

  const AnswerFormat format_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const std::shared_ptr<const DeclaredTools> tools_;
  AnswerReader reader_;
  Parse<> grammar_;
};

}  // namespace

std::vector<std::string> tool_parser_names() { return names_of(kToolFormats); }
std::vector<std::string> reasoning_parser_names() { return names_of(kReasoningFormats); }

AnswerFormat answer_format_of(std::string_view chat_template, const ParserNames& names) {
  AnswerFormat format;
  if (!names.tools.empty()) {
    format.tools = named(kToolFormats, names.tools);
  } else {
    const auto known = std::ranges::find_if(
        kToolFormats, [&](const ToolFormat& f) { return f.is_written_by(chat_template); });
    format.tools = known == kToolFormats.end() ? named(kToolFormats, "hermes") : &*known;
  }
  if (!names.reasoning.empty()) {
    format.reasoning = named(kReasoningFormats, names.reasoning);
  } else {
    const auto known = std::ranges::find_if(kReasoningFormats, [&](const ReasoningFormat& f) {
      return has(chat_template, f.marks.close);
    });
    format.reasoning = known == kReasoningFormats.end() ? nullptr : &*known;
  }
  return format;
}

std::unique_ptr<AnswerParser> make_answer_parser(const AnswerFormat& format,
                                                 std::shared_ptr<const Tokenizer> tokenizer,
                                                 const AnswerContext& context) {
  return std::make_unique<FormatParser>(format, std::move(tokenizer), context);
}

}  // namespace mlxd
