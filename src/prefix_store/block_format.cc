#include "prefix_store/block_format.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace mlxd {
namespace {

constexpr std::string_view kMagic = "mlxdkv1\n";
constexpr std::size_t kAlignment = 64;  // of the payload, for the copies

std::size_t header_bytes_for(int block_size) {
  const std::size_t bytes = kMagic.size() + 2 * sizeof(Digest) + sizeof(int) * block_size;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

BlockFormat::BlockFormat(const Digest& identity, int block_size, std::size_t block_bytes)
    : identity_(identity),
      block_size_(block_size),
      block_bytes_(block_bytes),
      header_bytes_(header_bytes_for(block_size)) {}

Digest BlockFormat::root(std::uint64_t salt) const {
  std::array<std::byte, sizeof(Digest) + sizeof salt> text;
  std::memcpy(text.data(), identity_.data(), sizeof(Digest));
  std::memcpy(text.data() + sizeof(Digest), &salt, sizeof salt);
  return sha256(text);
}

Digest BlockFormat::key(const Digest& parent, std::span<const int> tokens) const {
  check(static_cast<int>(tokens.size()) == block_size_, "a stored block is full");
  std::vector<std::byte> text(sizeof(Digest) + tokens.size_bytes());
  std::memcpy(text.data(), parent.data(), sizeof(Digest));
  std::memcpy(text.data() + sizeof(Digest), tokens.data(), tokens.size_bytes());
  return sha256(text);
}

void BlockFormat::write_header(std::span<std::byte> file, const Digest& parent,
                               std::span<const int> tokens) const {
  std::byte* at = file.data();
  const auto put = [&at](const void* from, std::size_t bytes) {
    std::memcpy(at, from, bytes);
    at += bytes;
  };
  put(kMagic.data(), kMagic.size());
  put(identity_.data(), sizeof identity_);
  put(parent.data(), sizeof parent);
  put(tokens.data(), tokens.size_bytes());
  std::fill(at, file.data() + header_bytes_, std::byte{0});
}

void BlockFormat::seal(std::span<std::byte> file) const {
  const Checksum sum = checksum(file.first(header_bytes_ + block_bytes_));
  std::memcpy(file.data() + header_bytes_ + block_bytes_, sum.data(), sizeof sum);
}

bool BlockFormat::holds(std::span<const std::byte> file, const Digest& parent,
                        std::span<const int> tokens) const {
  if (file.size() != file_bytes()) return false;
  std::vector<std::byte> header(header_bytes_);
  write_header(header, parent, tokens);
  if (!std::ranges::equal(file.first(header_bytes_), header)) return false;
  const Checksum sum = checksum(file.first(header_bytes_ + block_bytes_));
  return std::memcmp(file.data() + header_bytes_ + block_bytes_, sum.data(), sizeof sum) == 0;
}

}  // namespace mlxd
