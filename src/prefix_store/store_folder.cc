#include "prefix_store/store_folder.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

namespace mlxd {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIdentity = "identity";
constexpr const char* kIncoming = "incoming";  // becomes a block's file when it is whole
constexpr std::size_t kHexDigits = 2 * sizeof(Digest);
// For a lock; whoever holds it longer uses the folder.
constexpr std::chrono::seconds kLongestWait{1};
constexpr std::chrono::milliseconds kBetweenTries{10};

// No string: what is forgotten must go even where there is no memory.
class FileName {
 public:
  explicit FileName(const BlockName& name) {
    write_hex(name.key, text_.data());
    text_[kHexDigits] = '-';
    write_hex(name.parent, text_.data() + kHexDigits + 1);
  }
  const char* c_str() const { return text_.data(); }

 private:
  std::array<char, 2 * kHexDigits + 2> text_{};  // with a zero at the end
};

std::optional<BlockName> parse_file_name(std::string_view text) {
  if (text.size() != 2 * kHexDigits + 1 || text[kHexDigits] != '-') return std::nullopt;
  const auto key = digest_from_hex(text.substr(0, kHexDigits));
  const auto parent = digest_from_hex(text.substr(kHexDigits + 1));
  if (!key || !parent) return std::nullopt;
  return BlockName{*key, *parent};
}

[[noreturn]] void fail(const fs::path& path, const char* what) {
  throw std::runtime_error(
      fmt::format("{}: cannot {}: {}", path.string(), what, std::system_category().message(errno)));
}

void make_private_folder(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) fail(path, "make the folder");
}

// Whether what is open is what has this path now: not removed, and not made anew.
bool is_at(const Descriptor& file, const fs::path& path) {
  struct stat ours {};
  struct stat there {};
  return ::fstat(file.get(), &ours) == 0 && ::lstat(path.c_str(), &there) == 0 &&
         ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

// A lock on what was removed before it was had locks nothing.
bool lock(const Descriptor& file, const fs::path& path) {
  return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0 && is_at(file, path);
}

bool write_all(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

bool Descriptor::close() { return ::close(std::exchange(number_, -1)) == 0; }

std::string folder_name(const std::string& identity) {
  return to_hex(sha256(std::as_bytes(std::span(identity)))).substr(0, 32);
}

bool is_folder_name(const std::string& name) {
  return name.size() == 32 && name.find_first_not_of("0123456789abcdef") == name.npos;
}

Descriptor lock_folder(const fs::path& folder) {
  const fs::path identity = folder / kIdentity;
  Descriptor file(::open(identity.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  return file && lock(file, identity) ? std::move(file) : Descriptor();
}

// The locked file goes last: until then nobody else takes the folder for theirs, and if this is cut
// off, it is still a folder that a store has made.
std::error_code remove_folder(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename() == kIdentity) continue;
    fs::remove_all(entry->path(), error);
    if (error) break;
  }
  if (!error) fs::remove(folder / kIdentity, error);
  if (!error) fs::remove(folder, error);
  return error;
}

StoreFolder::StoreFolder(const fs::path& root, const std::string& identity)
    : path_(root / folder_name(identity)) {
  std::error_code error;  // told by what follows
  if (root.has_parent_path()) fs::create_directories(root.parent_path(), error);
  make_private_folder(root);
  const TimePoint limit = Clock::now() + kLongestWait;
  while (!open()) {
    if (Clock::now() >= limit) {
      throw std::runtime_error(fmt::format("{} is in use already", path_.string()));
    }
    std::this_thread::sleep_for(kBetweenTries);
  }
  if (::ftruncate(identity_.get(), 0) != 0 ||
      !write_all(identity_.get(), std::as_bytes(std::span(identity)))) {
    fail(path_ / kIdentity, "write");
  }
}

// False when somebody else has the lock, or removed the folder meanwhile.
bool StoreFolder::open() {
  make_private_folder(path_);
  folder_ = Descriptor(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder_ && errno == ENOENT) return false;
  if (!folder_) fail(path_, "open the folder");
  struct stat status {};
  if (::fstat(folder_.get(), &status) != 0) fail(path_, "look at the folder");
  if (status.st_uid != ::geteuid()) {
    throw std::runtime_error(fmt::format("{} belongs to another user", path_.string()));
  }
  if (::fchmod(folder_.get(), 0700) != 0) fail(path_, "make the folder private");

  identity_ = Descriptor(
      ::openat(folder_.get(), kIdentity, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!identity_ && errno == ENOENT) return false;
  if (!identity_) fail(path_ / kIdentity, "open");
  return lock(identity_, path_ / kIdentity) && is_at(folder_, path_);
}

std::vector<BlockName> StoreFolder::scan(std::uint64_t file_bytes) const {
  std::vector<std::pair<fs::file_time_type, BlockName>> found;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string text = entry->path().filename().string();
    const auto name = parse_file_name(text);
    if (!name) {
      if (text == kIncoming) ::unlinkat(folder_.get(), kIncoming, 0);
      continue;
    }
    std::error_code odd;
    const bool regular = fs::is_regular_file(entry->symlink_status(odd));
    if (regular && entry->file_size(odd) == file_bytes && !odd) {
      found.emplace_back(entry->last_write_time(odd), *name);
    } else {
      remove(*name);
    }
  }
  std::ranges::stable_sort(found, {}, [](const auto& block) { return block.first; });
  std::vector<BlockName> names;
  for (const auto& [used, name] : found) names.push_back(name);
  return names;
}

StoreFolder::Outcome StoreFolder::read(const BlockName& name, std::span<std::byte> file) const {
  const Descriptor source(
      ::openat(folder_.get(), FileName(name).c_str(),
               O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));  // not to wait for a pipe's writer
  if (!source) return errno == ENOENT ? Outcome::missing : Outcome::failed;
  std::size_t filled = 0;
  while (filled < file.size()) {
    const ssize_t got = ::read(source.get(), file.data() + filled, file.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Outcome::damaged;
    filled += static_cast<std::size_t>(got);
  }
  std::byte more;
  return ::read(source.get(), &more, 1) == 0 ? Outcome::whole : Outcome::damaged;
}

// Not synchronised with the disk: after a crash of the system a file may lack bytes, which costs a
// miss, while waiting for the disk would cost every write.
void StoreFolder::write(const BlockName& name, std::span<const std::byte> file) const {
  Descriptor target(::openat(folder_.get(), kIncoming,
                             O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  const bool written =
      target && write_all(target.get(), file) && target.close() &&
      ::renameat(folder_.get(), kIncoming, folder_.get(), FileName(name).c_str()) == 0;
  if (written) return;
  const int error = errno;
  ::unlinkat(folder_.get(), kIncoming, 0);
  throw std::system_error(error, std::system_category(), path_.string());
}

void StoreFolder::touch(const BlockName& name) const noexcept {
  ::utimensat(folder_.get(), FileName(name).c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

void StoreFolder::remove(const BlockName& name) const noexcept {
  ::unlinkat(folder_.get(), FileName(name).c_str(), 0);
}

}  // namespace mlxd
