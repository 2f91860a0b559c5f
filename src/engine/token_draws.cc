#include "engine/token_draws.h"

#include <algorithm>
#include <utility>

namespace mlxd {
namespace {

Error nothing_to_draw() {
  return {500, "internal_error", "",
          "The model's output for this request is not finite, or no token may follow."};
}

// A grammar may lead half way into a text that the model cannot write.
Error nothing_goes_on() {
  return {400, "invalid_grammar", "",
          "What this answer is held to leads to a text that the model has no tokens for: allow "
          "others there."};
}

bool has_none(std::span<const std::uint32_t> mask) {
  return !mask.empty() && std::ranges::all_of(mask, [](std::uint32_t word) { return word == 0; });
}

// Takes a draft back out of a constraint however it is left.
class Trial {
 public:
  explicit Trial(TokenConstraint* constraint) : constraint_(constraint) {}
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;
  ~Trial() {
    if (accepted_ > 0) constraint_->rollback(accepted_);
  }
  // Whether another token may come behind this one.
  bool accept(int token) {
    if (constraint_ == nullptr) return true;
    if (!constraint_->accept(token)) return false;
    ++accepted_;
    return !constraint_->terminated();
  }

 private:
  TokenConstraint* const constraint_;
  int accepted_ = 0;
};

}  // namespace

void TokenDraws::clear() {
  draws_.clear();
  masks_used_ = 0;
}

// All samples draw from the one row of a prompt. Of a draft every row is drawn from, up to the
// first that the constraint does not allow.
void TokenDraws::add(const StepPart& part, int first_wanted) {
  const Sequence& sequence = *part.sequence;
  const std::size_t before = draws_.size();
  try {
    Trial trial(sequence.constraint.get());
    for (int row = 0; row < part.draws; ++row) {
      if (row > 0 && !trial.accept(sequence.draft[row - 1])) return;
      Draw draw = draw_of(sequence, row);
      if (sequence.constraint) draw.allowed = fill_mask(*sequence.constraint);
      draw.wanted = first_wanted + row;
      const int samples = sequence.request->forked ? 1 : sequence.request->job.samples;
      for (int sample = 0; sample < samples; ++sample) {
        draw.sample = sequence.sample + sample;
        draws_.push_back(draw);
      }
    }
  } catch (...) {
    draws_.resize(before);
    throw;
  }
}

// Of the token after the known ones and so many of the draft.
Draw TokenDraws::draw_of(const Sequence& sequence, int drafted) const {
  const GenerateJob& job = sequence.request->job;
  Draw draw;
  draw.params = &job.sampling;
  draw.counts = &sequence.counts;
  const int index = sequence.outputs() + drafted;
  if (!job.ignore_eos && index < job.min_tokens) draw.forbidden = job.stop_ids;
  draw.sample = sequence.sample;
  draw.index = index;
  return draw;
}

std::span<const std::uint32_t> TokenDraws::fill_mask(TokenConstraint& constraint) {
  if (masks_used_ == masks_.size()) masks_.emplace_back();
  std::vector<std::uint32_t>& mask = masks_[masks_used_];
  mask.assign((info_.vocab_size + 31) / 32, 0);
  if (!constraint.fill(mask)) return {};
  ++masks_used_;
  return mask;
}

Result<SampledToken> TokenDraws::checked(Sequence& sequence, SampledToken& drawn) {
  if (drawn.token >= 0) return std::move(drawn);
  const bool held = sequence.constraint != nullptr;
  return held && has_none(fill_mask(*sequence.constraint)) ? nothing_goes_on() : nothing_to_draw();
}

Result<SampledToken> TokenDraws::draw(Sequence& sequence, std::span<float> logits) {
  Draw wanted = draw_of(sequence, 0);
  if (sequence.constraint) {
    masks_used_ = 0;
    wanted.allowed = fill_mask(*sequence.constraint);
    if (has_none(wanted.allowed)) return nothing_goes_on();
  }
  return sampler_.draw(logits, wanted);
}

}  // namespace mlxd
