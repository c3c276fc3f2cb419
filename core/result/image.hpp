// Pixels as PNG, and arrays as TIFF. No image library: the encoders write what they are given and never read files.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace fused::result {

// A view of pixels anywhere in memory: (row, column, channel) by strides in bytes, so that band-first arrays and slices
// need no copy before. The memory must stay as it is during the call.
struct PixelView {
  const std::byte* data = nullptr;
  std::int64_t height = 0, width = 0, channels = 0;
  std::int64_t row_stride = 0, column_stride = 0, channel_stride = 0;
  int sample_bytes = 1;  // 1 or 2 for PNG; native byte order
};

inline constexpr std::int64_t kImageSideMax = 65'535;

// 1 channel grey, 2 grey+alpha, 3 RGB, 4 RGBA; 8 or 16 bits a sample. `palette` (1 channel of 8 bits): RGBA entries, at
// most 256, and every pixel below its size. `level` is libdeflate's, 1 (fast) to 12.
Result<std::string> encode_png(const PixelView& pixels, std::span<const std::uint8_t> palette, int level);

enum class SampleFormat : std::uint16_t {
  unsigned_integer = 1,
  signed_integer = 2,
  floating = 3,
  complex_integer = 5,
  complex_floating = 6
};

struct TiffImage {
  // bands × height × width, C order, native byte order.
  std::span<const std::byte> samples;
  std::int64_t bands = 1, height = 0, width = 0;
  int sample_bytes = 1;
  SampleFormat format = SampleFormat::unsigned_integer;
  // Written as GDAL_METADATA items of the domain "fused".
  std::vector<std::pair<std::string, std::string>> tags;
  // minx, miny, maxx, maxy in EPSG:4326: written as GeoTIFF keys when it has four numbers.
  std::vector<double> bounds;
};

// Classic TIFF, planar, deflate strips with horizontal predictor for integers; too_large from 4 GiB.
Result<std::string> encode_tiff(const TiffImage& image);

}  // namespace fused::result
