#include "prefix_store/digest.h"

#include <memory>
#include <stdexcept>

#include <openssl/evp.h>
#include <openssl/sha.h>

namespace mlxd {
namespace {

struct FreeMac {
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};

const unsigned char* as_chars(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

int value_of(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

}  // namespace

Digest sha256(std::span<const std::byte> bytes) {
  Digest digest;
  SHA256(as_chars(bytes), bytes.size(), digest.data());
  return digest;
}

void write_hex(std::span<const std::uint8_t> bytes, char* digits) {
  constexpr const char* kDigits = "0123456789abcdef";
  for (const std::uint8_t byte : bytes) {
    *digits++ = kDigits[byte >> 4];
    *digits++ = kDigits[byte & 15];
  }
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
  std::string text(2 * bytes.size(), '\0');
  write_hex(bytes, text.data());
  return text;
}

std::optional<Digest> digest_from_hex(std::string_view digits) {
  Digest digest;
  if (digits.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = value_of(digits[2 * i]);
    const int low = value_of(digits[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return digest;
}

Checksum checksum(std::span<const std::byte> bytes) {
  static const std::unique_ptr<EVP_MAC, FreeMac> algorithm(
      EVP_MAC_fetch(nullptr, "POLY1305", nullptr));
  static const Digest key = sha256(std::as_bytes(std::span("mlxd's checksum of a file")));
  const std::unique_ptr<EVP_MAC_CTX, FreeMac> context(algorithm ? EVP_MAC_CTX_new(algorithm.get())
                                                                : nullptr);
  Checksum sum;
  std::size_t length = 0;
  if (!context || EVP_MAC_init(context.get(), key.data(), key.size(), nullptr) != 1 ||
      EVP_MAC_update(context.get(), as_chars(bytes), bytes.size()) != 1 ||
      EVP_MAC_final(context.get(), sum.data(), &length, sum.size()) != 1 || length != sum.size()) {
    throw std::runtime_error("this OpenSSL cannot compute Poly1305, the checksum of files");
  }
  return sum;
}

}  // namespace mlxd
