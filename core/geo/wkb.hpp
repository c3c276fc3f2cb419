// Reads well-known binary (ISO and EWKB, both byte orders, Z and M) from untrusted bytes without building objects.
// Every count is checked against the bytes that are left, so memory and time stay linear in the input.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/result.hpp"
#include "geo/tile.hpp"

namespace fused {

inline constexpr int kWkbDepthMax = 32;  // collections within collections

enum class GeometryType : std::uint8_t {
  point = 1,
  line_string,
  polygon,
  multi_point,
  multi_line_string,
  multi_polygon,
  collection,
};

// "Point" … "GeometryCollection", the names of GeoJSON and GeoParquet.
const char* geometry_type_name(GeometryType type);

// A view of `count` positions inside the scanned bytes; no alignment is assumed.
class Positions {
 public:
  Positions(const std::byte* data, std::uint32_t count, int dimensions, bool swapped)
      : data_(data), count_(count), dimensions_(dimensions), swapped_(swapped) {}
  std::uint32_t count() const { return count_; }
  int dimensions() const { return dimensions_; }  // 2 to 4
  double at(std::uint32_t position, int dimension) const {
    std::uint64_t bits;
    std::memcpy(&bits, data_ + (std::size_t{position} * dimensions_ + dimension) * 8, 8);
    return std::bit_cast<double>(swapped_ ? __builtin_bswap64(bits) : bits);
  }
  double x(std::uint32_t position) const { return at(position, 0); }
  double y(std::uint32_t position) const { return at(position, 1); }
  const std::byte* bytes() const { return data_; }  // of the first; whoever owns the memory may change it there
  bool swapped() const { return swapped_; }         // big endian

 private:
  const std::byte* data_;
  std::uint32_t count_;
  int dimensions_;
  bool swapped_;
};

struct GeometryHeader {
  GeometryType type = GeometryType::point;
  bool has_z = false;
  bool has_m = false;
  std::uint32_t parts = 0;  // members of a multi geometry or collection, rings of a polygon, 1 or 0 (empty) otherwise
};

// Told of a geometry in the order of its bytes. Points and lines give one `positions`, polygons one a ring.
class GeometrySink {
 public:
  virtual ~GeometrySink() = default;
  virtual void begin(const GeometryHeader& header) = 0;
  virtual void positions(const Positions& positions) = 0;
  virtual void end(const GeometryHeader& header) = 0;
};

// invalid_argument for anything that is not one whole geometry; `sink` may then have seen a part of it.
// A point whose x and y are NaN is empty: parts 0 and no positions.
Status scan_wkb(std::span<const std::byte> wkb, GeometrySink& sink);

// Finite positions only; `empty` when there are none. Also the type, as GeoParquet counts it.
struct GeometryExtent {
  Box box;
  bool empty = true;
  GeometryType type = GeometryType::point;
  bool has_z = false;
};
Result<GeometryExtent> wkb_extent(std::span<const std::byte> wkb);

}  // namespace fused
