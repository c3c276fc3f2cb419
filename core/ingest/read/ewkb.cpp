#include "ingest/read/ewkb.hpp"

#include <arrow/builder.h>

#include <cstring>

#include "geo/wkb.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

constexpr std::uint32_t kZ = 0x80000000, kM = 0x40000000, kSrid = 0x20000000;
constexpr std::uint32_t kLonLat = 4326;

bool extended(std::string_view wkb) {
  return wkb.size() >= 5 && (static_cast<std::uint8_t>(wkb[wkb[0] == 0 ? 1 : 4]) & 0xE0) != 0;
}

// Walks bytes that scan_wkb has found whole.
class Rewriter {
 public:
  Rewriter(std::string_view in, std::string& out) : in_(in), out_(out) {}

  void geometry() {
    swapped_ = in_[at_] == 0;
    out_ += in_[at_++];
    const std::uint32_t code = u32();
    const std::uint32_t flags = code & (kZ | kM | kSrid);
    const std::uint32_t plain = (code & ~flags) + (code & kZ ? 1000 : 0) + (code & kM ? 2000 : 0);
    put(plain);
    if (code & kSrid) srid_ = u32();
    const std::uint32_t dimensions = plain / 1000;
    const std::size_t position = 8 * (dimensions == 0 ? 2 : dimensions == 3 ? 4 : 3);
    switch (plain % 1000) {
      case 1: copy(position); break;
      case 2: line(position); break;
      case 3:
        for (std::uint32_t rings = counted(); rings > 0; --rings) line(position);
        break;
      default:
        for (std::uint32_t members = counted(); members > 0; --members) geometry();
    }
  }
  std::uint32_t srid() const { return srid_; }  // 0: none

 private:
  std::uint32_t u32() {
    std::uint32_t value;
    std::memcpy(&value, in_.data() + at_, 4);
    at_ += 4;
    return swapped_ ? __builtin_bswap32(value) : value;
  }
  void put(std::uint32_t value) {
    if (swapped_) value = __builtin_bswap32(value);
    out_.append(reinterpret_cast<const char*>(&value), 4);
  }
  std::uint32_t counted() {
    const std::uint32_t count = u32();
    put(count);
    return count;
  }
  void copy(std::size_t bytes) {
    out_.append(in_.substr(at_, bytes));
    at_ += bytes;
  }
  void line(std::size_t position) { copy(counted() * position); }

  std::string_view in_;
  std::string& out_;
  std::size_t at_ = 0;
  std::uint32_t srid_ = 0;
  bool swapped_ = false;
};

class Nothing : public GeometrySink {
  void begin(const GeometryHeader&) override {}
  void positions(const Positions&) override {}
  void end(const GeometryHeader&) override {}
};

}  // namespace

Result<std::shared_ptr<arrow::Array>> iso_wkb(const std::shared_ptr<arrow::Array>& wkb, const Source& source,
                                              std::int64_t first_row) {
  const auto& values = static_cast<const arrow::BinaryArray&>(*wkb);
  std::int64_t first = 0;
  while (first < values.length() && (values.IsNull(first) || !extended(values.GetView(first)))) ++first;
  if (first == values.length()) return wkb;
  arrow::BinaryBuilder made;
  Nothing nothing;
  std::string plain;
  for (std::int64_t i = 0; i < values.length(); ++i) {
    if (values.IsNull(i)) {
      FUSED_ARROW_CHECK("geometry", made.AppendNull());
      continue;
    }
    const std::string_view value = values.GetView(i);
    if (!extended(value) || !scan_wkb({reinterpret_cast<const std::byte*>(value.data()), value.size()}, nothing)) {
      FUSED_ARROW_CHECK("geometry", made.Append(value));
      continue;
    }
    plain.clear();
    Rewriter rewriter(value, plain);
    rewriter.geometry();
    if (rewriter.srid() != 0 && rewriter.srid() != kLonLat && !source.transform)
      return fail(ErrorKind::unprocessable,
                  source.name + ", row " + std::to_string(first_row + i) + ": the geometry says SRID " +
                      std::to_string(rewriter.srid()) +
                      ", and the input's CRS is longitude and latitude (or not said); write the CRS into the file");
    FUSED_ARROW_CHECK("geometry", made.Append(plain));
  }
  return FUSED_ARROW_TRY("geometry", made.Finish());
}

}  // namespace fused::ingest
