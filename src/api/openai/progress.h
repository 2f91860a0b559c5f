#pragma once

#include <string>
#include <vector>

#include "api/metrics.h"
#include "api/openai/request.h"
#include "api/request_log.h"
#include "base/clock.h"
#include "serve/generation.h"

namespace mlxd::api {

// Keeps one request's record: what became of it and when. The destructor writes it to the log and
// the metrics, so that every way out is accounted for. I/O thread.
class Progress {
 public:
  Progress(Metrics& metrics, const RequestLog& log, std::string id, Endpoint endpoint);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void accepted(const ParsedRequest& request);
  // An event of that prompt was taken; the next `measure` says when.
  void note(int prompt, const StreamEvent& event);
  void measure();

  void refused(const Error& error);  // before any byte of an answer
  void failed(const Error& error);   // after it was accepted
  void completed(const Usage& usage, double queue_seconds);

 private:
  struct ChoiceTimes {
    int fresh = 0;  // pieces since the last measure
    TimePoint last{};
    bool begun = false;
  };

  Metrics& metrics_;
  const RequestLog& log_;
  const TimePoint arrived_ = Clock::now();
  RequestRecord record_;
  int samples_ = 1;
  std::vector<ChoiceTimes> choices_;
};

}  // namespace mlxd::api
