#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "prefix_store/block_format.h"

namespace mlxd {

// A file or folder that is open; closes it.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor();

  explicit operator bool() const { return number_ >= 0; }
  int get() const { return number_; }
  // False when closing told of an error: what was written may be lost.
  bool close();

 private:
  int number_;
};

// The folder of the blocks of one identity: DIR/<32 hex digits>, readable by its owner alone, with
// one file a block, named by the hex digits of its key and its parent's. Its file "identity" says
// in words whose blocks they are, and is locked by the process that uses the folder.
class StoreFolder {
 public:
  // Makes what is missing. Waits a moment for a lock, since another process may be looking whether
  // the folder is in use. Throws std::runtime_error that says what is wrong.
  StoreFolder(const std::filesystem::path& root, const std::string& identity);

  const std::filesystem::path& path() const { return path_; }

  // The blocks, those that were used longest ago first. Removes files that cannot be one, and what
  // a write left that was cut off. Reads no contents.
  std::vector<BlockName> scan(std::uint64_t file_bytes) const;

  enum class Outcome { whole, missing, damaged, failed };
  // Fills `file`, which is as long as every block's file; its contents are the caller's to check.
  // `failed`: the file may be good, but could not be opened. Any thread.
  Outcome read(const BlockName& name, std::span<std::byte> file) const;

  // The rest is for one thread at a time. All or nothing, unless the system fails before it has
  // the bytes on disk, which the checksum then tells. Throws std::system_error.
  void write(const BlockName& name, std::span<const std::byte> file) const;
  // These need no memory.
  void touch(const BlockName& name) const noexcept;  // it was used now
  void remove(const BlockName& name) const noexcept;

 private:
  bool open();

  const std::filesystem::path path_;
  Descriptor folder_;
  Descriptor identity_;  // the file; holds the lock
};

// The folder's name for an identity, and whether a name could be one.
std::string folder_name(const std::string& identity);
bool is_folder_name(const std::string& name);

// Locks the folder's file "identity", which must be there; none when somebody else has.
Descriptor lock_folder(const std::filesystem::path& folder);
// Of a folder that the caller has locked. Who opens it meanwhile gets a whole one or a new one.
std::error_code remove_folder(const std::filesystem::path& folder);

}  // namespace mlxd
