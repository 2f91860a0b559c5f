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
  explicit LoadedTemplate(TextkitTemplate chat_template) : template_(std::move(chat_template)) {}

  Result<RenderedChat> render(std::string_view document) const override {
    TextkitText text, error;
    textkit_ranges client{};
    switch (textkit_template_render(template_.get(), view_of(document), text.out(), &client,
                                    error.out())) {
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
  const TextkitTemplate template_;
};

}  // namespace

std::unique_ptr<const ChatTemplate> ChatTemplate::load(const Vocabulary& vocabulary) {
  if (vocabulary.chat_template.empty()) return nullptr;
  std::map<std::string, std::string> tokens = vocabulary.special_tokens;
  tokens.try_emplace("bos_token", vocabulary.bos_token);
  tokens.try_emplace("eos_token", vocabulary.eos_token);
  std::vector<textkit_named_text> named;
  for (const auto& [name, text] : tokens) named.push_back({view_of(name), view_of(text)});
  TextkitText error;
  TextkitTemplate chat_template(textkit_template_new(view_of(vocabulary.chat_template),
                                                     named.data(), named.size(), &format_local_time,
                                                     error.out()));
  if (!chat_template) {
    throw LoadError(
        fmt::format("{}: the chat template does not parse: {}", vocabulary.source, error.str()));
  }
  return std::make_unique<LoadedTemplate>(std::move(chat_template));
}

}  // namespace mlxd
