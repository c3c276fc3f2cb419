// Which chunk a row belongs to: a binary tree of splits. A row's place and number lead to one leaf.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ingest/keys.hpp"
#include "ingest/partition/boxes.hpp"

namespace fused::ingest {

enum class Split : std::uint32_t { leaf, x, y, row };

struct Node {
  Split split = Split::leaf;
  std::uint32_t threshold = 0;        // below it: left
  std::uint32_t left = 0, right = 0;  // nodes; of a leaf `left` is the chunk
};

// Chunks in the order of the leaves from left to right.
struct Chunk {
  std::uint32_t file = 0;  // from 0
  std::uint64_t rows = 0;
  std::uint64_t first = 0;  // of the reordered keys, where they lie in memory
};

struct Partition {
  std::vector<Node> nodes;    // the first is the root
  std::vector<Chunk> chunks;  // of one file they stand together
  std::uint32_t files = 0;
  bool has_keys = false;                               // Chunk::first is true
  double maximum_per_file = 0, maximum_per_chunk = 0;  // as used

  std::shared_ptr<const BoxIndex> boxes;    // instead of the nodes
  std::vector<std::uint32_t> chunk_of_box;  // empty boxes have none; the last is that of rows without geometry

  std::uint32_t chunk_of(std::uint32_t x, std::uint32_t y, std::uint32_t row) const {
    if (boxes) return chunk_of_box[x == kNowhere ? boxes->size() : boxes->box_of(x, y)];
    const Node* node = nodes.data();
    while (node->split != Split::leaf) {
      const std::uint32_t value = node->split == Split::x ? x : node->split == Split::y ? y : row;
      node = &nodes[value < node->threshold ? node->left : node->right];
    }
    return node->left;
  }
};

}  // namespace fused::ingest
