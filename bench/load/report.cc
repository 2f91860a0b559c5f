#include "report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace mlxd::load {
namespace {

double milliseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

}  // namespace

Report::Report(std::vector<Finished> finished) : finished_(std::move(finished)) {
  std::vector<double> first, between, whole;
  std::vector<std::vector<double>> first_by_turn;
  Clock::time_point begin = Clock::time_point::max(), end = Clock::time_point::min();
  for (const auto& [turn, outcome] : finished_) {
    begin = std::min(begin, outcome.begun);
    end = std::max(end, outcome.ended);
    if (!outcome.ok) {
      ++failures_;
      continue;
    }
    prompt_tokens_ += outcome.prompt_tokens;
    cached_tokens_ += outcome.cached_tokens;
    completion_tokens_ += outcome.completion_tokens;
    whole.push_back(milliseconds(outcome.begun, outcome.ended));
    if (outcome.frames.empty()) continue;
    first.push_back(milliseconds(outcome.begun, outcome.frames[0]));
    first_by_turn.resize(std::max<std::size_t>(first_by_turn.size(), turn + 1));
    first_by_turn[turn].push_back(first.back());
    for (std::size_t i = 1; i < outcome.frames.size(); ++i) {
      between.push_back(milliseconds(outcome.frames[i - 1], outcome.frames[i]));
    }
  }
  if (finished_.empty()) return;
  seconds_ = milliseconds(begin, end) / 1e3;
  requests_per_second_ = static_cast<double>(finished_.size() - failures_) / seconds_;
  tokens_per_second_ = static_cast<double>(completion_tokens_) / seconds_;
  first_token_ = percentiles(std::move(first));
  between_tokens_ = percentiles(std::move(between));
  whole_ = percentiles(std::move(whole));
  for (auto& values : first_by_turn) first_token_by_turn_.push_back(percentiles(std::move(values)));
}

Report::Percentiles Report::percentiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {  // nearest rank
    const auto rank =
        static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    return values[std::max<std::size_t>(rank, 1) - 1];
  };
  return {at(0.5), at(0.9), at(0.99), values.back()};
}

std::string Report::first_error() const {
  for (const auto& [turn, outcome] : finished_) {
    if (!outcome.ok) return outcome.error;
  }
  return "";
}

std::string Report::text() const {
  std::string text = fmt::format(
      "{} requests, {} failed, {:.1f} s: {:.1f} requests/s, {:.1f} tokens/s\n"
      "tokens: {} read ({} from the cache), {} generated\n{:24} {:>9} {:>9} {:>9} {:>9}\n",
      finished_.size(), failures_, seconds_, requests_per_second_, tokens_per_second_,
      prompt_tokens_, cached_tokens_, completion_tokens_, "ms", "p50", "p90", "p99", "max");
  const auto line = [&](const std::string& name, const Percentiles& p) {
    text +=
        fmt::format("{:24} {:9.1f} {:9.1f} {:9.1f} {:9.1f}\n", name, p.p50, p.p90, p.p99, p.max);
  };
  line("to the first token", first_token_);
  if (first_token_by_turn_.size() > 1) {
    for (std::size_t turn = 0; turn < first_token_by_turn_.size(); ++turn) {
      line(fmt::format("  in turn {}", turn + 1), first_token_by_turn_[turn]);
    }
  }
  line("between tokens", between_tokens_);
  line("whole answers", whole_);
  return text;
}

std::string Report::json() const {
  const auto object = [](const Percentiles& p) {
    return boost::json::object{{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"max", p.max}};
  };
  boost::json::array by_turn;
  for (const Percentiles& turn : first_token_by_turn_) by_turn.push_back(object(turn));
  return boost::json::serialize(boost::json::object{{"requests", finished_.size()},
                                                    {"failed", failures_},
                                                    {"seconds", seconds_},
                                                    {"requests_per_second", requests_per_second_},
                                                    {"tokens_per_second", tokens_per_second_},
                                                    {"prompt_tokens", prompt_tokens_},
                                                    {"cached_tokens", cached_tokens_},
                                                    {"completion_tokens", completion_tokens_},
                                                    {"first_token_ms", object(first_token_)},
                                                    {"first_token_ms_by_turn", std::move(by_turn)},
                                                    {"between_tokens_ms", object(between_tokens_)},
                                                    {"whole_ms", object(whole_)}});
}

}  // namespace mlxd::load
