#include "result/geojson_geometry.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

#include "geo/wkb.hpp"
#include "result/text.hpp"

namespace fused::result {
namespace {

constexpr int kDecimals = 7;

std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

bool is_single(GeometryType type) { return type == GeometryType::point || type == GeometryType::line_string; }

double twice_signed_area(const Positions& ring) {
  double sum = 0;
  const double x0 = ring.count() == 0 ? 0 : ring.x(0), y0 = ring.count() == 0 ? 0 : ring.y(0);
  for (std::uint32_t i = 1; i + 1 < ring.count(); ++i)
    sum += (ring.x(i) - x0) * (ring.y(i + 1) - y0) - (ring.x(i + 1) - x0) * (ring.y(i) - y0);
  return sum;
}

class GeoJsonSink final : public GeometrySink {
 public:
  explicit GeoJsonSink(std::string& out) : out_(out) {}
  bool usable = true;  // false: a coordinate was not finite, or the whole is an empty point

  void begin(const GeometryHeader& header) override {
    const bool bare = !stack_.empty() && stack_.back().type != GeometryType::collection;
    separate();
    if (!bare) {
      out_ += R"({"type":")";
      out_ += geometry_type_name(header.type);
      out_ += header.type == GeometryType::collection ? R"(","geometries":)" : R"(","coordinates":)";
    }
    if (header.type == GeometryType::point && header.parts == 0 && stack_.empty()) usable = false;
    if (!is_single(header.type)) out_ += '[';
    if (is_single(header.type) && header.parts == 0) out_ += "[]";
    stack_.push_back({header.type, header.has_z, 0});
  }

  void positions(const Positions& positions) override {
    const Level& level = stack_.back();
    if (level.type == GeometryType::point) {
      position(positions, 0);
      return;
    }
    bool backwards = false;
    if (level.type == GeometryType::polygon) {
      const bool outer = level.parts == 0;
      const double area = twice_signed_area(positions);
      backwards = outer ? area < 0 : area > 0;
      separate();
    }
    out_ += '[';
    for (std::uint32_t i = 0; i < positions.count(); ++i) {
      if (i != 0) out_ += ',';
      position(positions, backwards ? positions.count() - 1 - i : i);
    }
    out_ += ']';
  }

  void end(const GeometryHeader& header) override {
    stack_.pop_back();
    if (!is_single(header.type)) out_ += ']';
    if (stack_.empty() || stack_.back().type == GeometryType::collection) out_ += '}';
  }

 private:
  struct Level {
    GeometryType type;
    bool has_z;
    std::uint32_t parts;
  };

  void separate() {
    if (!stack_.empty() && stack_.back().parts++ != 0) out_ += ',';
  }

  void position(const Positions& positions, std::uint32_t at) {
    const double x = positions.x(at), y = positions.y(at);
    if (!std::isfinite(x) || !std::isfinite(y)) usable = false;
    out_ += '[';
    append_fixed(out_, x, kDecimals);
    out_ += ',';
    append_fixed(out_, y, kDecimals);
    if (stack_.back().has_z) {
      if (const double z = positions.at(at, 2); std::isfinite(z)) {
        out_ += ',';
        append_fixed(out_, z, kDecimals);
      }
    }
    out_ += ']';
  }

  std::string& out_;
  std::vector<Level> stack_;
};

class WktSink final : public GeometrySink {
 public:
  explicit WktSink(std::string& out) : out_(out) {}

  void begin(const GeometryHeader& header) override {
    const bool bare = !stack_.empty() && stack_.back().type != GeometryType::collection;
    separate();
    if (!bare) name(header);
    if (header.parts == 0) {
      out_ += "EMPTY";
    } else if (!is_single(header.type)) {
      out_ += '(';
    }
    stack_.push_back({header.type, 0});
  }

  void positions(const Positions& positions) override {
    if (stack_.back().type == GeometryType::polygon) separate();
    out_ += '(';
    for (std::uint32_t i = 0; i < positions.count(); ++i) {
      if (i != 0) out_ += ", ";
      for (int dimension = 0; dimension < positions.dimensions(); ++dimension) {
        if (dimension != 0) out_ += ' ';
        append_coordinate(positions.at(i, dimension));
      }
    }
    out_ += ')';
  }

  void end(const GeometryHeader& header) override {
    stack_.pop_back();
    if (!is_single(header.type) && header.parts != 0) out_ += ')';
  }

 private:
  struct Level {
    GeometryType type;
    std::uint32_t parts;
  };

  void separate() {
    if (!stack_.empty() && stack_.back().parts++ != 0) out_ += ", ";
  }

  void name(const GeometryHeader& header) {
    for (const char* c = geometry_type_name(header.type); *c != 0; ++c)
      out_ += static_cast<char>(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    out_ += header.has_z && header.has_m ? " ZM " : header.has_z ? " Z " : header.has_m ? " M " : " ";
  }

  void append_coordinate(double value) {
    if (std::isnan(value)) {
      out_ += "NaN";
      return;
    }
    if (std::isinf(value)) {
      out_ += value > 0 ? "Infinity" : "-Infinity";
      return;
    }
    char buffer[40];
    out_.append(buffer, static_cast<std::size_t>(std::to_chars(buffer, buffer + sizeof buffer, value).ptr - buffer));
  }

  std::string& out_;
  std::vector<Level> stack_;
};

}  // namespace

bool append_geojson_geometry(std::string& out, std::string_view wkb) {
  const std::size_t before = out.size();
  GeoJsonSink sink(out);
  if (scan_wkb(as_bytes(wkb), sink) && sink.usable) return true;
  out.resize(before);
  out += "null";
  return false;
}

void append_wkt(std::string& out, std::string_view wkb) {
  const std::size_t before = out.size();
  WktSink sink(out);
  if (!scan_wkb(as_bytes(wkb), sink)) out.resize(before);
}

}  // namespace fused::result
