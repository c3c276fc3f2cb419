#include "table/thin_rows.hpp"

#include <algorithm>

namespace fused {
namespace {

constexpr std::size_t kSlack = 4;  // so many times what is kept may wait before the smallest are given up

}  // namespace

Thinner::Thinner(const Thinning& thinning)
    : thinning_(thinning),
      cell_width_((thinning.view.maxx - thinning.view.minx) / thinning.cells),
      cell_height_((thinning.view.maxy - thinning.view.miny) / thinning.cells),
      cells_(static_cast<std::size_t>(thinning.cells) * static_cast<std::size_t>(thinning.cells)) {}

void Thinner::add(std::uint32_t part, std::int64_t row, const Box& box) {
  const Box& view = thinning_.view;
  if (!(box.minx <= view.maxx && box.maxx >= view.minx && box.miny <= view.maxy && box.maxy >= view.miny)) return;
  const double wide = (box.maxx - box.minx) / cell_width_, high = (box.maxy - box.miny) / cell_height_;
  const Row made{part, row, std::max(wide, high)};
  if (made.size >= 1) {
    large_.push_back(made);
    if (large_.size() < kSlack * thinning_.large_max + 1) return;
    std::ranges::stable_sort(large_, std::ranges::greater(), &Row::size);
    large_.resize(thinning_.large_max);
    return;
  }
  const auto cell = [&](double at, double from, double width) {
    return static_cast<std::size_t>(std::clamp((at - from) / width, 0.0, thinning_.cells - 1.0));
  };
  const std::size_t x = cell((box.minx + box.maxx) / 2, view.minx, cell_width_);
  const std::size_t y = cell((box.miny + box.maxy) / 2, view.miny, cell_height_);
  Row& held = cells_[y * static_cast<std::size_t>(thinning_.cells) + x];
  if (made.size > held.size) held = made;
}

std::vector<Thinner::Chosen> Thinner::take() {
  std::ranges::stable_sort(large_, std::ranges::greater(), &Row::size);
  if (large_.size() > thinning_.large_max) large_.resize(thinning_.large_max);
  std::vector<Row> all = std::move(large_);
  std::ranges::copy_if(cells_, std::back_inserter(all), [](const Row& row) { return row.row >= 0; });
  std::ranges::sort(all, [](const Row& a, const Row& b) { return a.part != b.part ? a.part < b.part : a.row < b.row; });
  std::vector<Chosen> chosen;
  for (const Row& row : all) {
    if (chosen.empty() || chosen.back().part != row.part) chosen.push_back({row.part, {}});
    chosen.back().rows.push_back(row.row);
  }
  return chosen;
}

}  // namespace fused
