#include "text/chat_template.h"

#include <ctime>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlxd {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<const ChatTemplate> load(std::string source) {
  Vocabulary vocabulary;
  vocabulary.source = "model.gguf";
  vocabulary.chat_template = std::move(source);
  vocabulary.bos_token = "<s>";
  vocabulary.eos_token = "</s>";
  return ChatTemplate::load(vocabulary);
}

std::string render(const std::string& source, std::string_view messages) {
  const auto chat = load(source)->render("{\"messages\":" + std::string(messages) + "}");
  return chat ? chat->text : "error: " + chat.error().message;
}

constexpr std::string_view kHello = R"([{"role":"user","content":"Hello"}])";

TEST(ChatTemplate, RendersMessagesAndBeginsTheAnswer) {
  const std::string chatml =
      "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
      "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
  EXPECT_EQ(render(chatml, kHello), "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, KnowsTheModelsTokensAndThatThereAreNoTools) {
  EXPECT_EQ(render("{{ bos_token }}{% if not tools %}-{% endif %}{{ eos_token }}", "[]"),
            "<s>-</s>");
}

TEST(ChatTemplate, AnotherOneOfTheModelsIsForChatsWithTools) {
  Vocabulary vocabulary;
  vocabulary.chat_template = "plain";
  vocabulary.tool_use_template = "{{ tools[0].function.name }}";
  const auto chat_template = ChatTemplate::load(vocabulary);
  EXPECT_EQ(chat_template->render(R"({"messages":[]})")->text, "plain");
  const auto with_tools = chat_template->render(
      R"({"messages":[],"tools":[{"type":"function","function":{"name":"f"}}]})", true);
  EXPECT_EQ(with_tools->text, "f");
  vocabulary.tool_use_template = "{% if %}";
  EXPECT_THROW(ChatTemplate::load(vocabulary), LoadError);
}

TEST(ChatTemplate, BlocksTakeTheirLineWithThem) {
  EXPECT_EQ(render("{% if true %}\n  x\n  {% endif %}\ny", "[]"), "  x\ny");
}

TEST(ChatTemplate, HasPythonsMethods) {
  EXPECT_EQ(render("{{ 'a</think> b '.split('</think>')[-1].strip() }}", "[]"), "b");
  EXPECT_EQ(render("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", kHello),
            "role=user;content=Hello;");
  EXPECT_EQ(render("{{ 'ab'.startswith('a') }}{{ none }}", "[]"), "TrueNone");
}

TEST(ChatTemplate, WritesJsonAsPythonDoes) {
  EXPECT_EQ(
      render("{{ messages|tojson }}", "[{\"content\":\"<\xC3\xA9'&\\n>\",\"role\":\"user\"}]"),
      "[{\"content\": \"<\xC3\xA9'&\\n>\", \"role\": \"user\"}]");
}

TEST(ChatTemplate, KnowsTheDate) {
  char year[8];
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::strftime(year, sizeof year, "%Y", &local);
  EXPECT_EQ(render("{{ strftime_now('%Y') }}", "[]"), year);
  EXPECT_EQ(render("{{ strftime_now('%999999999Y') }}|", "[]"), "|");
}

TEST(ChatTemplate, ItsOwnWordsAreTheError) {
  const auto text =
      load("{{ raise_exception('Roles must alternate!') }}")->render(R"({"messages":[]})");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().status, 400);
  EXPECT_EQ(text.error().param, "messages");
  EXPECT_THAT(text.error().message, HasSubstr("Roles must alternate!"));
}

TEST(ChatTemplate, EndlessWorkAndOutputAreRefused) {
  EXPECT_THAT(
      render("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
             "[]"),
      HasSubstr("too much work"));
  EXPECT_THAT(render("{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}", "[]"),
              HasSubstr("error"));
}

TEST(ChatTemplate, OneThatDoesNotParseIsALoadError) {
  EXPECT_THROW(load("{% for %}"), LoadError);
  EXPECT_THROW(load(std::string(1 << 20, 'x')), LoadError);
  EXPECT_EQ(load(""), nullptr);
}

}  // namespace
}  // namespace mlxd
