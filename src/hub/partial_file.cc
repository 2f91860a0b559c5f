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

namespace fs = std::filesystem;

// Small enough that several connections share a file of middling size, and so few that a hub which
// counts requests does not mind.
constexpr std::int64_t kSmallestPiece = std::int64_t{16} << 20;
constexpr std::int64_t kMostPieces = 64;
constexpr const char* kRangesHeader = "mlxd-ranges-1";

fs::path with(const fs::path& blob, const char* ending) {
  return blob.parent_path() / (blob.filename().string() + ending);
}

[[noreturn]] void fail(const fs::path& path) {
  throw StartupError(fmt::format("{} cannot be written: {}", path.string(), std::strerror(errno)));
}

fs::path partial_path(const fs::path& blob) { return with(blob, ".mlxd.incomplete"); }
fs::path ranges_path(const fs::path& blob) { return with(blob, ".mlxd.ranges"); }

std::int64_t sum_of(const std::vector<PartialFile::Piece>& pieces) {
  return std::accumulate(
      pieces.begin(), pieces.end(), std::int64_t{0},
      [](std::int64_t sum, const PartialFile::Piece& piece) { return sum + piece.done; });
}

// What an earlier process wrote down; nothing when it does not fit together.
std::vector<PartialFile::Piece> read_ranges(const fs::path& blob, std::int64_t size) {
  std::ifstream file(ranges_path(blob));
  std::string header;
  std::int64_t stated = 0;
  if (!(file >> header >> stated) || header != kRangesHeader || stated != size) return {};
  std::error_code error;
  const auto there = static_cast<std::int64_t>(fs::file_size(partial_path(blob), error));
  if (error) return {};
  std::vector<PartialFile::Piece> pieces;
  std::int64_t end = 0;
  for (PartialFile::Piece piece; file >> piece.begin >> piece.end >> piece.done; end = piece.end) {
    if (piece.begin != end || piece.end <= piece.begin || piece.end > size || piece.done < 0 ||
        piece.done > piece.end - piece.begin || pieces.size() == kMostPieces) {
      return {};
    }
    // A crash of the machine may have kept the list and not the bytes.
    if (piece.done > 0 && piece.begin + piece.done > there) return {};
    pieces.push_back(piece);
  }
  if (end != size) return {};
  return pieces;
}

}  // namespace

PartialFile::PartialFile(fs::path blob, std::int64_t size)
    : blob_(std::move(blob)),
      path_(partial_path(blob_)),
      ranges_path_(ranges_path(blob_)),
      size_(size) {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor_ < 0) fail(path_);
  pieces_ = read_ranges(blob_, size_);
  if (pieces_.empty()) start_again(/*as_one_piece=*/false);
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

std::int64_t PartialFile::done() const { return sum_of(pieces_); }

std::int64_t PartialFile::bytes_there(const fs::path& blob, std::int64_t size) {
  return sum_of(read_ranges(blob, size));
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
  fs::rename(temporary, ranges_path_);
}

void PartialFile::move_to_blob() {
  if (::fsync(descriptor_) != 0) fail(path_);
  fs::rename(path_, blob_);
  std::error_code error;
  fs::remove(ranges_path_, error);
}

void PartialFile::remove() {
  std::error_code error;
  fs::remove(path_, error);
  fs::remove(ranges_path_, error);
}

}  // namespace mlxd::hub
