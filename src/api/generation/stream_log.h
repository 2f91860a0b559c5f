#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "http/exchange.h"

namespace mlxd::api {

// The events of one stream, each with an id, for a client that has lost its connection: it asks for
// those behind the last one that it has read (Last-Event-ID). I/O thread.
//
// Bounded: while its client reads, the oldest events go; while nobody does, none, and the stream
// waits.
class StreamLog {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{1} << 20;

  StreamLog(std::string name, std::uint64_t caller) : name_(std::move(name)), caller_(caller) {}
  // Who writes, and wants to know when there is room again or nobody reads.
  void set_writer(std::shared_ptr<http::Wakeup> wakeup) { writer_ = std::move(wakeup); }

  // The frames with their ids. Comments have none: nobody has to read them.
  std::string add(std::string_view frames);
  // Its client is gone, if there was one: from now on events are kept until they are read.
  void lose(TimePoint now);
  bool lost() const { return lost_; }
  TimePoint lost_at() const { return lost_at_; }
  void end(TimePoint now);
  bool ended() const { return ended_; }
  // No more is to be added before somebody has read.
  bool is_full() const { return bytes_ >= kMostBytes; }

  // Who reads on. One at a time: another one takes its place.
  class Reader {
   public:
    Reader(std::shared_ptr<StreamLog> log, std::uint64_t last,
           std::shared_ptr<http::Wakeup> wakeup);
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader();
    // The events that it has not read; "" when there are none. To be sent.
    std::string next();
    // Nothing comes any more: the stream has ended, or another reads in its place.
    bool is_over() const;

   private:
    friend class StreamLog;
    const std::shared_ptr<StreamLog> log_;
    std::uint64_t last_;
    const std::shared_ptr<http::Wakeup> wakeup_;
  };
  bool has_reader() const { return reader_ != nullptr; }
  // Whether all events behind that one are there.
  bool has_all_behind(std::uint64_t last) const { return last + 1 >= first_ && last < next_; }

  const std::string& name() const { return name_; }
  std::uint64_t caller() const { return caller_; }

 private:
  void drop_oldest();

  const std::string name_;
  const std::uint64_t caller_;
  std::deque<std::string> events_;
  std::uint64_t first_ = 1, next_ = 1;  // numbers of the first kept event, and of the next one
  std::size_t bytes_ = 0;
  bool lost_ = false, ended_ = false;
  TimePoint lost_at_{};
  Reader* reader_ = nullptr;
  std::shared_ptr<http::Wakeup> writer_;
};

// The logs of the streams under way, and of those that ended not long ago. I/O thread.
class StreamLogs {
 public:
  static constexpr std::size_t kMost = 64;

  // `seconds`: how long a stream waits for its client, and stays after its end; 0: there are none.
  explicit StreamLogs(double seconds) : seconds_(seconds) {}

  bool enabled() const { return seconds_ > 0; }
  double seconds() const { return seconds_; }
  // Of a new stream, in place of one that has ended where there are many; null when there are none,
  // or too many.
  std::shared_ptr<StreamLog> open(std::uint64_t caller, TimePoint now);
  // What a Last-Event-ID of that caller names, and the number in it; null: no such stream, or it
  // has lost what comes behind.
  struct Found {
    std::shared_ptr<StreamLog> log;
    std::uint64_t last = 0;
  };
  Found find(std::uint64_t caller, std::string_view last_event_id, TimePoint now);

 private:
  void forget_old(TimePoint now);

  const double seconds_;
  std::map<std::string, std::shared_ptr<StreamLog>, std::less<>> logs_;
};

}  // namespace mlxd::api
