#include "hub/partial_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <numeric>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"

namespace mlxd::hub {
namespace {

// Small enough that several connections share a file of middling size, and so few that a hub which
// counts requests does not mind.
constexpr std::int64_t kSmallestPiece = std::int64_t{16} << 20;
constexpr std::int64_t kMostPieces = 64;
constexpr const char* kRangesHeader = "mlxd-ranges-1";

std::filesystem::path with(const std::filesystem::path& blob, const char* ending) {
  return blob.parent_path() / (blob.filename().string() + ending);
}

[[noreturn]] void fail(const std::filesystem::path& path) {
  throw StartupError(fmt::format("{} cannot be written: {}", path.string(), std::strerror(errno)));
}

}  // namespace

PartialFile::PartialFile(std::filesystem::path blob, std::int64_t size)
    : blob_(std::move(blob)),
      path_(with(blob_, ".mlxd.incomplete")),
      ranges_path_(with(blob_, ".mlxd.ranges")),
      size_(size) {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor_ < 0) fail(path_);
  if (!read_ranges()) start_again(/*as_one_piece=*/false);
}

PartialFile::~PartialFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void PartialFile::divide() {
  pieces_.clear();
  const std::int64_t length = std::max(kSmallestPiece, (size_ + kMostPieces - 1) / kMostPieces);
  for (std::int64_t begin = 0; begin < size_; begin += length) {
    pieces_.push_back({begin, std::min(begin + length, size_)});
  }
}

bool PartialFile::read_ranges() {
  std::ifstream file(ranges_path_);
  std::string header;
  std::int64_t size = 0;
  if (!(file >> header >> size) || header != kRangesHeader || size != size_) return false;
  std::error_code error;
  const auto there = static_cast<std::int64_t>(std::filesystem::file_size(path_, error));
  if (error) return false;
  std::int64_t end = 0;
  for (Piece piece; file >> piece.begin >> piece.end >> piece.done; end = piece.end) {
    if (piece.begin != end || piece.end <= piece.begin || piece.end > size_ || piece.done < 0 ||
        piece.done > piece.end - piece.begin || pieces_.size() == kMostPieces) {
      return false;
    }
    // A crash of the machine may have kept the list and not the bytes.
    if (piece.done > 0 && piece.begin + piece.done > there) return false;
    pieces_.push_back(piece);
  }
  return end == size_ && size_ > 0;
}

std::optional<std::size_t> PartialFile::take() {
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (pieces_[i].taken || pieces_[i].complete()) continue;
    pieces_[i].taken = true;
    return i;
  }
  return std::nullopt;
}

bool PartialFile::write(std::size_t index, const char* data, std::size_t size) {
  Piece& piece = pieces_[index];
  if (static_cast<std::int64_t>(size) > piece.end - piece.begin - piece.done) return false;
  while (size > 0) {
    const ssize_t written = ::pwrite(descriptor_, data, size, piece.begin + piece.done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path_);
    piece.done += written;
    data += written;
    size -= static_cast<std::size_t>(written);
  }
  return true;
}

std::int64_t PartialFile::done() const {
  return std::accumulate(pieces_.begin(), pieces_.end(), std::int64_t{0},
                         [](std::int64_t sum, const Piece& piece) { return sum + piece.done; });
}

void PartialFile::start_again(bool as_one_piece) {
  if (::ftruncate(descriptor_, 0) != 0) fail(path_);
  divide();
  if (as_one_piece) pieces_ = {{0, size_}};
  save();
}

void PartialFile::save() const {
  const auto temporary = with(ranges_path_, ".new");
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << kRangesHeader << ' ' << size_ << '\n';
    for (const Piece& piece : pieces_) {
      file << piece.begin << ' ' << piece.end << ' ' << piece.done << '\n';
    }
    if (!file.flush()) fail(temporary);
  }
  std::filesystem::rename(temporary, ranges_path_);
}

void PartialFile::move_to_blob() {
  if (::fsync(descriptor_) != 0) fail(path_);
  std::filesystem::rename(path_, blob_);
  std::error_code error;
  std::filesystem::remove(ranges_path_, error);
}

void PartialFile::remove() {
  std::error_code error;
  std::filesystem::remove(path_, error);
  std::filesystem::remove(ranges_path_, error);
}

}  // namespace mlxd::hub
