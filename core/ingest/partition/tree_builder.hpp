// The recursion over keys in memory, and the flattening of what it gives.
#pragma once
#include <algorithm>
#include <future>
#include <memory>
#include <span>

#include "ingest/partition/partition.hpp"

namespace fused::ingest {

struct TreeNode {
  Cut cut;
  std::unique_ptr<TreeNode> left, right;
  bool is_file = false;  // the chunks below are one file
  std::uint64_t rows = 0;
};

// Numbers leaves and files from left to right.
Partition flattened(const TreeNode& root);

template <class K>
std::uint64_t weight_in(Weight method, const K& key) {
  if constexpr (requires { key.load; })
    return weight_of(method, key.load);
  else
    return 1;
}

inline std::uint32_t value_on(Split axis, std::uint32_t x, std::uint32_t y, std::uint32_t row) {
  return axis == Split::x ? x : axis == Split::y ? y : row;
}

// Reorders keys in place. Subtrees run beside each other; what each does depends on its keys alone.
template <class K>
class TreeBuilder {
 public:
  TreeBuilder(const Rules& rules, int threads) : rules_(rules), threads_(threads) {}

  std::unique_ptr<TreeNode> build(std::span<K> keys, bool in_file, int depth = 0) const {
    Extent extent;
    for (const K& key : keys) extent.add(key.x, key.y, weight_in(rules_.options.weight, key));
    auto node = std::make_unique<TreeNode>();
    node->rows = keys.size();
    node->cut = cut(keys, extent, in_file);
    if (node->cut.split == Split::leaf && !in_file) {
      node->is_file = in_file = true;
      node->cut = cut(keys, extent, true);
    }
    if (node->cut.split == Split::leaf) return node;
    if (node->cut.median) node->cut.threshold = median(keys, node->cut.split, extent);
    const auto middle = split(keys, node->cut);
    const auto left = keys.first(static_cast<std::size_t>(middle)),
               right = keys.subspan(static_cast<std::size_t>(middle));
    if ((1 << depth) < 4 * threads_ && threads_ > 1 && keys.size() > 50'000) {
      auto other = std::async(std::launch::async, [&] { return build(left, in_file, depth + 1); });
      node->right = build(right, in_file, depth + 1);
      node->left = other.get();
    } else {
      node->left = build(left, in_file, depth + 1);
      node->right = build(right, in_file, depth + 1);
    }
    return node;
  }

 private:
  Cut cut(std::span<const K> keys, const Extent& extent, bool in_file) const {
    const Cut found = cut_of(extent, in_file ? rules_.chunk : rules_.file, rules_.options);
    if (!found.ratio) return found;
    Extent below, above;
    for (const K& key : keys)
      (value_on(found.split, key.x, key.y, key.row) < found.threshold ? below : above).add(key.x, key.y, 0);
    return ratio_cut_helps(extent, below, above, rules_.options) ? found : Cut{};
  }
  static std::uint32_t median(std::span<K> keys, Split axis, const Extent& extent) {
    const auto middle = keys.begin() + static_cast<std::ptrdiff_t>(keys.size() / 2);
    const auto value = [axis](const K& key) { return value_on(axis, key.x, key.y, key.row); };
    std::ranges::nth_element(keys, middle, {}, value);
    const std::uint32_t least = axis == Split::x ? extent.minx : axis == Split::y ? extent.miny : 0;
    return axis == Split::row ? value(*middle) : median_threshold(value(*middle), least);
  }
  static std::ptrdiff_t split(std::span<K> keys, const Cut& cut) {
    const std::uint32_t t = cut.threshold;
    const auto below = [&](auto&& test) { return std::partition(keys.begin(), keys.end(), test) - keys.begin(); };
    if (cut.split == Split::x) return below([t](const K& key) { return key.x < t; });
    if (cut.split == Split::y) return below([t](const K& key) { return key.y < t; });
    return below([t](const K& key) { return key.row < t; });
  }

  const Rules& rules_;
  int threads_;
};

}  // namespace fused::ingest
