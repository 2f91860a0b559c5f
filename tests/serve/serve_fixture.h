#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/fake/fake_runner.h"
#include "serve/served_model.h"
#include "text/small_vocabulary.h"

namespace mlxd::testing {

// A vocabulary of the 256 bytes with <|im_start|> (256), <|im_end|> (257, ends a turn) and <s>
// (258, bos); and a template in ChatML.
inline Vocabulary chat_vocabulary() {
  Vocabulary vocabulary = byte_level_vocabulary();
  vocabulary.tokens.push_back("<s>");
  vocabulary.types.push_back(3);
  vocabulary.bos = 258;
  vocabulary.bos_token = "<s>";
  vocabulary.stop_ids = {257};
  vocabulary.chat_template =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
      "{% endfor %}{{ '<|im_start|>assistant\\n' }}";
  return vocabulary;
}

constexpr int kContext = 256;

// Serves a model whose answer to every prompt is `script`, byte by byte, then <|im_end|>. The
// answer begins after the prompt, whose length is learnt from the first step.
inline std::unique_ptr<ServedModel> serve(const Vocabulary& vocabulary, FakeOptions fake,
                                          int kv_blocks = 512) {
  auto model = std::make_unique<ServedModel>();
  model->id = "test-model";
  model->tokenizer = Tokenizer::load(vocabulary);
  model->chat_template = ChatTemplate::load(vocabulary);
  model->stop_ids = vocabulary.stop_ids;
  fake.vocab_size = static_cast<int>(vocabulary.tokens.size());
  fake.context_length = kContext;
  EngineOptions options;
  options.kv_blocks = kv_blocks;
  model->engine =
      std::make_unique<Engine>(options, [fake] { return std::make_unique<FakeRunner>(fake); });
  return model;
}

// A model that goes on with `script` after a prompt of `prompt_length` tokens.
inline FakeOptions answering(std::string script, int prompt_length) {
  FakeOptions fake;
  fake.edit_logits = certain_next_token([=](std::span<const int> history) {
    const std::size_t at = history.size() - static_cast<std::size_t>(prompt_length);
    return at < script.size() ? static_cast<unsigned char>(script[at]) : 257;
  });
  return fake;
}

// All that a generation says, folded.
struct Answer {
  std::string echo;
  std::vector<std::string> texts;  // by sample
  std::vector<std::vector<TokenDetail>> details;
  std::vector<std::vector<int>> offsets;
  std::vector<TextDelta> ends;
  std::vector<GenerationEvent> events;
  GenerationEnd end;
  bool ended = false;
};

inline Answer collect(Generation& generation, int samples = 1) {
  Answer answer;
  answer.texts.resize(static_cast<std::size_t>(samples));
  answer.details.resize(static_cast<std::size_t>(samples));
  answer.offsets.resize(static_cast<std::size_t>(samples));
  const TimePoint limit = Clock::now() + std::chrono::seconds(30);
  while (auto event = generation.next_until(limit)) {
    answer.events.push_back(*event);
    if (auto* echo = std::get_if<PromptEcho>(&*event)) answer.echo += echo->delta.text;
    if (auto* delta = std::get_if<TextDelta>(&*event)) {
      const auto sample = static_cast<std::size_t>(delta->choice);
      if (delta->channel == AnswerChannel::content) answer.texts[sample] += delta->text;
      for (auto& detail : delta->details) answer.details[sample].push_back(detail);
      for (const int offset : delta->offsets) answer.offsets[sample].push_back(offset);
      if (delta->finish) answer.ends.push_back(*delta);
    }
    if (auto* end = std::get_if<GenerationEnd>(&*event)) {
      answer.end = *end;
      answer.ended = true;
      break;
    }
  }
  return answer;
}

}  // namespace mlxd::testing
