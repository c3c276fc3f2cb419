#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "result/image.hpp"

// The filter loops below are what a tile's time goes into; -O3 turns them into vector code.
#if !defined(__clang__)
#pragma GCC optimize("O3")
#endif

namespace fused::result {
namespace {

using Byte = std::uint8_t;

void append_u32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}

void append_chunk(std::string& out, const char (&type)[5], std::span<const Byte> data) {
  append_u32(out, static_cast<std::uint32_t>(data.size()));
  const std::size_t begin = out.size();
  out.append(type, 4);
  out.append(reinterpret_cast<const char*>(data.data()), data.size());
  append_u32(out, libdeflate_crc32(0, out.data() + begin, out.size() - begin));
}

// One row, samples interleaved and big-endian.
void gather_row(const PixelView& pixels, std::int64_t row, Byte* out) {
  const std::byte* from = pixels.data + row * pixels.row_stride;
  const bool dense = pixels.channel_stride == pixels.sample_bytes &&
                     (pixels.channels == 1 || pixels.column_stride == pixels.channels * pixels.sample_bytes);
  if (pixels.sample_bytes == 1) {
    if (dense && pixels.column_stride == pixels.channels) {
      std::memcpy(out, from, static_cast<std::size_t>(pixels.width * pixels.channels));
      return;
    }
    for (std::int64_t column = 0; column < pixels.width; ++column, from += pixels.column_stride)
      for (std::int64_t channel = 0; channel < pixels.channels; ++channel)
        *out++ = std::to_integer<Byte>(from[channel * pixels.channel_stride]);
    return;
  }
  for (std::int64_t column = 0; column < pixels.width; ++column, from += pixels.column_stride)
    for (std::int64_t channel = 0; channel < pixels.channels; ++channel, out += 2) {
      std::uint16_t sample;
      std::memcpy(&sample, from + channel * pixels.channel_stride, 2);
      if constexpr (std::endian::native == std::endian::little) sample = __builtin_bswap16(sample);
      std::memcpy(out, &sample, 2);
    }
}

std::uint32_t cost(const Byte* bytes, std::size_t size) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const int value = static_cast<signed char>(bytes[i]);
    sum += static_cast<std::uint32_t>(value < 0 ? -value : value);
  }
  return sum;
}

void filter_sub(const Byte* row, Byte* __restrict out, std::size_t size, std::size_t pixel) {
  std::memcpy(out, row, std::min(size, pixel));
  for (std::size_t i = pixel; i < size; ++i) out[i] = static_cast<Byte>(row[i] - row[i - pixel]);
}

void filter_up(const Byte* row, const Byte* above, Byte* __restrict out, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<Byte>(row[i] - above[i]);
}

// The Paeth predictor of the PNG specification in 16-bit lanes without branches.
void filter_paeth(const Byte* row, const Byte* above, Byte* __restrict out, std::size_t size, std::size_t pixel) {
  for (std::size_t i = 0; i < std::min(size, pixel); ++i) out[i] = static_cast<Byte>(row[i] - above[i]);
  for (std::size_t i = pixel; i < size; ++i) {
    const std::int16_t left = row[i - pixel], up = above[i], corner = above[i - pixel];
    const std::int16_t by_left = static_cast<std::int16_t>(up - corner),
                       by_up = static_cast<std::int16_t>(left - corner);
    const std::int16_t by_both = static_cast<std::int16_t>(by_left + by_up);
    const std::int16_t a = static_cast<std::int16_t>(by_left < 0 ? -by_left : by_left);
    const std::int16_t b = static_cast<std::int16_t>(by_up < 0 ? -by_up : by_up);
    const std::int16_t c = static_cast<std::int16_t>(by_both < 0 ? -by_both : by_both);
    const std::int16_t up_or_corner = b <= c ? up : corner;
    const std::int16_t predicted = a <= b && a <= c ? left : up_or_corner;
    out[i] = static_cast<Byte>(row[i] - predicted);
  }
}

// Rows with a filter byte in front; per row the filter with the smallest sum of absolute values.
std::string filter_rows(const PixelView& pixels, bool palette) {
  const auto pixel = static_cast<std::size_t>(pixels.channels * pixels.sample_bytes);
  const std::size_t size = static_cast<std::size_t>(pixels.width) * pixel;
  std::string out(static_cast<std::size_t>(pixels.height) * (size + 1), '\0');
  std::vector<Byte> row(size), above(size), candidate(size);
  auto* to = reinterpret_cast<Byte*>(out.data());
  for (std::int64_t y = 0; y < pixels.height; ++y, to += size + 1) {
    gather_row(pixels, y, row.data());
    to[0] = 0;
    std::memcpy(to + 1, row.data(), size);
    if (palette) continue;  // indices have no neighbourhood to predict from
    std::uint32_t best = cost(row.data(), size);
    const auto consider = [&](Byte filter) {
      const std::uint32_t price = cost(candidate.data(), size);
      if (price >= best) return;
      best = price;
      to[0] = filter;
      std::memcpy(to + 1, candidate.data(), size);
    };
    filter_sub(row.data(), candidate.data(), size, pixel);
    consider(1);
    filter_up(row.data(), above.data(), candidate.data(), size);
    consider(2);
    if (best > size) {  // noisy rows only: smooth ones are settled by the two cheap filters
      filter_paeth(row.data(), above.data(), candidate.data(), size, pixel);
      consider(4);
    }
    row.swap(above);
  }
  return out;
}

Result<std::vector<Byte>> compress(const std::string& raw, int level) {
  std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor(
      libdeflate_alloc_compressor(level), libdeflate_free_compressor);
  if (!compressor) return fail(ErrorKind::internal, "png: no memory for the compressor");
  std::vector<Byte> out(libdeflate_zlib_compress_bound(compressor.get(), raw.size()));
  out.resize(libdeflate_zlib_compress(compressor.get(), raw.data(), raw.size(), out.data(), out.size()));
  if (out.empty()) return fail(ErrorKind::internal, "png: compression failed");
  return out;
}

Status check(const PixelView& pixels, std::span<const std::uint8_t> palette) {
  if (pixels.height < 1 || pixels.width < 1 || pixels.height > kImageSideMax || pixels.width > kImageSideMax)
    return fail(ErrorKind::not_acceptable, "an image of " + std::to_string(pixels.height) + " × " +
                                               std::to_string(pixels.width) + " pixels; each side is 1 to " +
                                               std::to_string(kImageSideMax));
  if (pixels.channels < 1 || pixels.channels > 4)
    return fail(ErrorKind::not_acceptable,
                "an image of " + std::to_string(pixels.channels) + " channels; PNG has 1 to 4");
  if (!palette.empty() &&
      (pixels.channels != 1 || pixels.sample_bytes != 1 || palette.size() % 4 != 0 || palette.size() > 1024))
    return fail(ErrorKind::invalid_argument, "a palette goes with one channel of 8 bits and has 1 to 256 RGBA entries");
  return {};
}

void append_palette(std::string& out, std::span<const std::uint8_t> palette) {
  std::vector<Byte> colours, alphas;
  for (std::size_t i = 0; i < palette.size(); i += 4) {
    colours.insert(colours.end(), {palette[i], palette[i + 1], palette[i + 2]});
    alphas.push_back(palette[i + 3]);
  }
  append_chunk(out, "PLTE", colours);
  while (!alphas.empty() && alphas.back() == 255) alphas.pop_back();
  if (!alphas.empty()) append_chunk(out, "tRNS", alphas);
}

}  // namespace

Result<std::string> encode_png(const PixelView& pixels, std::span<const std::uint8_t> palette, int level) {
  FUSED_CHECK(check(pixels, palette));
  const std::string raw = filter_rows(pixels, !palette.empty());
  if (!palette.empty()) {
    const auto row_bytes = static_cast<std::size_t>(pixels.width) + 1;
    for (std::size_t i = 0; i < raw.size(); ++i)
      if (i % row_bytes != 0 && static_cast<Byte>(raw[i]) >= palette.size() / 4)
        return fail(ErrorKind::invalid_argument, "pixel value " + std::to_string(static_cast<Byte>(raw[i])) +
                                                     " with a palette of " + std::to_string(palette.size() / 4));
  }
  const auto packed = FUSED_TRY(compress(raw, level));

  static constexpr std::array<Byte, 5> kColourTypes{0, 0, 4, 2, 6};
  std::string out("\x89PNG\r\n\x1a\n", 8);
  out.reserve(packed.size() + 2048);
  std::string header;
  append_u32(header, static_cast<std::uint32_t>(pixels.width));
  append_u32(header, static_cast<std::uint32_t>(pixels.height));
  header += static_cast<char>(pixels.sample_bytes * 8);
  header += static_cast<char>(palette.empty() ? kColourTypes[static_cast<std::size_t>(pixels.channels)] : 3);
  header.append(3, '\0');
  append_chunk(out, "IHDR", {reinterpret_cast<const Byte*>(header.data()), header.size()});
  if (!palette.empty()) append_palette(out, palette);
  append_chunk(out, "IDAT", packed);
  append_chunk(out, "IEND", {});
  return out;
}

}  // namespace fused::result
