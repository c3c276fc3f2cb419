#include "geo/measure.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fused {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sums over a geometry. Positions are taken relative to the first one: far from the origin little is lost.
struct Sums {
  double minx = kInfinity, miny = kInfinity, maxx = -kInfinity, maxy = -kInfinity;
  double ox = 0, oy = 0;            // the first position
  double area = 0, ax = 0, ay = 0;  // ring areas (holes subtracted) and their moments
  double length = 0, lx = 0, ly = 0;
  double px = 0, py = 0;  // sums of lone points
  double check = 0;       // NaN once a coordinate is not finite
  std::uint64_t coords = 0, points = 0;
  bool has_lines = false, has_areas = false;

  void origin(double x, double y) {
    if (coords == 0) {
      ox = x;
      oy = y;
    }
  }
  void extend(double x, double y) {
    minx = x < minx ? x : minx;
    maxx = x > maxx ? x : maxx;
    miny = y < miny ? y : miny;
    maxy = y > maxy ? y : maxy;
    check += (x - x) + (y - y);
  }
  void point(double x, double y) {
    origin(x, y);
    extend(x, y);
    px += x - ox;
    py += y - oy;
    ++points;
    ++coords;
  }
};

// `at(i, x, y)` gives position i.
template <class At>
inline void add_line(Sums& s, std::uint32_t count, const At& at) {
  if (count == 0) return;
  double x, y;
  at(0, x, y);
  s.origin(x, y);
  s.extend(x, y);
  double lastx = x - s.ox, lasty = y - s.oy;
  double length = 0, lx = 0, ly = 0;
  for (std::uint32_t i = 1; i < count; ++i) {
    at(i, x, y);
    s.extend(x, y);
    x -= s.ox;
    y -= s.oy;
    const double dx = x - lastx, dy = y - lasty;
    const double segment = std::sqrt(dx * dx + dy * dy);
    length += segment;
    lx += segment * (x + lastx) * 0.5;
    ly += segment * (y + lasty) * 0.5;
    lastx = x;
    lasty = y;
  }
  if (length == 0) {  // a line that is a point
    s.px += lastx;
    s.py += lasty;
    ++s.points;
  }
  s.length += length;
  s.lx += lx;
  s.ly += ly;
  s.has_lines = true;
  s.coords += count;
}

template <class At>
inline void add_ring(Sums& s, std::uint32_t count, bool hole, const At& at) {
  if (count == 0) return;
  double x, y;
  at(0, x, y);
  s.origin(x, y);
  s.extend(x, y);
  // About the ring's own first position, so that a part that is far away keeps its digits.
  const double bx = x, by = y;
  double lastx = 0, lasty = 0;
  double cross_sum = 0, ax = 0, ay = 0, length = 0, lx = 0, ly = 0;
  for (std::uint32_t i = 1; i < count; ++i) {
    at(i, x, y);
    s.extend(x, y);
    x -= bx;
    y -= by;
    const double cross = lastx * y - x * lasty;
    cross_sum += cross;
    ax += (lastx + x) * cross;
    ay += (lasty + y) * cross;
    const double dx = x - lastx, dy = y - lasty;
    const double segment = std::sqrt(dx * dx + dy * dy);
    length += segment;
    lx += segment * (x + lastx) * 0.5;
    ly += segment * (y + lasty) * 0.5;
    lastx = x;
    lasty = y;
  }
  const double sign = ((cross_sum < 0) != hole) ? -0.5 : 0.5;  // outer rings count, holes are taken away
  const double area = cross_sum * sign;
  const double sx = bx - s.ox, sy = by - s.oy;
  s.area += area;
  s.ax += ax * sign / 3 + area * sx;
  s.ay += ay * sign / 3 + area * sy;
  s.length += length;
  s.lx += lx + length * sx;
  s.ly += ly + length * sy;
  if (length == 0) {
    s.px += sx;
    s.py += sy;
    ++s.points;
  }
  s.has_areas = true;
  s.coords += count;
}

Measures finished(const Sums& s) {
  Measures m;
  m.coords = s.coords;
  m.empty = s.coords == 0;
  m.finite = s.check == 0;
  m.area = std::max(0.0, s.area);
  m.length = s.length;
  if (m.empty) return m;
  m.box = {s.minx, s.miny, s.maxx, s.maxy};
  if (s.has_areas && s.area > 0) {
    m.cx = s.ox + s.ax / s.area;
    m.cy = s.oy + s.ay / s.area;
  } else if (s.length > 0) {
    m.cx = s.ox + s.lx / s.length;
    m.cy = s.oy + s.ly / s.length;
  } else {
    m.cx = s.ox + s.px / static_cast<double>(std::max<std::uint64_t>(1, s.points));
    m.cy = s.oy + s.py / static_cast<double>(std::max<std::uint64_t>(1, s.points));
  }
  // A broken polygon (a bow tie) can throw its centroid far away.
  m.cx = std::clamp(m.cx, s.minx, s.maxx);
  m.cy = std::clamp(m.cy, s.miny, s.maxy);
  return m;
}

class MeasureSink : public GeometrySink {
 public:
  Sums sums;
  Measures first;

  void begin(const GeometryHeader& header) override {
    if (!begun_) {
      first.type = header.type;
      first.has_z = header.has_z;
      first.has_m = header.has_m;
      begun_ = true;
    }
    type_ = header.type;
    ring_ = 0;
  }
  void positions(const Positions& positions) override {
    const auto at = [&](std::uint32_t i, double& x, double& y) {
      x = positions.x(i);
      y = positions.y(i);
    };
    if (type_ == GeometryType::point) return sums.point(positions.x(0), positions.y(0));
    if (type_ == GeometryType::line_string) return add_line(sums, positions.count(), at);
    add_ring(sums, positions.count(), ring_++ > 0, at);
  }
  void end(const GeometryHeader&) override {}

 private:
  GeometryType type_ = GeometryType::point;
  int ring_ = 0;
  bool begun_ = false;
};

std::uint32_t little_u32(const std::byte* at) {
  std::uint32_t value;
  std::memcpy(&value, at, 4);
  return value;
}

// Little-endian two-dimensional ISO WKB of points, lines, polygons and their multis, which is nearly everything: no
// sink, no virtual call. False for the rest, broken bytes included; `sums` is then to be thrown away.
class FastScan {
 public:
  FastScan(std::span<const std::byte> wkb, Sums& sums) : wkb_(wkb), sums_(sums) {}

  bool whole(std::uint32_t& type) { return header(type) && body(type) && at_ == wkb_.size(); }

 private:
  std::size_t left() const { return wkb_.size() - at_; }
  bool header(std::uint32_t& type) {
    if (left() < 5 || wkb_[at_] != std::byte{1}) return false;
    type = little_u32(wkb_.data() + at_ + 1);
    at_ += 5;
    return type >= 1 && type <= 6;
  }
  bool count(std::size_t bytes_each, std::uint32_t& count) {
    if (left() < 4) return false;
    count = little_u32(wkb_.data() + at_);
    at_ += 4;
    return count <= left() / bytes_each;
  }
  auto positions() const {
    return [data = wkb_.data() + at_](std::uint32_t i, double& x, double& y) {
      std::memcpy(&x, data + std::size_t{i} * 16, 8);
      std::memcpy(&y, data + std::size_t{i} * 16 + 8, 8);
    };
  }
  bool body(std::uint32_t type) {
    std::uint32_t n = 0;
    switch (type) {
      case 1: {
        if (left() < 16) return false;
        double x, y;
        positions()(0, x, y);
        if (x != x && y != y) return false;  // an empty point: the careful way
        sums_.point(x, y);
        at_ += 16;
        return true;
      }
      case 2:
        if (!count(16, n)) return false;
        add_line(sums_, n, positions());
        at_ += std::size_t{n} * 16;
        return true;
      case 3: {
        std::uint32_t rings = 0;
        if (!count(4, rings)) return false;
        for (std::uint32_t ring = 0; ring < rings; ++ring) {
          if (!count(16, n)) return false;
          add_ring(sums_, n, ring > 0, positions());
          at_ += std::size_t{n} * 16;
        }
        return true;
      }
      default: break;
    }
    if (!count(5, n)) return false;
    for (std::uint32_t part = 0; part < n; ++part) {
      std::uint32_t inner = 0;
      if (!header(inner) || inner != type - 3 || !body(inner)) return false;
    }
    return true;
  }

  std::span<const std::byte> wkb_;
  Sums& sums_;
  std::size_t at_ = 0;
};

}  // namespace

Result<Measures> measure_wkb(std::span<const std::byte> wkb) {
  {
    Sums sums;
    std::uint32_t type = 0;
    if (FastScan(wkb, sums).whole(type)) {
      Measures measures = finished(sums);
      measures.type = static_cast<GeometryType>(type);
      return measures;
    }
  }
  MeasureSink sink;
  FUSED_CHECK(scan_wkb(wkb, sink));
  Measures measures = finished(sink.sums);
  measures.type = sink.first.type;
  measures.has_z = sink.first.has_z;
  measures.has_m = sink.first.has_m;
  return measures;
}

}  // namespace fused
