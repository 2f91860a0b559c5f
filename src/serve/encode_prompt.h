#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "serve/request.h"
#include "serve/served_model.h"

namespace mlxd {

// A prompt as the model gets it.
struct EncodedPrompt {
  std::vector<int> tokens;    // at least one
  bool in_reasoning = false;  // a rendered chat ends with the mark that begins reasoning
};

// The tokens that the model is to go on from, in the one way that there is from a prompt to them:
// rendered and encoded. Any thread. `salt` is the job's: what of a chat was encoded for the same
// one is not encoded again (EncodedChats); none: all is. Errors: as TextModel::start's, with the
// parameter at fault.
//
// Special tokens. The text of a template is trusted to write them; what a message says is not, so
// the text of a special token inside a message stays text (Tokenizer::encode_chat). A rendered chat
// is encoded as it is: what the template does not write, the model does not see. In the prompt of a
// completion, which is the client's own from end to end, special tokens are recognised:
// fill-in-the-middle needs them. The model's bos goes in front unless the prompt begins with it
// already; what the client wrote is never taken away.
Result<EncodedPrompt> encode_prompt(const ServedModel& model, const Prompt& prompt,
                                    std::optional<std::uint64_t> salt = {});

// A chat as the model's template writes it. Any thread. Errors: as encode_prompt's.
Result<RenderedChat> render_chat(const ServedModel& model, const ChatPrompt& prompt);

// GenerateJob::borders of a prompt that gave these tokens: for a chat to a model with recurrent
// states, where its messages end and the answer's beginning, which templates write otherwise in a
// history, is not begun. What an agent sends next goes on from there. Renders a second time; what
// goes wrong then costs the border alone.
std::vector<int> prompt_borders(const ServedModel& model, const Prompt& prompt,
                                std::span<const int> tokens, std::uint64_t salt);

// GenerateJob::holds of a prompt that gave these tokens. A rule that ends before the last message
// renders once more; what goes wrong then holds the whole prompt.
std::vector<HeldPrefix> held_prefixes(const ServedModel& model, const Prompt& prompt,
                                      std::span<const int> tokens, std::span<const KeepRule> rules,
                                      std::uint64_t salt);

// How many tokens each sample may have after `prompt_tokens` of prompt: `max_tokens`, or for
// kAsManyAsFit what fits. Errors: context_length_exceeded, and kv_cache_exceeded where the context
// would hold what the KV cache does not.
Result<int> token_limit(const ServedModel& model, const Prompt& prompt, std::size_t prompt_tokens,
                        int max_tokens);

}  // namespace mlxd
