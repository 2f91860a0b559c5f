#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace mlxd::cpu {

inline constexpr int kKeyTile = 16;  // tokens whose keys lie side by side

// How numbers are kept: as 16-bit floats, or as 8-bit integers with a scale for each kKvGroup
// numbers of a token's key or value. (One scale for a whole head ruined Qwen2, whose keys have a
// few huge numbers.)
enum class KvFormat { f16, int8 };

inline constexpr int kKvGroup = 32;
constexpr int kv_groups(int head_dim) { return (head_dim + kKvGroup - 1) / kKvGroup; }

// The heads of one layer's keys and values.
struct KvShape {
  int kv_heads = 0;
  int head_dim = 0;  // multiple of 16
  int group = 0;     // of the layers that are kept and let go together (RunnerInfo::kv)
  // A token's value is the first numbers of its key, and not kept once more (latent attention).
  bool values_in_keys = false;
  bool operator==(const KvShape&) const = default;
};

// Keys and values of past tokens, for each group in blocks of `block_size` tokens of its layers:
//
//   [block][layer][kv_head][block_size / 16] x { keys [head_dim][16], key scales [groups][16],
//                                                values [16][head_dim], value scales [16][groups] }
//
// where the scales are 32-bit floats, and f16 has none. Where values lie in keys a tile has no
// other part than `values [16][head_dim], value scales [16][groups]`, which holds whole keys.
//
// A block lies in one piece, so that memory in use grows with the tokens kept and a copy is one.
// Keys are stored transposed, so that the scores of 16 tokens are one vector and no sum crosses
// lanes. Every number in it is finite (store_key and store_value see to that, fresh memory is
// zero), so that a masked token, whose weight is 0, adds exactly 0 whatever its block held before.
class KvCache {
 public:
  // Throws LoadError for a shape that the layout cannot hold.
  KvCache(const std::vector<KvShape>& layers, int block_size, KvFormat format = KvFormat::f16);

  // Room for so many blocks of each group, all zero. Memory is given by the system as it is
  // touched.
  void resize(std::span<const int> blocks);
  void copy_block(int group, int from, int to);
  // All of a block. Whoever writes it puts back what was read of one.
  std::span<std::byte> block(int group, int block) const {
    const Group& of = groups_[group];
    return std::as_writable_bytes(
        std::span(of.memory.get() + block * of.block_bytes, of.block_bytes));
  }

  int block_size() const { return block_size_; }
  KvFormat format() const { return format_; }
  int groups() const { return static_cast<int>(groups_.size()); }
  std::size_t block_bytes(int group) const { return groups_[group].block_bytes; }
  int group_of(int layer) const { return layers_[layer].group; }

  // The keys of the 16 tokens of a tile, 0 .. block_size / 16 - 1, for one head, and their values.
  std::uint8_t* keys(int layer, int block, int kv_head, int tile) const {
    const Layer& at = layers_[layer];
    const int tiles = block_size_ / kKeyTile;
    return at.first + static_cast<std::size_t>(block) * at.block_bytes +
           (static_cast<std::size_t>(kv_head) * tiles + tile) * at.stride;
  }
  std::uint8_t* values(int layer, int block, int kv_head, int tile) const {
    return keys(layer, block, kv_head, tile) + layers_[layer].to_values;
  }

 private:
  struct Group {
    std::size_t block_bytes = 0;
    std::shared_ptr<std::uint8_t> memory;
  };
  struct Layer {
    int group = 0;
    std::size_t offset = 0;         // in a block
    std::size_t stride = 0;         // from 16 tokens' keys to those of the next
    std::size_t to_values = 0;      // and to their values
    std::uint8_t* first = nullptr;  // in the first block of its group
    std::size_t block_bytes = 0;    // of its group
  };

  std::vector<Group> groups_;
  std::vector<Layer> layers_;
  const int block_size_;
  const KvFormat format_;
};

}  // namespace mlxd::cpu
