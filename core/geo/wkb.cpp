#include "geo/wkb.hpp"

#include <cmath>
#include <string>

namespace fused {
namespace {

constexpr std::uint32_t kEwkbZ = 0x80000000;
constexpr std::uint32_t kEwkbM = 0x40000000;
constexpr std::uint32_t kEwkbSrid = 0x20000000;

class Scanner {
 public:
  Scanner(std::span<const std::byte> bytes, GeometrySink& sink) : bytes_(bytes), sink_(sink) {}

  Status geometry(int depth, int wanted_type) {
    if (depth > kWkbDepthMax) return broken("collections nested deeper than " + std::to_string(kWkbDepthMax));
    GeometryHeader header = FUSED_TRY(read_header());
    if (wanted_type != 0 && static_cast<int>(header.type) != wanted_type)
      return broken(std::string("a ") + geometry_type_name(header.type) + " inside a multi geometry of another type");
    const int dimensions = 2 + header.has_z + header.has_m;
    const bool swapped = swapped_;
    switch (header.type) {
      case GeometryType::point: return point(header, dimensions);
      case GeometryType::line_string: return line(header, dimensions);
      case GeometryType::polygon: return polygon(header, dimensions);
      default: break;
    }
    header.parts = FUSED_TRY(read_count(5));
    sink_.begin(header);
    const int member = header.type == GeometryType::collection ? 0 : static_cast<int>(header.type) - 3;
    for (std::uint32_t part = 0; part < header.parts; ++part) FUSED_CHECK(geometry(depth + 1, member));
    swapped_ = swapped;
    sink_.end(header);
    return {};
  }

  Status at_end() const {
    if (at_ != bytes_.size()) return broken(std::to_string(bytes_.size() - at_) + " bytes follow the geometry");
    return {};
  }

 private:
  std::unexpected<Error> broken(const std::string& why) const {
    return fail(ErrorKind::invalid_argument, "WKB at byte " + std::to_string(at_) + ": " + why);
  }
  std::size_t left() const { return bytes_.size() - at_; }

  Result<std::uint32_t> read_u32() {
    if (left() < 4) return broken("ends within a number");
    std::uint32_t value;
    std::memcpy(&value, bytes_.data() + at_, 4);
    at_ += 4;
    return swapped_ ? __builtin_bswap32(value) : value;
  }

  // A count of things of at least `bytes_each`.
  Result<std::uint32_t> read_count(std::size_t bytes_each) {
    const std::uint32_t count = FUSED_TRY(read_u32());
    if (count > left() / bytes_each)
      return broken("announces " + std::to_string(count) + " parts, " + std::to_string(left()) + " bytes are left");
    return count;
  }

  Result<GeometryHeader> read_header() {
    if (left() < 1) return broken("ends where a geometry should begin");
    const auto order = std::to_integer<int>(bytes_[at_++]);
    if (order > 1) return broken("byte order " + std::to_string(order) + ", allowed are 0 and 1");
    swapped_ = order == 0;
    std::uint32_t code = FUSED_TRY(read_u32());
    GeometryHeader header;
    header.has_z = code & kEwkbZ;
    header.has_m = code & kEwkbM;
    if (code & kEwkbSrid) FUSED_CHECK(read_u32());
    code &= ~(kEwkbZ | kEwkbM | kEwkbSrid);
    if (const std::uint32_t thousands = code / 1000; thousands <= 3) {
      header.has_z |= thousands == 1 || thousands == 3;
      header.has_m |= thousands >= 2;
      code %= 1000;
    }
    if (code < 1 || code > 7) return broken("geometry type " + std::to_string(code) + ", allowed are 1 to 7");
    header.type = static_cast<GeometryType>(code);
    return header;
  }

  Result<Positions> take(std::uint32_t count, int dimensions) {
    const std::size_t size = std::size_t{count} * dimensions * 8;
    if (size > left()) return broken("ends within its positions");
    Positions positions(bytes_.data() + at_, count, dimensions, swapped_);
    at_ += size;
    return positions;
  }

  Status point(GeometryHeader header, int dimensions) {
    const Positions position = FUSED_TRY(take(1, dimensions));
    header.parts = std::isnan(position.x(0)) && std::isnan(position.y(0)) ? 0 : 1;
    sink_.begin(header);
    if (header.parts != 0) sink_.positions(position);
    sink_.end(header);
    return {};
  }

  Status line(GeometryHeader header, int dimensions) {
    const std::uint32_t count = FUSED_TRY(read_count(static_cast<std::size_t>(dimensions) * 8));
    const Positions positions = FUSED_TRY(take(count, dimensions));
    header.parts = count == 0 ? 0 : 1;
    sink_.begin(header);
    if (count != 0) sink_.positions(positions);
    sink_.end(header);
    return {};
  }

  Status polygon(GeometryHeader header, int dimensions) {
    header.parts = FUSED_TRY(read_count(4));
    sink_.begin(header);
    for (std::uint32_t ring = 0; ring < header.parts; ++ring) {
      const std::uint32_t count = FUSED_TRY(read_count(static_cast<std::size_t>(dimensions) * 8));
      sink_.positions(FUSED_TRY(take(count, dimensions)));
    }
    sink_.end(header);
    return {};
  }

  std::span<const std::byte> bytes_;
  GeometrySink& sink_;
  std::size_t at_ = 0;
  bool swapped_ = false;
};

class ExtentSink : public GeometrySink {
 public:
  GeometryExtent extent;

  void begin(const GeometryHeader& header) override {
    if (first_) {
      extent.type = header.type;
      extent.has_z = header.has_z;
      first_ = false;
    }
  }
  void positions(const Positions& positions) override {
    for (std::uint32_t i = 0; i < positions.count(); ++i) {
      const double x = positions.x(i), y = positions.y(i);
      if (!std::isfinite(x) || !std::isfinite(y)) continue;
      Box& box = extent.box;
      if (extent.empty) box = {x, y, x, y};
      extent.empty = false;
      box.minx = x < box.minx ? x : box.minx;
      box.miny = y < box.miny ? y : box.miny;
      box.maxx = x > box.maxx ? x : box.maxx;
      box.maxy = y > box.maxy ? y : box.maxy;
    }
  }
  void end(const GeometryHeader&) override {}

 private:
  bool first_ = true;
};

std::uint32_t little_u32(const std::byte* at) {
  std::uint32_t value;
  std::memcpy(&value, at, 4);
  return value;
}

// Little-endian ISO points, lines and polygons with finite positions, which is nearly everything: without the sink.
// False for the rest, broken bytes included.
bool simple_extent(std::span<const std::byte> wkb, GeometryExtent& extent) {
  if (wkb.size() < 9 || wkb[0] != std::byte{1}) return false;
  const std::uint32_t code = little_u32(wkb.data() + 1);
  const std::uint32_t thousands = code / 1000, type = code % 1000;
  if (thousands > 3 || type < 1 || type > 3) return false;
  const std::size_t dimensions = 2 + (thousands == 3 ? 2 : thousands != 0);
  std::size_t at = 5;
  std::uint32_t runs = 1;
  if (type == 3) {
    runs = little_u32(wkb.data() + at);
    at += 4;
  }
  double minx = INFINITY, miny = INFINITY, maxx = -INFINITY, maxy = -INFINITY, check = 0;
  for (std::uint32_t run = 0; run < runs; ++run) {
    std::size_t count = 1;
    if (type != 1) {
      if (wkb.size() - at < 4) return false;
      count = little_u32(wkb.data() + at);
      at += 4;
    }
    if (count > (wkb.size() - at) / (dimensions * 8)) return false;
    for (; count > 0; --count, at += dimensions * 8) {
      double xy[2];
      std::memcpy(xy, wkb.data() + at, 16);
      minx = xy[0] < minx ? xy[0] : minx;
      maxx = xy[0] > maxx ? xy[0] : maxx;
      miny = xy[1] < miny ? xy[1] : miny;
      maxy = xy[1] > maxy ? xy[1] : maxy;
      check += (xy[0] - xy[0]) + (xy[1] - xy[1]);  // stays 0 while all are finite
    }
  }
  if (at != wkb.size() || !(check == 0)) return false;
  extent.type = static_cast<GeometryType>(type);
  extent.has_z = thousands == 1 || thousands == 3;
  extent.empty = !(minx <= maxx);
  if (!extent.empty) extent.box = {minx, miny, maxx, maxy};
  return true;
}

}  // namespace

const char* geometry_type_name(GeometryType type) {
  static constexpr const char* kNames[] = {"?",          "Point",           "LineString",   "Polygon",
                                           "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection"};
  return kNames[static_cast<int>(type)];
}

Status scan_wkb(std::span<const std::byte> wkb, GeometrySink& sink) {
  Scanner scanner(wkb, sink);
  FUSED_CHECK(scanner.geometry(0, 0));
  return scanner.at_end();
}

Result<GeometryExtent> wkb_extent(std::span<const std::byte> wkb) {
  if (GeometryExtent extent; simple_extent(wkb, extent)) return extent;
  ExtentSink sink;
  FUSED_CHECK(scan_wkb(wkb, sink));
  return sink.extent;
}

}  // namespace fused
