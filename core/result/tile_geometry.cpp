#include "result/tile_geometry.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "geo/wkb.hpp"
#include "result/simplify.hpp"

namespace fused::result {
namespace {

using Point = PathPoint;
using Ring = std::vector<GridPoint>;
using Polygon = std::vector<Ring>;  // outer ring first; not closed

constexpr double kHullTolerances = 8;
constexpr std::size_t kOwnCheckPoints = 64;  // up to here the quadratic check is faster than GEOS

struct Window {
  double low, high;
  bool holds(const Point& p) const { return p.x >= low && p.x <= high && p.y >= low && p.y <= high; }
};

// Everything of one geometry in tile units, still unclipped.
class Collector final : public GeometrySink {
 public:
  Collector(TileId tile, int extent) : tile_(tile), scale_(std::ldexp(1.0, tile.z)), extent_(extent) {}
  std::vector<Point> points;
  std::vector<Path> lines;
  std::vector<std::vector<Path>> polygons;

  void begin(const GeometryHeader& header) override {
    type_ = header.type;
    if (type_ == GeometryType::polygon) polygons.emplace_back();
  }
  void positions(const Positions& positions) override {
    Path path;
    path.reserve(positions.count());
    for (std::uint32_t i = 0; i < positions.count(); ++i) {
      const Point point = project(positions.x(i), positions.y(i));
      if (std::isfinite(point.x) && std::isfinite(point.y)) path.push_back(point);
    }
    if (type_ == GeometryType::point) {
      points.insert(points.end(), path.begin(), path.end());
    } else if (type_ == GeometryType::line_string) {
      lines.push_back(std::move(path));
    } else if (type_ == GeometryType::polygon) {
      polygons.back().push_back(std::move(path));
    }
  }
  void end(const GeometryHeader&) override {}

 private:
  Point project(double longitude, double latitude) const {
    const double phi = std::clamp(latitude, -89.9, 89.9) * (std::numbers::pi / 180);
    const double x = (longitude + 180) / 360;
    const double y = 0.5 - std::asinh(std::tan(phi)) / (2 * std::numbers::pi);
    return {(x * scale_ - static_cast<double>(tile_.x)) * extent_,
            (y * scale_ - static_cast<double>(tile_.y)) * extent_};
  }

  TileId tile_;
  double scale_, extent_;
  GeometryType type_ = GeometryType::point;
};

// Sutherland–Hodgman against one edge of the window; `along` picks the coordinate, `sign` the side that stays.
Path clip_edge(const Path& path, double Point::* along, double Point::* across, double edge, double sign) {
  Path out;
  out.reserve(path.size() + 4);
  for (std::size_t i = 0; i < path.size(); ++i) {
    const Point &from = path[i == 0 ? path.size() - 1 : i - 1], &to = path[i];
    const bool from_in = (from.*along - edge) * sign >= 0, to_in = (to.*along - edge) * sign >= 0;
    if (from_in != to_in) {
      const double t = (edge - from.*along) / (to.*along - from.*along);
      Point cut{};
      cut.*along = edge;
      cut.*across = from.*across + t * (to.*across - from.*across);
      out.push_back(cut);
    }
    if (to_in) out.push_back(to);
  }
  return out;
}

Path clip_ring(Path ring, const Window& window) {
  if (std::all_of(ring.begin(), ring.end(), [&](const Point& p) { return window.holds(p); })) return ring;
  ring = clip_edge(ring, &Point::x, &Point::y, window.low, 1);
  ring = clip_edge(ring, &Point::x, &Point::y, window.high, -1);
  ring = clip_edge(ring, &Point::y, &Point::x, window.low, 1);
  return clip_edge(ring, &Point::y, &Point::x, window.high, -1);
}

// The part of a segment inside the window (Liang–Barsky), as parameters of it.
bool clip_segment(const Point& a, const Point& b, const Window& window, double& begin, double& end) {
  begin = 0;
  end = 1;
  const double dx = b.x - a.x, dy = b.y - a.y;
  const double p[4] = {-dx, dx, -dy, dy};
  const double q[4] = {a.x - window.low, window.high - a.x, a.y - window.low, window.high - a.y};
  for (int i = 0; i < 4; ++i) {
    if (p[i] == 0) {
      if (q[i] < 0) return false;
      continue;
    }
    const double t = q[i] / p[i];
    if (p[i] < 0) {
      begin = std::max(begin, t);
    } else {
      end = std::min(end, t);
    }
  }
  return begin <= end;
}

GridPoint round_to_grid(const Point& p) {
  return {static_cast<std::int32_t>(std::lround(p.x)), static_cast<std::int32_t>(std::lround(p.y))};
}

void push_distinct(Ring& path, GridPoint point) {
  if (path.empty() || !(path.back() == point)) path.push_back(point);
}

std::vector<Ring> place_line(const Path& line, const Window& window) {
  std::vector<Ring> pieces(1);
  for (std::size_t i = 1; i < line.size(); ++i) {
    const Point &a = line[i - 1], &b = line[i];
    double begin, end;
    if (!clip_segment(a, b, window, begin, end)) continue;
    if (begin > 0 && !pieces.back().empty()) pieces.emplace_back();
    // Beside a coordinate of 1e300 the parameter's rounding is wider than the window.
    const auto at = [&](double t) {
      const Point p = t == 0 ? a : t == 1 ? b : Point{a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)};
      return Point{std::clamp(p.x, window.low, window.high), std::clamp(p.y, window.low, window.high)};
    };
    push_distinct(pieces.back(), round_to_grid(at(begin)));
    push_distinct(pieces.back(), round_to_grid(at(end)));
    if (end < 1) pieces.emplace_back();
  }
  std::erase_if(pieces, [](const Ring& piece) { return piece.size() < 2; });
  return pieces;
}

std::int64_t twice_area(const Ring& ring) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < ring.size(); ++i) {
    const GridPoint &a = ring[i], &b = ring[i + 1 == ring.size() ? 0 : i + 1];
    sum += std::int64_t{a.x} * b.y - std::int64_t{b.x} * a.y;
  }
  return sum;
}

std::int64_t cross(const GridPoint& o, const GridPoint& a, const GridPoint& b) {
  return std::int64_t{a.x - o.x} * (b.y - o.y) - std::int64_t{a.y - o.y} * (b.x - o.x);
}

Ring place_ring(Path ring, const Window& window, double tolerance) {
  if (ring.size() > 1 && ring.front().x == ring.back().x && ring.front().y == ring.back().y) ring.pop_back();
  Ring out;
  for (const Point& point : simplified(clip_ring(std::move(ring), window), tolerance, true))
    push_distinct(out, round_to_grid(point));
  while (out.size() > 1 && out.front() == out.back()) out.pop_back();
  if (out.size() < 3 || twice_area(out) == 0) out.clear();
  return out;
}

bool outside(const Path& ring, const Window& window) {
  Point low = ring.front(), high = ring.front();
  for (const Point& p : ring) {
    low = {std::min(low.x, p.x), std::min(low.y, p.y)};
    high = {std::max(high.x, p.x), std::max(high.y, p.y)};
  }
  return high.x < window.low || low.x > window.high || high.y < window.low || low.y > window.high;
}

void append_raw(std::string& out, const void* value, std::size_t size) {
  out.append(static_cast<const char*>(value), size);
}

std::string to_wkb(const std::vector<Polygon>& polygons) {
  std::string out;
  const auto number = [&out](std::uint32_t value) { append_raw(out, &value, 4); };
  const auto position = [&out](const GridPoint& p) {
    const double xy[2] = {static_cast<double>(p.x), static_cast<double>(p.y)};
    append_raw(out, xy, 16);
  };
  out += '\1';
  number(6);
  number(static_cast<std::uint32_t>(polygons.size()));
  for (const Polygon& polygon : polygons) {
    out += '\1';
    number(3);
    number(static_cast<std::uint32_t>(polygon.size()));
    for (const Ring& ring : polygon) {
      number(static_cast<std::uint32_t>(ring.size() + 1));
      for (const GridPoint& p : ring) position(p);
      position(ring.front());
    }
  }
  return out;
}

// Polygons of what GEOS gave back; lines and points that fell out of it are dropped.
class PolygonReader final : public GeometrySink {
 public:
  std::vector<Polygon> polygons;
  void begin(const GeometryHeader& header) override {
    in_polygon_ = header.type == GeometryType::polygon;
    if (in_polygon_) polygons.emplace_back();
  }
  void positions(const Positions& positions) override {
    if (!in_polygon_) return;
    Ring ring;
    for (std::uint32_t i = 0; i + 1 < positions.count(); ++i)
      push_distinct(ring, round_to_grid({positions.x(i), positions.y(i)}));
    polygons.back().push_back(std::move(ring));
  }
  void end(const GeometryHeader&) override {}

 private:
  bool in_polygon_ = false;
};

// Of several parts and of holes those stay that are larger than a square of the tolerance; at least the largest part.
void drop_specks(std::vector<Polygon>& polygons, double tolerance) {
  if (tolerance <= 0) return;
  const auto size = [](const Ring& ring) { return std::abs(static_cast<double>(twice_area(ring))) / 2; };
  const auto speck = [&](const Ring& ring) { return size(ring) < tolerance * tolerance; };
  for (Polygon& polygon : polygons)
    polygon.erase(std::remove_if(polygon.begin() + 1, polygon.end(), speck), polygon.end());
  if (polygons.size() < 2) return;
  std::ranges::iter_swap(polygons.begin(), std::ranges::max_element(polygons, {}, [&](const Polygon& polygon) {
                           return size(polygon.front());
                         }));
  polygons.erase(std::remove_if(polygons.begin() + 1, polygons.end(),
                                [&](const Polygon& polygon) { return speck(polygon.front()); }),
                 polygons.end());
}

bool fits_in(const Ring& ring, double width) {
  const auto [left, right] = std::ranges::minmax_element(ring, {}, &GridPoint::x);
  const auto [low, high] = std::ranges::minmax_element(ring, {}, &GridPoint::y);
  return right->x - left->x <= width && high->y - low->y <= width;
}

// The convex hull (Andrew's monotone chain), without points on its edges.
Ring hull_of(Ring points) {
  std::ranges::sort(points, {}, [](const GridPoint& p) { return std::pair(p.x, p.y); });
  Ring hull;
  for (int half = 0; half < 2; ++half) {
    const std::size_t first = hull.size();
    for (const GridPoint& p : points) {
      while (hull.size() >= first + 2 && cross(hull[hull.size() - 2], hull.back(), p) <= 0) hull.pop_back();
      hull.push_back(p);
    }
    hull.pop_back();  // the other half begins with it
    std::ranges::reverse(points);
  }
  return hull;
}

// Where rows are drawn coarsely anyway, one ring of two pixels that crosses itself on the grid becomes its hull: GEOS
// would take most of the tile's time for a shape that nobody sees.
std::vector<Polygon> made_valid(std::vector<Polygon> polygons, double tolerance, const Geos* geos) {
  if (polygons.size() == 1 && polygons[0].size() == 1) {
    Ring& ring = polygons[0][0];
    if (ring.size() <= kOwnCheckPoints && ring_is_simple(ring)) return polygons;
    if (tolerance > 0 && fits_in(ring, kHullTolerances * tolerance)) {
      ring = hull_of(std::move(ring));
      return polygons;
    }
  }
  if (geos == nullptr) return {};
  const std::string wkb = to_wkb(polygons);
  if (geos->is_valid(wkb)) return polygons;
  const auto snapped = geos->snap_valid(wkb);
  PolygonReader reader;
  if (!snapped || snapped->empty() || !scan_wkb(std::as_bytes(std::span(*snapped)), reader)) return {};
  std::erase_if(reader.polygons, [](const Polygon& polygon) {
    return polygon.empty() || std::any_of(polygon.begin(), polygon.end(), [](const Ring& r) { return r.size() < 3; });
  });
  return std::move(reader.polygons);
}

// MVT 2.1 section 4.3: MoveTo 1, LineTo 2, ClosePath 7, deltas zigzag-encoded.
class Commands {
 public:
  std::vector<std::uint32_t> out;
  void move_to(const GridPoint* points, std::size_t count) { command(1, points, count); }
  void line_to(const GridPoint* points, std::size_t count) { command(2, points, count); }
  void close() { out.push_back(7 | 1 << 3); }

 private:
  static std::uint32_t zigzag(std::int32_t value) {
    return (static_cast<std::uint32_t>(value) << 1) ^ static_cast<std::uint32_t>(value >> 31);
  }
  void command(std::uint32_t id, const GridPoint* points, std::size_t count) {
    out.push_back(id | static_cast<std::uint32_t>(count) << 3);
    for (std::size_t i = 0; i < count; ++i) {
      out.push_back(zigzag(points[i].x - at_.x));
      out.push_back(zigzag(points[i].y - at_.y));
      at_ = points[i];
    }
  }
  GridPoint at_;
};

void add_polygons(std::vector<TileGeometry>& out, const std::vector<Polygon>& polygons) {
  Commands commands;
  for (const Polygon& polygon : polygons)
    for (std::size_t i = 0; i < polygon.size(); ++i) {
      Ring ring = polygon[i];
      if ((twice_area(ring) > 0) != (i == 0)) std::reverse(ring.begin(), ring.end());
      commands.move_to(ring.data(), 1);
      commands.line_to(ring.data() + 1, ring.size() - 1);
      commands.close();
    }
  if (!commands.out.empty()) out.push_back({MvtType::polygon, std::move(commands.out)});
}

bool between(const GridPoint& a, const GridPoint& b, const GridPoint& p) {
  return p.x >= std::min(a.x, b.x) && p.x <= std::max(a.x, b.x) && p.y >= std::min(a.y, b.y) &&
         p.y <= std::max(a.y, b.y);
}

bool touch(const GridPoint& a, const GridPoint& b, const GridPoint& c, const GridPoint& d) {
  if (std::max(a.x, b.x) < std::min(c.x, d.x) || std::max(c.x, d.x) < std::min(a.x, b.x) ||
      std::max(a.y, b.y) < std::min(c.y, d.y) || std::max(c.y, d.y) < std::min(a.y, b.y))
    return false;
  const auto side = [](std::int64_t value) { return (value > 0) - (value < 0); };
  const int c_side = side(cross(a, b, c)), d_side = side(cross(a, b, d));
  const int a_side = side(cross(c, d, a)), b_side = side(cross(c, d, b));
  if (c_side * d_side < 0 && a_side * b_side < 0) return true;
  return (c_side == 0 && between(a, b, c)) || (d_side == 0 && between(a, b, d)) || (a_side == 0 && between(c, d, a)) ||
         (b_side == 0 && between(c, d, b));
}

}  // namespace

bool ring_is_simple(const std::vector<GridPoint>& ring) {
  const std::size_t n = ring.size();
  if (n < 3 || twice_area(ring) == 0) return false;
  const auto corner = [&](std::size_t i) -> const GridPoint& { return ring[i % n]; };
  for (std::size_t i = 0; i < n; ++i) {
    const GridPoint &a = corner(i), &b = corner(i + 1), &c = corner(i + 2);
    const bool folded =
        cross(a, b, c) == 0 && std::int64_t{b.x - a.x} * (c.x - b.x) + std::int64_t{b.y - a.y} * (c.y - b.y) <= 0;
    if (folded) return false;
    for (std::size_t j = i + 2; j < n; ++j) {
      if (i == 0 && j == n - 1) continue;  // neighbours around the end
      if (touch(a, b, corner(j), corner(j + 1))) return false;
    }
  }
  return true;
}

TileGrid::TileGrid(TileId tile, int extent, int buffer, double tolerance, const Geos* geos)
    : tile_(tile), extent_(extent), buffer_(buffer), tolerance_(tolerance), geos_(geos) {}

std::vector<TileGeometry> TileGrid::place(std::string_view wkb) const {
  Collector collector(tile_, extent_);
  std::vector<TileGeometry> out;
  if (!scan_wkb(std::as_bytes(std::span(wkb)), collector)) return out;
  const Window window{-static_cast<double>(buffer_), static_cast<double>(extent_ + buffer_)};

  Ring points;
  for (const Point& point : collector.points)
    if (window.holds(point)) points.push_back(round_to_grid(point));
  if (!points.empty()) {
    Commands commands;
    commands.move_to(points.data(), points.size());
    out.push_back({MvtType::point, std::move(commands.out)});
  }
  Commands lines;
  for (Path& line : collector.lines)
    for (const Ring& piece : place_line(simplified(std::move(line), tolerance_, false), window)) {
      lines.move_to(piece.data(), 1);
      lines.line_to(piece.data() + 1, piece.size() - 1);
    }
  if (!lines.out.empty()) out.push_back({MvtType::line, std::move(lines.out)});

  std::vector<Polygon> polygons;
  for (auto& rings : collector.polygons) {
    if (rings.empty() || rings.front().empty() || outside(rings.front(), window)) continue;
    Polygon polygon;
    for (Path& path : rings) {
      Ring ring = place_ring(std::move(path), window, tolerance_);
      if (ring.empty() && polygon.empty()) break;
      if (!ring.empty()) polygon.push_back(std::move(ring));
    }
    if (!polygon.empty()) polygons.push_back(std::move(polygon));
  }
  drop_specks(polygons, tolerance_);
  if (!polygons.empty()) add_polygons(out, made_valid(std::move(polygons), tolerance_, geos_));
  return out;
}

}  // namespace fused::result
