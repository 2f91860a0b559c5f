#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "prefix_store/numbers.h"
#include "prefix_store/prefix_store.h"
#include "prefix_store/temporary_folder.h"

namespace mlxd::testing {

using Bytes = std::vector<std::byte>;

// Stores of small blocks, whose contents follow from their salt and tokens.
class StoreFixture : public ::testing::Test {
 protected:
  static constexpr int kBlock = 4;
  static constexpr std::size_t kBlockBytes = 100;

  struct Block {
    BlockName name;
    bool first = false;
    std::vector<int> tokens;
    Bytes contents;
  };

  PrefixStoreOptions options_of(const std::string& identity) const {
    PrefixStoreOptions options;
    options.directory = folder_.path();
    options.identity = identity;
    options.max_bytes = std::uint64_t{1} << 30;
    options.block_size = kBlock;
    options.block_bytes = kBlockBytes;
    return options;
  }
  void open(const PrefixStoreOptions& options) {
    store_.reset();
    store_ = std::make_unique<PrefixStore>(options);
  }
  void open(const std::string& identity = "a model") { open(options_of(identity)); }
  void open(const std::string& identity, std::uint64_t max_bytes) {
    PrefixStoreOptions options = options_of(identity);
    options.max_bytes = max_bytes;
    open(options);
  }

  // The blocks of a prefix, whether or not they are stored.
  std::vector<Block> blocks_of(const std::vector<int>& tokens, std::uint64_t salt = 0) const {
    const BlockFormat& format = store_->format();
    std::vector<Block> blocks;
    Digest parent = format.root(salt);
    for (std::size_t at = 0; at + kBlock <= tokens.size(); at += kBlock) {
      Block& block = blocks.emplace_back();
      block.tokens.assign(tokens.begin() + at, tokens.begin() + at + kBlock);
      block.first = at == 0;
      block.name = {format.key(parent, block.tokens), parent};
      std::mt19937 random(block.name.key[0] << 8 | block.name.key[1]);
      for (std::size_t i = 0; i < kBlockBytes; ++i) {
        block.contents.push_back(static_cast<std::byte>(random()));
      }
      parent = block.name.key;
    }
    return blocks;
  }

  void offer(const Block& block) {
    EXPECT_TRUE(store_->offer(block.name, block.first, block.tokens, [&](std::span<std::byte> out) {
      std::ranges::copy(block.contents, out.begin());
    }));
  }
  void put(const std::vector<int>& tokens, std::uint64_t salt = 0) {
    for (const Block& block : blocks_of(tokens, salt)) {
      if (!store_->has(block.name.key)) offer(block);
    }
    store_->flush();
  }

  // Whether the block can be read; its contents are then right.
  bool can_read(const Block& block) {
    if (!store_->contains(block.name.key)) return false;
    const PrefixStore::Buffer file = store_->buffer_until(TimePoint::min());
    if (!store_->read(block.name, block.tokens, file.bytes())) return false;
    const auto payload = store_->format().payload(file.bytes());
    EXPECT_TRUE(std::ranges::equal(payload, block.contents)) << "another block's contents";
    return true;
  }
  // How many blocks of the prefix can be read, from its beginning.
  int found(const std::vector<int>& tokens, std::uint64_t salt = 0) {
    int count = 0;
    for (const Block& block : blocks_of(tokens, salt)) {
      if (!can_read(block)) break;
      ++count;
    }
    return count;
  }

  std::filesystem::path file_of(const Block& block) const {
    return store_->path() / (to_hex(block.name.key) + "-" + to_hex(block.name.parent));
  }
  // As if these blocks had been used so long ago.
  void set_age(const std::vector<int>& tokens, std::chrono::seconds age) {
    for (const Block& block : blocks_of(tokens)) {
      std::filesystem::last_write_time(file_of(block),
                                       std::filesystem::file_time_type::clock::now() - age);
    }
  }
  int files() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(store_->path())) {
      count += entry.path().filename().string().size() == 129;
    }
    return count;
  }

  TemporaryFolder folder_;
  std::unique_ptr<PrefixStore> store_;
};

inline std::string contents_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::filesystem::path& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << contents;
}

}  // namespace mlxd::testing
