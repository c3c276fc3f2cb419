// Any shape, strides and depth over a small array as PNG, TIFF and npy: an error, or a file that says the same shape;
// nothing outside the array is read.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "fuzz_bytes.hpp"
#include "result/image.hpp"
#include "result/npy.hpp"

using fused::result::PixelView;

namespace {

std::uint32_t big_endian(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | std::uint8_t(bytes.at(at + i));
  return value;
}

// The contract of PixelView: its owner answers for strides that stay inside the memory.
bool is_inside(const PixelView& view, std::size_t bytes) {
  std::int64_t low = 0, high = view.sample_bytes;
  const std::int64_t counts[] = {view.height, view.width, view.channels};
  const std::int64_t strides[] = {view.row_stride, view.column_stride, view.channel_stride};
  for (int axis = 0; axis < 3; ++axis) {
    if (counts[axis] <= 0) return true;
    const std::int64_t last = (counts[axis] - 1) * strides[axis];
    (last < 0 ? low : high) += last;
  }
  return low >= 0 && high <= std::int64_t(bytes);
}

void png(Fuzzed& from) {
  PixelView view;
  view.height = from.small_number(40) - 1;
  view.width = from.small_number(40) - 1;
  view.channels = from.small_number(6);
  view.sample_bytes = from.small_number(4);
  view.row_stride = from.small_number(255) - 64;
  view.column_stride = from.small_number(64) - 16;
  view.channel_stride = from.small_number(64) - 16;
  const int level = from.small_number(16) - 2;
  const auto palette = from.bytes(from.small_number(16) * 4);
  const auto samples = from.rest();
  view.data = samples.data();
  if (!is_inside(view, samples.size())) return;
  const auto file =
      fused::result::encode_png(view, {reinterpret_cast<const std::uint8_t*>(palette.data()), palette.size()}, level);
  if (!file) return;
  if (file->substr(1, 3) != "PNG" || big_endian(*file, 16) != view.width || big_endian(*file, 20) != view.height)
    std::abort();
}

void tiff(Fuzzed& from) {
  fused::result::TiffImage image;
  image.bands = from.small_number(8) - 1;
  image.height = from.small_number(64) - 1;
  image.width = from.small_number(64) - 1;
  image.sample_bytes = from.small_number(17);
  image.format = fused::result::SampleFormat(from.small_number(8));
  for (int i = from.small_number(6) - 1; i > 0; --i) image.bounds.push_back(from.number());
  const auto name = from.bytes(from.small_number(8)), value = from.bytes(from.small_number(32));
  image.tags = {{std::string(reinterpret_cast<const char*>(name.data()), name.size()),
                 std::string(reinterpret_cast<const char*>(value.data()), value.size())}};
  const auto samples = from.rest();
  image.samples = samples;
  const auto file = fused::result::encode_tiff(image);
  if (file && file->substr(0, 2) != "II") std::abort();
}

void npy(Fuzzed& from) {
  std::vector<std::int64_t> shape;
  for (int i = from.small_number(6) - 1; i > 0; --i) shape.push_back(from.small_number(255));
  const bool fortran = from.small_number(2) == 1;
  const auto descr = from.rest();
  const auto header =
      fused::result::npy_header({reinterpret_cast<const char*>(descr.data()), descr.size()}, fortran, shape);
  if (header.size() % 64 != 0 || header.back() != '\n' || header.substr(1, 5) != "NUMPY") std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Fuzzed from(data, size);
  switch (from.small_number(3)) {
    case 1: png(from); break;
    case 2: tiff(from); break;
    default: npy(from);
  }
  return 0;
}
