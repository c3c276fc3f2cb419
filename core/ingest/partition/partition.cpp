#include "ingest/partition/partition.hpp"

#include <limits>

#include "ingest/partition/stream_builder.hpp"
#include "ingest/partition/tree_builder.hpp"

namespace fused::ingest {
namespace {

struct Flattener {
  Partition partition;
  std::uint64_t first = 0;

  std::uint32_t visit(const TreeNode& node) {
    const auto at = static_cast<std::uint32_t>(partition.nodes.size());
    partition.nodes.push_back({node.cut.split, node.cut.threshold, 0, 0});
    if (node.is_file) ++partition.files;
    if (node.cut.split == Split::leaf) {
      partition.nodes[at].left = static_cast<std::uint32_t>(partition.chunks.size());
      partition.chunks.push_back({partition.files - 1, node.rows, first});
      first += node.rows;
      return at;
    }
    const std::uint32_t left = visit(*node.left), right = visit(*node.right);
    partition.nodes[at].left = left;
    partition.nodes[at].right = right;
    return at;
  }
};

// Rows of all blocks as keys, in their order; places are freed on the way, so that the peak is one set of keys.
template <class K>
std::vector<K> keys_of(RowStore& store) {
  std::vector<K> keys;
  keys.reserve(store.rows());
  for (Block& block : store.blocks()) {
    const auto first = static_cast<std::uint32_t>(block.first_row);
    for (std::uint32_t i = 0; i < block.rows; ++i) {
      K key;
      key.x = block.places[i].x;
      key.y = block.places[i].y;
      key.row = first + i;
      if constexpr (requires { key.load; }) key.load = block.loads[i];
      keys.push_back(key);
    }
    free_memory(block.places);
    free_memory(block.loads);
  }
  return keys;
}

template <class K>
Extent extent_of(const std::vector<K>& keys, Weight method) {
  Extent extent;
  for (const K& key : keys) extent.add(key.x, key.y, weight_in(method, key));
  return extent;
}

template <class K>
Result<Partition> in_memory(RowStore& store, const PartitionOptions& options, int threads, std::vector<K>& keys) {
  keys = keys_of<K>(store);
  double per_file = 0, per_chunk = 0;
  const Rules rules = FUSED_TRY(rules_of(options, extent_of(keys, options.weight), per_file, per_chunk));
  const auto root = TreeBuilder<K>(rules, threads).build(keys, false);
  Partition partition = flattened(*root);
  partition.has_keys = true;
  partition.maximum_per_file = per_file;
  partition.maximum_per_chunk = per_chunk;
  return partition;
}

// Files and chunks of given boxes, and how many rows each has; a box without rows is no chunk.
Partition of_boxes(std::shared_ptr<const BoxIndex> boxes, const std::vector<std::uint64_t>& rows) {
  Partition partition;
  partition.chunk_of_box.resize(rows.size());
  std::uint64_t first = 0;
  std::int64_t last_file = -1;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] == 0) continue;
    const std::int64_t file = i < boxes->size() ? boxes->box(i).file : std::numeric_limits<std::int64_t>::max();
    if (partition.chunks.empty() || file != last_file) ++partition.files;
    last_file = file;
    partition.chunk_of_box[i] = static_cast<std::uint32_t>(partition.chunks.size());
    partition.chunks.push_back({partition.files - 1, rows[i], first});
    first += rows[i];
  }
  partition.boxes = std::move(boxes);
  return partition;
}

std::size_t box_at(const BoxIndex& boxes, const Place& place) {
  return place.x == kNowhere ? boxes.size() : boxes.box_of(place.x, place.y);
}

template <class K>
void sort_by_chunk(const Partition& partition, std::vector<K>& keys) {
  std::vector<std::uint64_t> next;
  for (const Chunk& chunk : partition.chunks) next.push_back(chunk.first);
  std::vector<K> sorted(keys.size());
  for (const K& key : keys) sorted[next[partition.chunk_of(key.x, key.y, key.row)]++] = key;
  keys = std::move(sorted);
}

Result<Partition> by_boxes(RowStore& store, const std::string& path, Keys& keys) {
  const auto boxes = std::make_shared<const BoxIndex>(FUSED_TRY(read_boxes(path)));
  std::vector<std::uint64_t> rows(boxes->size() + 1);
  Block block;
  for (Block& from : store.blocks()) {
    if (!store.places_in_memory()) FUSED_CHECK(store.load(from, false, block));
    for (const Place& place : store.places_in_memory() ? from.places : block.places) ++rows[box_at(*boxes, place)];
  }
  Partition partition = of_boxes(boxes, rows);
  if (!store.in_memory()) return partition;
  if (keys.with_loads) {
    keys.weighted = keys_of<WeightedKey>(store);
    sort_by_chunk(partition, keys.weighted);
  } else {
    keys.plain = keys_of<Key>(store);
    sort_by_chunk(partition, keys.plain);
  }
  partition.has_keys = true;
  return partition;
}

}  // namespace

Partition flattened(const TreeNode& root) {
  Flattener flattener;
  flattener.visit(root);
  return std::move(flattener.partition);
}

Result<Partition> make_partition(RowStore& store, const PartitionOptions& options, int threads,
                                 const std::string& scratch_folder, std::int64_t key_memory_max, Keys& keys) {
  keys.with_loads = store.with_loads();
  if (!options.schema_input.empty()) return by_boxes(store, options.schema_input, keys);
  if (!store.places_in_memory()) return partition_stream(store, options, threads, scratch_folder, key_memory_max);
  Partition partition = keys.with_loads ? FUSED_TRY(in_memory(store, options, threads, keys.weighted))
                                        : FUSED_TRY(in_memory(store, options, threads, keys.plain));
  if (!store.in_memory()) {
    free_memory(keys.plain);
    free_memory(keys.weighted);
    partition.has_keys = false;
  }
  return partition;
}

}  // namespace fused::ingest
