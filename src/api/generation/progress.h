#pragma once

#include <string>
#include <vector>

#include "api/generation/dialect.h"
#include "api/generation/record.h"
#include "api/generation/shared.h"
#include "base/clock.h"

namespace mlxd::api {

// Keeps one request's record: what became of it and when. The destructor tells the observer, so
// that every way out is accounted for. I/O thread.
class Progress {
 public:
  Progress(GenerationShared& shared, const http::Request& request, const Dialect& dialect);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  ModelAsk& ask() { return record_.ask; }  // for who reads the body
  void accepted(const ParsedRequest& request, std::size_t prompts);
  // An event of that prompt was taken; the next `measure` says when.
  void note(int prompt, const GenerationEvent& event);
  void measure();

  void began_stream() { record_.began_stream = true; }
  void refused(const Error& error);  // before any byte of an answer
  void failed(const Error& error);   // after it was accepted
  void completed(const Usage& usage, double queue_seconds);

  AnswerTimes times() const;  // once it has completed

 private:
  struct ChoiceTimes {
    int fresh = 0;  // pieces since the last measure
    TimePoint last{};
    bool begun = false;
  };

  RequestObserver& observer_;
  RequestRecord record_;
  int samples_ = 1;
  std::vector<ChoiceTimes> choices_;
};

}  // namespace mlxd::api
