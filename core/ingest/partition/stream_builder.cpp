#include "ingest/partition/stream_builder.hpp"

#include <functional>

#include "ingest/partition/tree_builder.hpp"

namespace fused::ingest {
namespace {

constexpr std::size_t kBufferKeys = 64 * 1024;

using See = std::function<Status(std::span<const WeightedKey>)>;

// Keys that can be gone through as often as needed, in the order of the input.
class KeyStream {
 public:
  virtual ~KeyStream() = default;
  virtual Status each(const See& see) = 0;
};

class StoreStream : public KeyStream {
 public:
  explicit StoreStream(RowStore& store) : store_(store) {}
  Status each(const See& see) override {
    Block block;
    std::vector<WeightedKey> keys;
    for (const Block& from : store_.blocks()) {
      FUSED_CHECK(store_.load(from, false, block));
      keys.clear();
      for (std::uint32_t i = 0; i < block.rows; ++i)
        keys.push_back({block.places[i].x, block.places[i].y, static_cast<std::uint32_t>(from.first_row) + i,
                        store_.with_loads() ? block.loads[i] : 1});
      FUSED_CHECK(see(keys));
    }
    return {};
  }

 private:
  RowStore& store_;
};

class FileStream : public KeyStream {
 public:
  static Result<std::unique_ptr<FileStream>> make(const std::string& folder) {
    auto stream = std::make_unique<FileStream>();
    stream->scratch_ = FUSED_TRY(Scratch::open(folder, "", std::numeric_limits<std::int64_t>::max()));
    return stream;
  }
  Status add(const WeightedKey& key) {
    buffer_.push_back(key);
    return buffer_.size() == kBufferKeys ? flush() : Status{};
  }
  Status flush() {
    const iovec piece{buffer_.data(), buffer_.size() * sizeof(WeightedKey)};
    FUSED_CHECK(scratch_.append({&piece, 1}));
    buffer_.clear();
    return {};
  }
  Status each(const See& see) override {
    std::vector<WeightedKey> keys;
    for (std::uint64_t at = 0; at < scratch_.size();) {
      keys.resize(std::min<std::uint64_t>(kBufferKeys, (scratch_.size() - at) / sizeof(WeightedKey)));
      FUSED_CHECK(scratch_.read(at, keys.data(), keys.size() * sizeof(WeightedKey)));
      at += keys.size() * sizeof(WeightedKey);
      FUSED_CHECK(see(keys));
    }
    return {};
  }

 private:
  Scratch scratch_;
  std::vector<WeightedKey> buffer_;
};

class StreamBuilder {
 public:
  StreamBuilder(const Rules& rules, int threads, const std::string& folder, std::int64_t memory_max)
      : rules_(rules), threads_(threads), folder_(folder), memory_max_(memory_max) {}

  Result<std::unique_ptr<TreeNode>> build(std::unique_ptr<KeyStream> keys, const Extent& extent, bool in_file) {
    if (static_cast<std::int64_t>(extent.count * sizeof(WeightedKey)) <= memory_max_) {
      std::vector<WeightedKey> all;
      all.reserve(extent.count);
      FUSED_CHECK(keys->each([&](std::span<const WeightedKey> part) -> Status {
        all.insert(all.end(), part.begin(), part.end());
        return {};
      }));
      keys.reset();
      return TreeBuilder<WeightedKey>(rules_, threads_).build(all, in_file);
    }
    auto node = std::make_unique<TreeNode>();
    node->rows = extent.count;
    node->cut = FUSED_TRY(cut(*keys, extent, in_file));
    if (node->cut.split == Split::leaf && !in_file) {
      node->is_file = in_file = true;
      node->cut = FUSED_TRY(cut(*keys, extent, true));
    }
    if (node->cut.split == Split::leaf) return node;
    if (node->cut.median) node->cut.threshold = FUSED_TRY(median(*keys, node->cut.split, extent));
    auto left = FUSED_TRY(FileStream::make(folder_)), right = FUSED_TRY(FileStream::make(folder_));
    Extent below, above;
    FUSED_CHECK(keys->each([&](std::span<const WeightedKey> part) -> Status {
      for (const WeightedKey& key : part) {
        const bool is_below = value_on(node->cut.split, key.x, key.y, key.row) < node->cut.threshold;
        (is_below ? below : above).add(key.x, key.y, weight_of(rules_.options.weight, key.load));
        FUSED_CHECK((is_below ? left : right)->add(key));
      }
      return {};
    }));
    FUSED_CHECK(left->flush());
    FUSED_CHECK(right->flush());
    keys.reset();
    node->left = FUSED_TRY(build(std::move(left), below, in_file));
    node->right = FUSED_TRY(build(std::move(right), above, in_file));
    return node;
  }

 private:
  Result<Cut> cut(KeyStream& keys, const Extent& extent, bool in_file) const {
    const Cut found = cut_of(extent, in_file ? rules_.chunk : rules_.file, rules_.options);
    if (!found.ratio) return found;
    Extent below, above;
    FUSED_CHECK(keys.each([&](std::span<const WeightedKey> part) -> Status {
      for (const WeightedKey& key : part)
        (value_on(found.split, key.x, key.y, key.row) < found.threshold ? below : above).add(key.x, key.y, 0);
      return {};
    }));
    return ratio_cut_helps(extent, below, above, rules_.options) ? found : Cut{};
  }
  // The value in the middle, by counting the upper half of its bits and then the lower half.
  Result<std::uint32_t> median(KeyStream& keys, Split axis, const Extent& extent) const {
    std::uint64_t rank = extent.count / 2;
    std::uint32_t upper = 0, lower = 0;
    for (const bool second : {false, true}) {
      std::vector<std::uint64_t> counts(1 << 16);
      FUSED_CHECK(keys.each([&](std::span<const WeightedKey> part) -> Status {
        for (const WeightedKey& key : part) {
          const std::uint32_t value = value_on(axis, key.x, key.y, key.row);
          if (!second)
            ++counts[value >> 16];
          else if (value >> 16 == upper)
            ++counts[value & 0xFFFF];
        }
        return {};
      }));
      std::uint32_t bin = 0;
      while (rank >= counts[bin]) rank -= counts[bin++];
      (second ? lower : upper) = bin;
    }
    const std::uint32_t middle = upper << 16 | lower;
    if (axis == Split::row) return middle;
    return median_threshold(middle, axis == Split::x ? extent.minx : extent.miny);
  }

  const Rules& rules_;
  int threads_;
  const std::string& folder_;
  std::int64_t memory_max_;
};

}  // namespace

Result<Partition> partition_stream(RowStore& store, const PartitionOptions& options, int threads,
                                   const std::string& scratch_folder, std::int64_t key_memory_max) {
  auto keys = std::make_unique<StoreStream>(store);
  Extent all;
  FUSED_CHECK(keys->each([&](std::span<const WeightedKey> part) -> Status {
    for (const WeightedKey& key : part) all.add(key.x, key.y, weight_of(options.weight, key.load));
    return {};
  }));
  double per_file = 0, per_chunk = 0;
  const Rules rules = FUSED_TRY(rules_of(options, all, per_file, per_chunk));
  const auto root =
      FUSED_TRY(StreamBuilder(rules, threads, scratch_folder, key_memory_max).build(std::move(keys), all, false));
  Partition partition = flattened(*root);
  partition.maximum_per_file = per_file;
  partition.maximum_per_chunk = per_chunk;
  return partition;
}

}  // namespace fused::ingest
