#include "text/chat_template.h"

#include <ctime>
#include <utility>

#include <fmt/format.h>

#include "text/textkit_string.h"

namespace mlxd {
namespace {

struct FreeTemplate {
  void operator()(textkit_template* chat_template) const { textkit_template_free(chat_template); }
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

  Result<std::string> render(std::string_view messages_json) const override {
    TextkitText text, error;
    if (textkit_template_render(template_.get(), view_of(messages_json), text.out(), error.out())) {
      return text.str();
    }
    return Error{.code = "chat_template_error",
                 .param = "messages",
                 .message = fmt::format("The model's chat template refuses these messages: {}",
                                        error.str())};
  }

 private:
  const TextkitTemplate template_;
};

}  // namespace

std::unique_ptr<const ChatTemplate> ChatTemplate::load(const Vocabulary& vocabulary) {
  if (vocabulary.chat_template.empty()) return nullptr;
  TextkitText error;
  TextkitTemplate chat_template(
      textkit_template_new(view_of(vocabulary.chat_template), view_of(vocabulary.bos_token),
                           view_of(vocabulary.eos_token), &format_local_time, error.out()));
  if (!chat_template) {
    throw LoadError(
        fmt::format("{}: the chat template does not parse: {}", vocabulary.source, error.str()));
  }
  return std::make_unique<LoadedTemplate>(std::move(chat_template));
}

}  // namespace mlxd
