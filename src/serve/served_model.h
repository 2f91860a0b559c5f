#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "serve/after_reasoning.h"
#include "serve/answer_parser.h"
#include "serve/encoded_chats.h"
#include "serve/grammars.h"
#include "serve/parsers/answer_format.h"
#include "serve/text_model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace mlxd {

// A model of this process: its tokeniser, template and parser, and while it is loaded (a ModelLease
// of models/ sees to that) its engine.
struct ServedModel final : TextModel {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<const ChatTemplate> chat_template;  // null: completions only
  // Of chats. A completion's text is the model's own from end to end, and all content.
  MakeAnswerParser make_parser = [](const AnswerContext&) { return make_content_parser(); };
  ConstrainCalls constrain_calls;  // null: no format of calls
  bool tools_in_words = true;  // of a template that knows none; as a parser of Hermes' form reads
  std::string reasoning_mark;  // with which a template may begin the reasoning; "": none
  ReasoningTokens reasoning_tokens;
  std::vector<int> stop_ids;
  std::unique_ptr<EncodedChats> encoded_chats;  // null: chats are encoded anew each time
  std::unique_ptr<Grammars> grammars;           // null: the model has no token that ends an answer
  std::unique_ptr<Engine> engine;

  const RunnerInfo& info() const override { return engine->info(); }
  EngineStats stats() const override { return engine->stats(); }
  Result<std::vector<int>> tokens_of(const Prompt& prompt) const override;
  Result<std::vector<int>> encode(std::string_view text, bool add_special,
                                  bool parse_special) const override;
  std::string decode(std::span<const int> tokens) const override;
  std::string bytes_of(int token) const override;
  Result<std::string> render(const ChatPrompt& chat) const override;
  Result<std::unique_ptr<Generation>> start(GenerateRequest request,
                                            std::function<void()> on_ready) override;
  Result<std::unique_ptr<Generation>> embed(EmbedRequest request,
                                            std::function<void()> on_ready) override;
};

}  // namespace mlxd
