#include "api/generation/stream_log.h"

#include <algorithm>
#include <charconv>
#include <random>
#include <utility>

#include <fmt/format.h>

namespace mlxd::api {
namespace {

constexpr std::string_view kEnd = "\n\n";  // of an event

// Nobody guesses another's stream.
std::string random_name() {
  std::random_device device;
  std::string name;
  for (int i = 0; i < 4; ++i) name += fmt::format("{:08x}", device());
  return name;
}

}  // namespace

std::string StreamLog::add(std::string_view frames) {
  std::string sent;
  while (!frames.empty()) {
    const std::size_t end = frames.find(kEnd);
    const std::size_t size = end == std::string_view::npos ? frames.size() : end + kEnd.size();
    const std::string_view event = frames.substr(0, size);
    frames.remove_prefix(size);
    if (event.front() == ':') {
      sent += event;
      continue;
    }
    events_.push_back(fmt::format("id: {}-{}\n{}", name_, next_++, event));
    bytes_ += events_.back().size();
    sent += events_.back();
  }
  if (!lost_) {
    while (is_full() && !events_.empty()) drop_oldest();
  }
  if (reader_ != nullptr) reader_->wakeup_->notify();
  return sent;
}

void StreamLog::lose(TimePoint now) {
  if (lost_ && reader_ == nullptr) return;
  lost_ = true;
  lost_at_ = now;
}

void StreamLog::end(TimePoint now) {
  ended_ = true;
  lost_at_ = now;
  if (reader_ != nullptr) reader_->wakeup_->notify();
}

void StreamLog::drop_oldest() {
  bytes_ -= events_.front().size();
  events_.pop_front();
  ++first_;
}

StreamLog::Reader::Reader(std::shared_ptr<StreamLog> log, std::uint64_t last,
                          std::shared_ptr<http::Wakeup> wakeup)
    : log_(std::move(log)), last_(last), wakeup_(std::move(wakeup)) {
  if (Reader* before = std::exchange(log_->reader_, this)) before->wakeup_->notify();
  log_->lost_ = true;  // whoever had it has it no more
}

StreamLog::Reader::~Reader() {
  if (log_->reader_ != this) return;
  log_->reader_ = nullptr;
  log_->lost_at_ = Clock::now();
  if (log_->writer_) log_->writer_->notify();
}

// What was read may be wanted again, as it may not arrive: it goes when there is no more room.
std::string StreamLog::Reader::next() {
  std::string frames;
  for (std::uint64_t number = last_ + 1; number < log_->next_; ++number) {
    frames += log_->events_[number - log_->first_];
  }
  last_ = log_->next_ - 1;
  if (log_->is_full() && log_->writer_) log_->writer_->notify();
  while (log_->is_full() && !log_->events_.empty()) log_->drop_oldest();
  return frames;
}

bool StreamLog::Reader::is_over() const {
  return log_->reader_ != this || (log_->ended_ && last_ + 1 == log_->next_);
}

std::shared_ptr<StreamLog> StreamLogs::open(std::uint64_t caller, TimePoint now) {
  if (!enabled()) return nullptr;
  forget_old(now);
  if (logs_.size() >= kMost) {
    const auto ended = std::ranges::find_if(logs_, [](const auto& entry) {
      return entry.second->ended() && !entry.second->has_reader();
    });
    if (ended == logs_.end()) return nullptr;
    logs_.erase(ended);
  }
  auto log = std::make_shared<StreamLog>(random_name(), caller);
  logs_.emplace(log->name(), log);
  return log;
}

StreamLogs::Found StreamLogs::find(std::uint64_t caller, std::string_view last_event_id,
                                   TimePoint now) {
  forget_old(now);
  const std::size_t dash = last_event_id.find('-');
  if (dash == std::string_view::npos) return {};
  const auto known = logs_.find(last_event_id.substr(0, dash));
  if (known == logs_.end() || known->second->caller() != caller) return {};
  Found found{known->second, 0};
  const char* const end = last_event_id.data() + last_event_id.size();
  const auto read = std::from_chars(last_event_id.data() + dash + 1, end, found.last);
  if (read.ec != std::errc{} || read.ptr != end) return {};
  return found.log->has_all_behind(found.last) ? found : Found{};
}

void StreamLogs::forget_old(TimePoint now) {
  std::erase_if(logs_, [&](const auto& entry) {
    const StreamLog& log = *entry.second;
    return log.ended() && !log.has_reader() && seconds_between(log.lost_at(), now) > seconds_;
  });
}

}  // namespace mlxd::api
