#include "hub/blob_hash.h"

#include <array>
#include <fstream>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/error.h"

namespace mlxd::hub {

std::string hash_of(const std::filesystem::path& path, const RepositoryFile& file,
                    const std::atomic<bool>& stop) {
  constexpr std::size_t kBlock = std::size_t{1} << 20;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  if (!context ||
      EVP_DigestInit_ex(context.get(), file.is_sha256 ? EVP_sha256() : EVP_sha1(), nullptr) != 1) {
    throw StartupError("OpenSSL has no hash that the hub's files need");
  }
  if (!file.is_sha256) {
    const std::string prefix = fmt::format("blob {}", file.size);
    EVP_DigestUpdate(context.get(), prefix.c_str(), prefix.size() + 1);  // with its NUL
  }
  std::ifstream input(path, std::ios::binary);
  std::vector<char> block(kBlock);
  while (input && !stop) {
    input.read(block.data(), static_cast<std::streamsize>(block.size()));
    EVP_DigestUpdate(context.get(), block.data(), static_cast<std::size_t>(input.gcount()));
  }
  if (stop) return "";
  if (!input.eof()) throw StartupError(fmt::format("{} cannot be read", path.string()));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int length = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &length);
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace mlxd::hub
