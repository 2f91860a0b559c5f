#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace mlxd {

// A whole file, mapped read-only for as long as the object lives. Throws LoadError that names the
// file when it cannot be opened or mapped, or is not a regular file. The bytes may be read on any
// thread.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MappedFile(std::filesystem::path path, std::span<const std::byte> bytes);

  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace mlxd
