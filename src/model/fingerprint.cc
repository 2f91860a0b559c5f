#include "model/fingerprint.h"

#include <fmt/format.h>

namespace mlxd {

void Fingerprint::add(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    hash_ = (hash_ ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3u;
  }
}

std::string Fingerprint::hex() const { return fmt::format("{:012x}", hash_ >> 16); }

}  // namespace mlxd
