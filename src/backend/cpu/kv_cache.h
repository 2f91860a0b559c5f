#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace mlxd::cpu {

inline constexpr int kKeyTile = 16;  // tokens whose keys lie side by side

// The heads of one layer's keys and values.
struct KvShape {
  int kv_heads = 0;
  int head_dim = 0;  // multiple of 16
};

// Keys and values of past tokens as 16-bit floats, in blocks of `block_size` tokens of all layers:
//
//   [block][layer][kv_head][block_size / 16] x { keys [head_dim][16], values [16][head_dim] }
//
// A block lies in one piece, so that memory in use grows with the tokens kept and a copy is one.
// Keys are stored transposed, so that the scores of 16 tokens are one vector and no sum crosses
// lanes. Every number in it is finite (store_key and store_value see to that, fresh memory is
// zero), so that a masked token, whose weight is 0, adds exactly 0 whatever its block held before.
class KvCache {
 public:
  // Throws LoadError for a shape that the layout cannot hold.
  KvCache(std::vector<KvShape> layers, int block_size);

  // Room for `blocks` blocks, all zero. Memory is given by the system as it is touched.
  void resize(int blocks);
  void copy_block(int from, int to);

  int blocks() const { return blocks_; }
  int block_size() const { return block_size_; }
  std::size_t block_bytes() const { return block_halves_ * sizeof(std::uint16_t); }

  // The keys of the 16 tokens of a tile, 0 .. block_size / 16 - 1, for one head; the values follow.
  std::uint16_t* keys(int layer, int block, int kv_head, int tile) const {
    const Layer& at = layers_[layer];
    const int tiles = block_size_ / kKeyTile;
    return data_ + static_cast<std::size_t>(block) * block_halves_ + at.offset +
           (static_cast<std::size_t>(kv_head) * tiles + tile) * 2 * kKeyTile * at.shape.head_dim;
  }
  std::uint16_t* values(int layer, int block, int kv_head, int tile) const {
    return keys(layer, block, kv_head, tile) + kKeyTile * layers_[layer].shape.head_dim;
  }

 private:
  struct Layer {
    KvShape shape;
    std::size_t offset = 0;  // in a block
  };

  std::vector<Layer> layers_;
  const int block_size_;
  std::size_t block_halves_ = 0;
  int blocks_ = 0;
  std::shared_ptr<std::uint8_t> memory_;
  std::uint16_t* data_ = nullptr;  // in memory_
};

}  // namespace mlxd::cpu
