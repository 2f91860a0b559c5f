#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mlxd {

// SHA-256: what names a thing so that nothing else has its name.
using Digest = std::array<std::uint8_t, 32>;
Digest sha256(std::span<const std::byte> bytes);

std::string to_hex(std::span<const std::uint8_t> bytes);            // lower case
void write_hex(std::span<const std::uint8_t> bytes, char* digits);  // two for each byte
std::optional<Digest> digest_from_hex(std::string_view digits);     // 64 of them, lower case

struct DigestHash {
  std::size_t operator()(const Digest& digest) const {
    std::size_t word;
    std::memcpy(&word, digest.data(), sizeof word);
    return word;
  }
};

// Finds damage, whatever it is, but for one case in 2^80: Poly1305 with a key that is no secret.
// Several times as fast as SHA-256 on processors without instructions for that; it is no defence
// against forgery. Throws std::runtime_error where OpenSSL does not offer it.
using Checksum = std::array<std::uint8_t, 16>;
Checksum checksum(std::span<const std::byte> bytes);

}  // namespace mlxd
