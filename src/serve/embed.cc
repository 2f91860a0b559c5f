#include "serve/embed.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include <fmt/format.h>

namespace mlxd {
namespace {

Error refused(std::string code, std::string param, std::string message) {
  return {.code = std::move(code), .param = std::move(param), .message = std::move(message)};
}

Result<void> check_model(const TextModel& model, const EmbedRequest& request) {
  const auto& pooled = model.card.pooled;
  const bool pairs = !request.inputs.empty() && request.inputs.front().second.has_value();
  if (!pooled) {
    return refused(
        "unsupported_model", "model",
        fmt::format("{} generates text, and its files say nothing of embeddings; name an "
                    "embedding model, such as an encoder of the BERT family.",
                    model.id));
  }
  if (pooled->is_score && !pairs) {
    return refused(
        "unsupported_model", "model",
        fmt::format("{} scores pairs of texts and makes no embeddings; use /v1/rerank or "
                    "/v1/score.",
                    model.id));
  }
  if (!pooled->is_score && pairs) {
    return refused("unsupported_model", "model",
                   fmt::format("{} embeds texts and scores no pairs.", model.id));
  }
  const int size = model.info().pooled_size;
  if (request.dimensions > size) {
    return refused("invalid_value", "dimensions",
                   fmt::format("'dimensions' is {}, but this model's vectors have {}; send no more "
                               "than that.",
                               request.dimensions, size));
  }
  return {};
}

class TextEncoder {
 public:
  TextEncoder(const ServedModel& model, const EmbedRequest& request)
      : model_(model),
        request_(request),
        context_(std::min(model.info().context_length, model.engine->longest_sequence())) {}

  Result<std::vector<PooledText>> encode() {
    std::vector<PooledText> texts;
    texts.reserve(request_.inputs.size());
    for (std::size_t i = 0; i < request_.inputs.size(); ++i) {
      const EmbedInput& input = request_.inputs[i];
      const std::string place =
          request_.inputs.size() == 1 ? request_.param : fmt::format("{}[{}]", request_.param, i);
      auto text = input.second ? encode_pair(input, place) : encode_one(input, place);
      if (!text) return text.error();
      texts.push_back(*std::move(text));
    }
    return texts;
  }

 private:
  int longest() const { return std::min(request_.longest.value_or(context_), context_); }

  Error too_long(const std::string& place, std::size_t tokens) const {
    return refused("context_length_exceeded", request_.param,
                   fmt::format("This model's maximum context length is {} tokens, but '{}' has {}; "
                               "send less, or truncate_prompt_tokens.",
                               context_, place, tokens));
  }

  // Text that could not be shortened to fit is not even tokenised.
  Result<std::vector<int>> tokens_of(const std::string& text, const std::string& place) const {
    const std::size_t most = model_.tokenizer->longest_token_bytes();
    const bool cuts = request_.longest.has_value();
    if (!cuts && most > 0 && text.size() / most > static_cast<std::size_t>(context_)) {
      return too_long(place, text.size() / most);
    }
    auto tokens = model_.tokenizer->encode(text, request_.add_special, true);
    if (!tokens && tokens.error().param.empty()) {
      Error error = tokens.error();
      error.param = request_.param;
      return error;
    }
    return tokens;
  }

  // What the tokeniser puts around a text: its tokens of none, and how many of these come before
  // it.
  struct Around {
    std::vector<int> tokens;
    std::size_t before = 0;
  };
  // Asked once for all texts.
  Result<std::reference_wrapper<const Around>> around() {
    if (!around_) {
      auto tokens = model_.tokenizer->encode("", true, true);
      if (!tokens) return tokens.error();
      const auto any = model_.tokenizer->encode("a", true, true);
      if (!any) return any.error();
      const auto parting = std::ranges::mismatch(*tokens, *any);
      const auto before = static_cast<std::size_t>(parting.in1 - tokens->begin());
      around_ = Around{*std::move(tokens), before};
    }
    return std::cref(*around_);
  }

  // How many of the last tokens the tokeniser has put behind the text.
  Result<std::size_t> suffix_of(std::span<const int> tokens) {
    if (!request_.add_special) return std::size_t{0};
    const auto known = around();
    if (!known) return known.error();
    const std::vector<int>& none = known->get().tokens;
    const auto parting = std::mismatch(none.rbegin(), none.rend(), tokens.rbegin(), tokens.rend());
    return static_cast<std::size_t>(parting.first - none.rbegin());
  }

  // The first text of a pair, which is the same for all documents of a ranking.
  Result<std::vector<int>> first_of_pair(const std::string& text, const std::string& place) {
    if (!first_text_ || *first_text_ != text) {
      auto tokens = tokens_of(text, place);
      if (!tokens) return tokens.error();
      first_tokens_ = *std::move(tokens);
      first_text_ = text;
    }
    return first_tokens_;
  }

  // Cut to `most` tokens in front of those behind the text.
  Result<void> cut(std::vector<int>& tokens, std::size_t most, const std::string& place) {
    if (tokens.size() <= most) return {};
    if (!request_.longest) return too_long(place, tokens.size());
    const auto suffix = suffix_of(tokens);
    if (!suffix) return suffix.error();
    if (*suffix >= most) return too_long(place, tokens.size());
    const auto end = tokens.end() - static_cast<std::ptrdiff_t>(*suffix);
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(most - *suffix), end);
    return {};
  }

  Result<PooledText> encode_one(const EmbedInput& input, const std::string& place) {
    PooledText text;
    if (const auto* given = std::get_if<std::vector<int>>(&input.text)) {
      for (const int token : *given) {
        if (token >= 0 && token < model_.info().vocab_size) continue;
        return refused("invalid_token_id", request_.param,
                       fmt::format("'{}' holds the token id {}; this model's ids are 0 to {}.",
                                   place, token, model_.info().vocab_size - 1));
      }
      text.tokens = *given;
    } else {
      auto tokens = tokens_of(std::get<std::string>(input.text), place);
      if (!tokens) return tokens.error();
      text.tokens = *std::move(tokens);
    }
    if (auto fits = cut(text.tokens, static_cast<std::size_t>(longest()), place); !fits) {
      return fits.error();
    }
    if (text.tokens.empty()) {
      return refused("empty_prompt", request_.param,
                     fmt::format("'{}' gives no tokens; write at least one character.", place));
    }
    return text;
  }

  // [CLS] a [SEP] b [SEP], or <s> a </s></s> b </s>: the second with its end, and without the
  // beginning, behind all of the first. RoBERTa's tokenisers write the end twice between them.
  Result<PooledText> encode_pair(const EmbedInput& input, const std::string& place) {
    auto first = first_of_pair(std::get<std::string>(input.text), place);
    if (!first) return first.error();
    auto second = tokens_of(*input.second, place);
    if (!second) return second.error();
    const auto known = around();
    if (!known) return known.error();
    const auto& [none, before] = known->get();
    if (before < second->size()) {
      second->erase(second->begin(), second->begin() + static_cast<std::ptrdiff_t>(before));
    }
    if (!none.empty() && model_.tokenizer->token_bytes(none.back(), true) == "</s>") {
      first->push_back(none.back());
    }
    const auto most = static_cast<std::size_t>(longest());
    const std::size_t left = most > first->size() ? most - first->size() : 0;
    if (second->size() > left) {
      if (!request_.longest || left < 2) return too_long(place, first->size() + second->size());
      if (auto fits = cut(*second, left, place); !fits) return fits.error();
    }
    PooledText text;
    text.second_begin = static_cast<int>(first->size());
    text.tokens = *std::move(first);
    text.tokens.insert(text.tokens.end(), second->begin(), second->end());
    if (text.second_begin >= static_cast<int>(text.tokens.size())) text.second_begin = 0;
    return text;
  }

  const ServedModel& model_;
  const EmbedRequest& request_;
  const int context_;
  std::optional<Around> around_;
  std::optional<std::string> first_text_;  // of the pair before, with
  std::vector<int> first_tokens_;          // its tokens
};

}  // namespace

Error cannot_generate(const TextModel& model) {
  const bool scores = model.card.pooled && model.card.pooled->is_score;
  return refused("unsupported_model", "model",
                 fmt::format("{} is an encoder and generates no text; {}.", model.id,
                             scores ? "it scores pairs of texts: use /v1/rerank or /v1/score"
                                    : "it makes embeddings: use /v1/embeddings"));
}

Result<std::vector<PooledText>> encode_texts(const ServedModel& model,
                                             const EmbedRequest& request) {
  if (auto checked = check_model(model, request); !checked) return checked.error();
  return TextEncoder(model, request).encode();
}

void VectorForm::apply(std::vector<float>& values) const {
  if (pooled.is_score) {
    if (pooled.squashes) values[0] = 1 / (1 + std::exp(-values[0]));
    return;
  }
  if (dimensions > 0) values.resize(static_cast<std::size_t>(dimensions));
  if (!pooled.normalizes) return;
  double squares = 0;
  for (const float value : values) squares += static_cast<double>(value) * value;
  if (squares == 0) return;
  const double factor = 1 / std::sqrt(squares);
  for (float& value : values) value = static_cast<float>(value * factor);
}

std::optional<GenerationEvent> EmbeddedTexts::translate(TokenEvent event) const {
  if (auto* pooled = std::get_if<PooledVector>(&event)) {
    form_.apply(pooled->values);
    TextDelta delta;
    delta.choice = pooled->sample;
    delta.vector = std::move(pooled->values);
    return delta;
  }
  if (auto* finished = std::get_if<RequestFinished>(&event)) {
    GenerationEnd end;
    end.outcome = finished->outcome;
    end.error = std::move(finished->error);
    end.queue_seconds = finished->queue_seconds;
    end.usage.prompt_tokens = tokens_;
    end.usage.cached_prompt_tokens = finished->cached_prompt_tokens;
    return end;
  }
  return std::nullopt;  // the end of a text, which its vector was
}

std::optional<GenerationEvent> EmbeddedTexts::try_next() {
  while (auto event = handle_->try_next()) {
    if (auto translated = translate(*std::move(event))) return translated;
  }
  return std::nullopt;
}

std::optional<GenerationEvent> EmbeddedTexts::next_until(TimePoint limit) {
  while (auto event = handle_->next_until(limit)) {
    if (auto translated = translate(*std::move(event))) return translated;
  }
  return std::nullopt;
}

}  // namespace mlxd
