#include "table/intersects.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "geo/wkb.hpp"

namespace fused {
namespace {

struct Sum {
  double value, error;
};
Sum two_sum(double a, double b) {
  const double sum = a + b, other = sum - a;
  return {sum, (a - (sum - other)) + (b - other)};
}

// The sign of ax*by - ax*cy - cx*by - ay*bx + ay*cx + cy*bx (cx*cy cancels), as an expansion of doubles that do not
// overlap: its largest part has the sign of the whole.
int exact_turn(double ax, double ay, double bx, double by, double cx, double cy) {
  const double products[6][2] = {{ax, by}, {-ax, cy}, {-cx, by}, {-ay, bx}, {ay, cx}, {cy, bx}};
  std::array<double, 13> parts{};
  std::size_t count = 0;
  const auto add = [&](double term) {
    for (std::size_t i = 0; i < count; ++i) {
      const Sum sum = two_sum(term, parts[i]);
      parts[i] = sum.error;
      term = sum.value;
    }
    parts[count++] = term;
  };
  for (const auto& [a, b] : products) {
    const double product = a * b;
    add(std::fma(a, b, -product));
    add(product);
  }
  for (std::size_t i = count; i-- > 0;)
    if (parts[i] != 0) return parts[i] > 0 ? 1 : -1;
  return 0;
}

class BoxTest final : public GeometrySink {
 public:
  explicit BoxTest(const Box& box) : box_(box) {}
  bool meets() const { return meets_; }

  void begin(const GeometryHeader& header) override {
    type_ = header.type;
    if (type_ == GeometryType::polygon) inside_ = false;
  }
  void positions(const Positions& positions) override {
    if (meets_) return;
    if (type_ == GeometryType::point || positions.count() == 1) {
      for (std::uint32_t i = 0; i < positions.count(); ++i) meets_ = meets_ || holds(positions.x(i), positions.y(i));
    } else {
      path(positions);
    }
  }
  void end(const GeometryHeader& header) override {
    if (header.type == GeometryType::polygon && inside_) meets_ = true;
  }

 private:
  bool holds(double x, double y) const { return x >= box_.minx && x <= box_.maxx && y >= box_.miny && y <= box_.maxy; }

  void path(const Positions& positions) {
    const bool ring = type_ == GeometryType::polygon;
    bool have = false;
    double ax = 0, ay = 0;
    for (std::uint32_t i = 0; i < positions.count() && !meets_; ++i) {
      const double bx = positions.x(i), by = positions.y(i);
      if (!std::isfinite(bx) || !std::isfinite(by)) continue;
      if (holds(bx, by)) {
        meets_ = true;
      } else if (have) {
        segment(ax, ay, bx, by);
        if (ring) cross(ax, ay, bx, by);
      }
      ax = bx;
      ay = by;
      have = true;
    }
  }

  // Both ends are outside the box.
  void segment(double ax, double ay, double bx, double by) {
    if (std::max(ax, bx) < box_.minx || std::min(ax, bx) > box_.maxx || std::max(ay, by) < box_.miny ||
        std::min(ay, by) > box_.maxy)
      return;
    // It meets the box unless all corners lie on one side of its line.
    const int first = turn(ax, ay, bx, by, box_.minx, box_.miny);
    meets_ = first == 0 || first != turn(ax, ay, bx, by, box_.maxx, box_.miny) ||
             first != turn(ax, ay, bx, by, box_.maxx, box_.maxy) || first != turn(ax, ay, bx, by, box_.minx, box_.maxy);
  }

  // Even-odd rule for the corner (minx, miny): a ray to the right. Where no ring touches the box, the whole box lies
  // where this corner does.
  void cross(double ax, double ay, double bx, double by) {
    if ((ay > box_.miny) == (by > box_.miny)) return;
    const int side = turn(ax, ay, bx, by, box_.minx, box_.miny);
    if ((side > 0) == (by > ay) && side != 0) inside_ = !inside_;
  }

  Box box_;
  GeometryType type_ = GeometryType::point;
  bool inside_ = false;
  bool meets_ = false;
};

}  // namespace

int turn(double ax, double ay, double bx, double by, double cx, double cy) {
  const double left = (ax - cx) * (by - cy), right = (ay - cy) * (bx - cx);
  const double difference = left - right;
  // Shewchuk's bound for this expression in doubles.
  const double bound = 3.3306690738754716e-16 * (std::abs(left) + std::abs(right));
  if (difference > bound) return 1;
  if (-difference > bound) return -1;
  if (left == 0 && right == 0 && (ax == cx || by == cy) && (ay == cy || bx == cx)) return 0;
  return exact_turn(ax, ay, bx, by, cx, cy);
}

Result<bool> meets_box(std::span<const std::byte> wkb, const Box& box) {
  BoxTest test(box);
  if (const auto scanned = scan_wkb(wkb, test); !scanned)
    return fail(ErrorKind::unprocessable, scanned.error().message);
  return test.meets();
}

}  // namespace fused
