#include "hub/download.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <future>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/clock.h"
#include "hub/blob_hash.h"
#include "hub/partial_file.h"

namespace mlxd::hub {
namespace {

constexpr int kTries = 6;  // in a row without a byte
constexpr int kPollMs = 100;
constexpr auto kSaveEvery = std::chrono::seconds(1);
constexpr double kLongestWait = 120;  // seconds that a hub may ask us to wait

std::chrono::milliseconds pause_after(int failures) {
  return std::chrono::milliseconds(250) * (1 << (failures - 1));
}

// One file on its way.
struct Incoming {
  explicit Incoming(WantedFile what)
      : wanted(std::move(what)), partial(wanted.blob, wanted.file.size) {
    resumed = partial.done() > 0;
  }

  WantedFile wanted;
  PartialFile partial;
  bool resumed;            // some of it is another process's
  bool has_ranges = true;  // what the server can
  bool finished = false;   // it lies under its name
  int failures = 0;        // in a row
  TimePoint not_before{};  // the next try
  std::future<std::string> hash;
};

// One request for one piece of a file, or for what is left of it.
struct Transfer {
  Incoming& file;
  const std::size_t piece;
  const std::string& commit;
  std::int64_t first_byte = 0;  // that is asked for
  bool is_range = false;
  std::array<char, CURL_ERROR_SIZE> error{};
  HeaderList request_headers{};
  AnswerHeaders headers{};
  Easy easy{};
  std::string refused{};              // what is wrong with the answer, for good
  bool lacks_ranges = false;          // all of the file came, and a part was asked for
  std::exception_ptr exception = {};  // of the disk

  long status() const {
    long value = 0;
    curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &value);
    return value;
  }
};

// What an answer's headers say that is not so of the file.
std::string contradiction(const Transfer& transfer) {
  const RepositoryFile& file = transfer.file.wanted.file;
  const AnswerHeaders& headers = transfer.headers;
  if (!headers.commit.empty() && headers.commit != transfer.commit) {
    return fmt::format("it is of the commit {}, and {} was asked for", headers.commit,
                       transfer.commit);
  }
  if (!headers.linked_size.empty() && headers.linked_size != std::to_string(file.size)) {
    return fmt::format("it has {} bytes, and the list says {}", headers.linked_size, file.size);
  }
  if (file.is_sha256 && !headers.linked_etag.empty() && headers.linked_etag != file.hash) {
    return fmt::format("its hash is {}, and the list says {}", headers.linked_etag, file.hash);
  }
  const auto& piece = transfer.file.partial.piece(transfer.piece);
  const auto range = fmt::format("bytes {}-{}/{}", transfer.first_byte, piece.end - 1, file.size);
  if (transfer.is_range && headers.content_range != range) {
    return fmt::format("the answer is of \"{}\", and \"{}\" was asked for", headers.content_range,
                       range);
  }
  return "";
}

std::size_t receive(Transfer& transfer, const char* data, std::size_t size) {
  const long status = transfer.status();
  if (status != 200 && status != 206) return size;  // a page about it, which nobody reads
  if (transfer.is_range && status == 200) {
    transfer.lacks_ranges = true;
    return 0;
  }
  transfer.refused = contradiction(transfer);
  if (!transfer.refused.empty()) return 0;
  if (!transfer.file.partial.write(transfer.piece, data, size)) {
    transfer.refused =
        fmt::format("more bytes come than its size of {}", transfer.file.wanted.file.size);
    return 0;
  }
  // Of a server without ranges every try begins anew, and gets somewhere.
  if (transfer.file.has_ranges) transfer.file.failures = 0;
  return size;
}

std::size_t on_data(char* data, std::size_t size, std::size_t count, void* target) {
  auto& transfer = *static_cast<Transfer*>(target);
  try {
    return receive(transfer, data, size * count);
  } catch (...) {  // which must not pass through curl's own frames
    transfer.exception = std::current_exception();
    return 0;
  }
}

struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

class Downloader {
 public:
  Downloader(const Settings& settings, const HubId& id, const std::string& commit,
             std::vector<WantedFile> files, int connections)
      : settings_(settings),
        id_(id),
        commit_(commit),
        connections_(static_cast<std::size_t>(connections)),
        multi_(curl_multi_init()) {
    curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
    for (WantedFile& file : files) files_.push_back(std::make_unique<Incoming>(std::move(file)));
  }

  ~Downloader() {
    stop_hashing_ = true;
    end_transfers(nullptr);
    for (const auto& file : files_) {
      if (file->hash.valid()) file->hash.wait();
    }
  }

  void run(const Stopped& stopped, const Report& report);

 private:
  void start_transfers();
  void start(Incoming& file, std::size_t piece);
  void take_results();
  void take_result(Transfer& transfer, CURLcode code);
  void put_off(Incoming& file, const std::string& reason, double wait_seconds);
  void end_transfers(const Incoming* file);  // null: of all files
  void check_files();
  void check_hash(Incoming& file, const std::string& hash);
  void save() const;
  Progress progress() const;
  bool finished() const {
    return std::ranges::all_of(files_, [](const auto& file) { return file->finished; });
  }

  const Settings& settings_;
  const HubId& id_;
  const std::string& commit_;
  const std::size_t connections_;
  const std::unique_ptr<CURLM, MultiDeleter> multi_;
  std::vector<std::unique_ptr<Incoming>> files_;
  std::list<Transfer> transfers_;
  std::atomic<bool> stop_hashing_ = false;
};

void Downloader::run(const Stopped& stopped, const Report& report) {
  TimePoint saved = Clock::now();
  try {
    while (true) {
      check_files();
      report(progress());
      if (finished()) return;
      if (stopped && stopped()) {
        const Progress now = progress();
        throw Interrupted(fmt::format("stopped; the same command goes on from here, {:.0f} % of {}",
                                      now.bytes > 0 ? 100.0 * static_cast<double>(now.bytes_done) /
                                                          static_cast<double>(now.bytes)
                                                    : 0,
                                      id_.text()));
      }
      start_transfers();
      int active = 0;
      curl_multi_perform(multi_.get(), &active);
      take_results();
      if (Clock::now() - saved > kSaveEvery) {
        save();
        saved = Clock::now();
      }
      curl_multi_poll(multi_.get(), nullptr, 0, kPollMs, nullptr);
    }
  } catch (...) {
    save();
    throw;
  }
}

void Downloader::start_transfers() {
  const TimePoint now = Clock::now();
  for (const auto& file : files_) {
    if (file->finished || file->hash.valid() || now < file->not_before) continue;
    while (transfers_.size() < connections_) {
      const auto piece = file->partial.take();
      if (!piece) break;
      start(*file, *piece);
    }
  }
}

void Downloader::start(Incoming& file, std::size_t index) {
  const PartialFile::Piece& piece = file.partial.piece(index);
  Transfer& transfer = transfers_.emplace_back(Transfer{file, index, commit_});
  transfer.first_byte = piece.begin + piece.done;
  transfer.is_range = transfer.first_byte > 0 || piece.end < file.partial.size();
  transfer.easy =
      make_request(settings_, file.wanted.url, transfer.error.data(), transfer.request_headers);
  CURL* handle = transfer.easy.get();
  if (transfer.is_range) {
    const std::string range = fmt::format("{}-{}", transfer.first_byte, piece.end - 1);
    curl_easy_setopt(handle, CURLOPT_RANGE, range.c_str());
  }
  curl_easy_setopt(handle, CURLOPT_PRIVATE, &transfer);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, read_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer.headers);
  curl_multi_add_handle(multi_.get(), handle);
}

void Downloader::end_transfers(const Incoming* file) {
  for (auto each = transfers_.begin(); each != transfers_.end();) {
    if (file != nullptr && &each->file != file) {
      ++each;
      continue;
    }
    curl_multi_remove_handle(multi_.get(), each->easy.get());
    each->file.partial.give_back(each->piece);
    each = transfers_.erase(each);
  }
}

void Downloader::take_results() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    void* target = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &target);
    const CURLcode code = message->data.result;
    auto& transfer = *static_cast<Transfer*>(target);
    take_result(transfer, code);
  }
}

void Downloader::take_result(Transfer& transfer, CURLcode code) {
  Incoming& file = transfer.file;
  const RepositoryFile& wanted = file.wanted.file;
  // It is gone from here on, whatever becomes of it.
  std::list<Transfer> ended;
  const auto position = std::ranges::find_if(
      transfers_, [&transfer](const Transfer& each) { return &each == &transfer; });
  ended.splice(ended.begin(), transfers_, position);
  const long status = transfer.status();
  curl_multi_remove_handle(multi_.get(), transfer.easy.get());
  file.partial.give_back(transfer.piece);

  if (transfer.exception) std::rethrow_exception(transfer.exception);
  if (!transfer.refused.empty()) {
    throw StartupError(fmt::format("{} of {} is not what the hub's list says: {}", wanted.path,
                                   id_.repository(), transfer.refused));
  }
  if (transfer.lacks_ranges || status == 416) {
    if (!file.has_ranges) {
      throw StartupError(
          fmt::format("{} of {} cannot be had: its server answers a request for all "
                      "of it with the status {}",
                      wanted.path, id_.repository(), status));
    }
    file.has_ranges = false;
    end_transfers(&file);
    file.partial.start_again(/*as_one_piece=*/true);
    return;
  }
  if (code != CURLE_OK) {
    const std::string reason = failure(settings_, code, transfer.error.data());
    if (!is_passing(code)) throw StartupError(reason);
    return put_off(file, reason, 0);
  }
  if (status != 200 && status != 206) {
    const std::string reason = refusal(settings_, id_, wanted.path, status, transfer.headers);
    if (!is_passing_status(status) || transfer.headers.retry_after > kLongestWait) {
      throw StartupError(reason);
    }
    return put_off(file, reason, transfer.headers.retry_after);
  }
  if (!file.partial.piece(transfer.piece).complete()) {
    put_off(file, fmt::format("{} ends before its {} bytes are there", wanted.path, wanted.size),
            0);
  }
}

void Downloader::put_off(Incoming& file, const std::string& reason, double wait_seconds) {
  if (++file.failures >= kTries) {
    throw StartupError(
        fmt::format("{}; tried {} times, and the same command goes on from here", reason, kTries));
  }
  const auto wait = std::chrono::milliseconds(static_cast<std::int64_t>(wait_seconds * 1e3));
  file.not_before = Clock::now() + std::max(pause_after(file.failures), wait);
  if (!file.has_ranges) file.partial.start_again(/*as_one_piece=*/true);
}

void Downloader::check_files() {
  for (const auto& each : files_) {
    Incoming& file = *each;
    if (file.finished) continue;
    if (file.hash.valid()) {
      if (file.hash.wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
        check_hash(file, file.hash.get());
      }
    } else if (file.partial.complete()) {
      file.hash = std::async(std::launch::async, [&file, this] {
        return hash_of(file.partial.path(), file.wanted.file, stop_hashing_);
      });
    }
  }
}

void Downloader::check_hash(Incoming& file, const std::string& hash) {
  if (hash == file.wanted.file.hash) {
    file.partial.move_to_blob();
    file.finished = true;
    return;
  }
  if (std::exchange(file.resumed, false)) {  // what was there before is to blame, perhaps
    file.partial.start_again(!file.has_ranges);
    return;
  }
  file.partial.remove();
  throw StartupError(fmt::format(
      "{} of {} came with the {} {}, and the hub says {}: it was damaged on the way, or changed; "
      "what came is removed, and the same command tries again",
      file.wanted.file.path, id_.repository(), file.wanted.file.is_sha256 ? "SHA-256" : "git hash",
      hash, file.wanted.file.hash));
}

void Downloader::save() const {
  for (const auto& file : files_) {
    if (!file->finished && file->partial.done() > 0) file->partial.save();
  }
}

Progress Downloader::progress() const {
  Progress now;
  now.files = static_cast<int>(files_.size());
  for (const auto& file : files_) {
    now.bytes += file->partial.size();
    now.bytes_done += file->partial.done();
    now.files_done += file->finished ? 1 : 0;
    now.checking += file->hash.valid() ? 1 : 0;
  }
  return now;
}

}  // namespace

void download(const Settings& settings, const HubId& id, const std::string& commit,
              std::vector<WantedFile> files, int connections, const Stopped& stopped,
              const Report& report) {
  if (files.empty()) return;
  Downloader(settings, id, commit, std::move(files), connections).run(stopped, report);
}

}  // namespace mlxd::hub
