#include "result/simplify.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

namespace fused::result {
namespace {

double squared(const PathPoint& a, const PathPoint& b) { return (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y); }

double extent_of(const Path& path) {
  const auto [left, right] = std::ranges::minmax_element(path, {}, &PathPoint::x);
  const auto [low, high] = std::ranges::minmax_element(path, {}, &PathPoint::y);
  return std::max(right->x - left->x, high->y - low->y);
}

// Distance from the segment a–b, squared.
double off_segment(const PathPoint& p, const PathPoint& a, const PathPoint& b) {
  const double dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
  if (length == 0) return squared(p, a);
  const double t = std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0.0, 1.0);
  return squared(p, {a.x + t * dx, a.y + t * dy});
}

// Bounds what follows by the path's length on the screen, however many points it has.
Path without_near_points(const Path& path, double distance) {
  Path out{path.front()};
  for (std::size_t i = 1; i + 1 < path.size(); ++i)
    if (squared(path[i], out.back()) >= distance * distance) out.push_back(path[i]);
  out.push_back(path.back());
  return out;
}

// Marks what stays between `first` and `last`.
void mark(const Path& path, std::size_t first, std::size_t last, double tolerance, std::vector<std::uint8_t>& stays) {
  std::vector<std::pair<std::size_t, std::size_t>> open{{first, last}};
  while (!open.empty()) {
    const auto [from, to] = open.back();
    open.pop_back();
    std::size_t farthest = from;
    double most = tolerance * tolerance;
    for (std::size_t i = from + 1; i < to; ++i)
      if (const double off = off_segment(path[i], path[from], path[to]); off > most) {
        most = off;
        farthest = i;
      }
    if (farthest == from) continue;
    stays[farthest] = 1;
    open.emplace_back(from, farthest);
    open.emplace_back(farthest, to);
  }
}

}  // namespace

Path simplified(Path path, double tolerance, bool closed) {
  if (path.size() < (closed ? 5U : 3U)) return path;
  tolerance = std::min(tolerance, extent_of(path) / 8);
  if (!(tolerance > 0)) return path;
  if (closed) path.push_back(path.front());
  path = without_near_points(path, tolerance / 2);
  std::vector<std::uint8_t> stays(path.size(), 0);
  stays.front() = stays.back() = 1;
  std::size_t middle = 0;
  if (closed) {  // a ring has no ends: the first point, and the one farthest from it
    for (std::size_t i = 1; i < path.size(); ++i)
      if (squared(path[i], path.front()) > squared(path[middle], path.front())) middle = i;
    stays[middle] = 1;
    mark(path, 0, middle, tolerance, stays);
  }
  mark(path, middle, path.size() - 1, tolerance, stays);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < path.size(); ++i)
    if (stays[i]) path[kept++] = path[i];
  path.resize(closed ? kept - 1 : kept);
  return path;
}

}  // namespace fused::result
