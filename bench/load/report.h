#pragma once

#include <string>
#include <vector>

#include "exchange.h"

namespace mlxd::load {

struct Finished {
  int turn = 0;  // of its conversation, from 0
  Outcome outcome;
};

// What a run measured, as a table for people or one JSON object. Times count from when a request
// should have been sent, so that a server that falls behind cannot hide the wait; the first and
// the last request bound the run's duration.
class Report {
 public:
  explicit Report(std::vector<Finished> finished);

  int failures() const { return failures_; }
  std::string first_error() const;
  std::string text() const;
  std::string json() const;

 private:
  struct Percentiles {
    double p50 = 0, p90 = 0, p99 = 0, max = 0;  // milliseconds
  };
  static Percentiles percentiles(std::vector<double> milliseconds);

  std::vector<Finished> finished_;
  int failures_ = 0;
  double seconds_ = 0, requests_per_second_ = 0, tokens_per_second_ = 0;
  long prompt_tokens_ = 0, cached_tokens_ = 0, completion_tokens_ = 0;
  Percentiles first_token_, between_tokens_, whole_;
  std::vector<Percentiles> first_token_by_turn_;
};

}  // namespace mlxd::load
