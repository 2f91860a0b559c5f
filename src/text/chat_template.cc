#include "text/chat_template.h"

#include <ctime>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "text/textkit_string.h"

namespace mlxd {
namespace {

struct FreeTemplate {
  void operator()(textkit_template* chat_template) const { textkit_template_free(chat_template); }
};
struct FreeRanges {
  void operator()(const textkit_ranges* ranges) const { textkit_ranges_free(*ranges); }
};
using TextkitTemplate = std::unique_ptr<textkit_template, FreeTemplate>;

std::size_t format_local_time(const char* format, char* out, std::size_t capacity) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  if (localtime_r(&now, &local) == nullptr) return 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  return std::strftime(out, capacity, format, &local);
#pragma GCC diagnostic pop
}

class LoadedTemplate final : public ChatTemplate {
 public:
  // `with_tools` may be null.
  LoadedTemplate(TextkitTemplate chat_template, TextkitTemplate with_tools)
      : template_(std::move(chat_template)), with_tools_(std::move(with_tools)) {}

  Result<RenderedChat> render(std::string_view document, bool has_tools) const override {
    const textkit_template* const chosen =
        has_tools && with_tools_ ? with_tools_.get() : template_.get();
    TextkitText text, error;
    textkit_ranges client{};
    switch (textkit_template_render(chosen, view_of(document), text.out(), &client, error.out())) {
      case TEXTKIT_DONE: {
        const std::unique_ptr<textkit_ranges, FreeRanges> owner(&client);
        RenderedChat chat{text.str(), {}};
        const std::span<const textkit_range> ranges(client.data, client.size);
        chat.client.reserve(ranges.size());
        for (const textkit_range& range : ranges) chat.client.push_back({range.begin, range.end});
        return chat;
      }
      case TEXTKIT_REFUSED:
        return Error{.code = "chat_template_error",
                     .param = "messages",
                     .message = fmt::format("The model's chat template refuses these messages: {}",
                                            error.str())};
      case TEXTKIT_FAULT:
        break;
    }
    return Error{
        .status = 500,
        .code = "internal_error",
        .param = "",
        .message = fmt::format("The chat template could not be rendered: {}", error.str())};
  }

 private:
  const TextkitTemplate template_, with_tools_;
};

// Throws LoadError.
TextkitTemplate load_source(const std::string& source, const Vocabulary& vocabulary) {
  std::map<std::string, std::string> tokens = vocabulary.special_tokens;
  tokens.try_emplace("bos_token", vocabulary.bos_token);
  tokens.try_emplace("eos_token", vocabulary.eos_token);
  std::vector<textkit_named_text> named;
  for (const auto& [name, text] : tokens) named.push_back({view_of(name), view_of(text)});
  TextkitText error;
  TextkitTemplate chat_template(textkit_template_new(view_of(source), named.data(), named.size(),
                                                     &format_local_time, error.out()));
  if (!chat_template) {
    throw LoadError(
        fmt::format("{}: the chat template does not parse: {}", vocabulary.source, error.str()));
  }
  return chat_template;
}

}  // namespace

std::unique_ptr<const ChatTemplate> ChatTemplate::load(const Vocabulary& vocabulary) {
  if (vocabulary.chat_template.empty()) return nullptr;
  TextkitTemplate with_tools;
  if (!vocabulary.tool_use_template.empty()) {
    with_tools = load_source(vocabulary.tool_use_template, vocabulary);
  }
  return std::make_unique<LoadedTemplate>(load_source(vocabulary.chat_template, vocabulary),
                                          std::move(with_tools));
}

}  // namespace mlxd
