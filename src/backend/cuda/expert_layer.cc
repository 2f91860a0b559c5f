#include "backend/cuda/expert_layer.h"

namespace mlxd::cuda_backend {
namespace {

ChoiceRule::Scoring scoring_of(ExpertScoring scoring) {
  switch (scoring) {
    case ExpertScoring::softmax:
      return ChoiceRule::softmax;
    case ExpertScoring::softmax_chosen:
      return ChoiceRule::softmax_chosen;
    case ExpertScoring::sigmoid:
      return ChoiceRule::sigmoid;
    case ExpertScoring::sqrt_softplus:
      return ChoiceRule::sqrt_softplus;
  }
  return ChoiceRule::softmax;
}

const float* numbers_or_null(Weights& weights, const std::vector<float>& numbers) {
  return numbers.empty() ? nullptr : weights.vector(numbers);
}

}  // namespace

ExpertLayer::ExpertLayer(const ExpertsBlock& block, Weights& weights)
    : width_(static_cast<int>(block.router.weight.columns)),
      hidden_(block.intermediate_size()),
      input_norm_(weights.norm(block.input_norm)),
      router_norm_(block.router_norm ? weights.norm(block.router_norm) : input_norm_),
      scores_(weights.plain(scores_of(block))),
      score_bias_(nullptr),
      score_count_(block.experts + (block.shared && block.shared->weight ? 1 : 0)),
      activation_(activation_of(block.activation, block.gate.has_value())) {
  const Element element = weights.element();
  if (std::vector<float> bias = block.router.bias; !bias.empty()) {
    bias.resize(static_cast<std::size_t>(score_count_));
    score_bias_ = weights.vector(bias);
  }
  const ExpertChoice& choice = block.choice;
  rule_ = {.scoring = scoring_of(choice.scoring),
           .bias = numbers_or_null(weights, choice.bias),
           .expert_scales = numbers_or_null(weights, choice.expert_scales),
           .experts = block.experts,
           .chosen = choice.chosen,
           .groups = choice.groups,
           .chosen_groups = choice.chosen_groups,
           .groups_by_best = choice.groups_by_best,
           .normalised = choice.normalised,
           .scale = choice.scale};
  const auto move = [&](const MatrixPlan& plan, int rows, const float*& bias) {
    const DeviceLinear linear = weights.linear(plan);
    bias = linear.bias;
    return ExpertMatrix{linear.matrix, block.experts, rows};
  };
  const MatrixPlan into = plan_hidden(block.gate, block.up, element, block.experts);
  into_ = move(into, block.gate ? into.shape.rows / block.experts : hidden_, into_bias_);
  down_ = move(plan_experts(block.down, element, block.experts), width_, down_bias_);
  sum_.experts_norm = weights.norm(block.experts_norm);
  sum_.post_norm = weights.norm(block.post_norm);
  sum_.factor = block.residual_scale;
  sum_.stream_scale = block.stream_scale;
  if (!block.shared) return;
  const SharedExpert& shared = *block.shared;
  shared_ = {.input_norm = weights.norm(shared.input_norm),
             .output_norm = weights.norm(shared.output_norm),
             .into = weights.linear(plan_hidden(shared.gate, shared.up, element)),
             .down = weights.linear(plan_matrix(shared.down, element)),
             .activation = activation_of(block.activation, shared.gate.has_value()),
             .weighed = shared.weight.has_value()};
  shared_->activation.stride = padded(static_cast<int>(shared.up.out()));
  sum_.shared_norm = shared_->output_norm;
}

void ExpertLayer::run(const StepContext& step) const {
  const Workspace& space = step.space;
  const int count = step.rows * rule_.chosen, stride = padded(hidden_);
  const SortedPairs pairs = sorted_pairs(space.pairs, count);
  score(router_norm_, space.x, width_, step.rows, scores_, score_bias_, score_count_, space.scores,
        step.stream);
  choose(rule_, space.scores, score_count_, step.rows, pairs, step.stream);
  normalise(step.element, input_norm_, space.x, width_, nullptr, step.rows, space.h16,
            padded(width_), step.stream);
  Epilogue hidden = activation_;
  hidden.bias = into_bias_;
  hidden.out16 = space.wide16;
  hidden.stride = stride;
  clear_columns(step.element, space.wide16, hidden_, stride, count, step.stream);
  multiply_experts(step.element, into_, space.h16, padded(width_), true, pairs, count, hidden,
                   step.stream);
  const Epilogue out{.bias = down_bias_, .out = space.expert_out, .stride = width_};
  multiply_experts(step.element, down_, space.wide16, stride, false, pairs, count, out,
                   step.stream);
  ExpertSum sum = sum_;
  sum.y = space.expert_out;
  if (shared_) {
    run_shared(step);
    sum.shared = space.y;
    if (shared_->weighed) sum.shared_score = space.scores + rule_.experts;
    sum.score_stride = score_count_;
  }
  add_experts(sum, pairs, rule_.chosen, width_, step.rows, space.x, step.stream);
}

// Into y.
void ExpertLayer::run_shared(const StepContext& step) const {
  const Workspace& space = step.space;
  if (shared_->input_norm.weight) {
    normalise(step.element, shared_->input_norm, space.x, width_, nullptr, step.rows, space.h16,
              padded(width_), step.stream);
  }
  Epilogue hidden = shared_->activation;
  hidden.bias = shared_->into.bias;
  hidden.out16 = space.wide16;
  clear_columns(step.element, space.wide16, shared_->down.matrix.shape.columns, hidden.stride,
                step.rows, step.stream);
  multiply(step.element, shared_->into.matrix, space.h16, padded(width_), step.rows, hidden,
           step.stream);
  const Epilogue out{.bias = shared_->down.bias, .out = space.y, .stride = width_};
  multiply(step.element, shared_->down.matrix, space.wide16, hidden.stride, step.rows, out,
           step.stream);
}

}  // namespace mlxd::cuda_backend
