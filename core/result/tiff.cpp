#include <libdeflate.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "result/image.hpp"
#include "result/text.hpp"

namespace fused::result {
namespace {

constexpr std::int64_t kStripBytes = 1 << 18;
constexpr std::int64_t kFileBytesMax = (std::int64_t{1} << 32) - (1 << 20);

enum FieldType : std::uint16_t { kAscii = 2, kShort = 3, kLong = 4, kDouble = 12 };

// Collects directory entries; values that do not fit into an entry go behind the directory.
class Directory {
 public:
  template <class T>
  void add(std::uint16_t tag, FieldType type, const std::vector<T>& values) {
    std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    entries_.push_back({tag, type, static_cast<std::uint32_t>(values.size()), std::move(bytes)});
  }
  void add_short(std::uint16_t tag, std::uint16_t value) { add<std::uint16_t>(tag, kShort, {value}); }
  void add_long(std::uint16_t tag, std::uint32_t value) { add<std::uint32_t>(tag, kLong, {value}); }
  void add_text(std::uint16_t tag, const std::string& text) {
    entries_.push_back({tag, kAscii, static_cast<std::uint32_t>(text.size() + 1), text + '\0'});
  }

  // Appends the directory at the (even) end of `out` and returns its offset.
  std::uint32_t append_to(std::string& out) {
    std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.tag < b.tag; });
    if (out.size() % 2 != 0) out += '\0';
    const auto at = static_cast<std::uint32_t>(out.size());
    std::uint32_t behind = at + 2 + static_cast<std::uint32_t>(entries_.size()) * 12 + 4;
    std::string values;
    append<std::uint16_t>(out, static_cast<std::uint16_t>(entries_.size()));
    for (const Entry& entry : entries_) {
      append<std::uint16_t>(out, entry.tag);
      append<std::uint16_t>(out, entry.type);
      append<std::uint32_t>(out, entry.count);
      if (entry.bytes.size() <= 4) {
        out += entry.bytes;
        out.append(4 - entry.bytes.size(), '\0');
        continue;
      }
      append<std::uint32_t>(out, behind + static_cast<std::uint32_t>(values.size()));
      values += entry.bytes;
      if (values.size() % 2 != 0) values += '\0';
    }
    append<std::uint32_t>(out, 0);
    out += values;
    return at;
  }

  template <class T>
  static void append(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

 private:
  struct Entry {
    std::uint16_t tag;
    FieldType type;
    std::uint32_t count;
    std::string bytes;
  };
  std::vector<Entry> entries_;
};

template <class T>
void difference_rows(std::byte* strip, std::int64_t rows, std::int64_t width) {
  auto* samples = reinterpret_cast<T*>(strip);  // strips are copied into storage aligned by operator new
  for (std::int64_t row = 0; row < rows; ++row, samples += width)
    for (std::int64_t i = width - 1; i > 0; --i) samples[i] = static_cast<T>(samples[i] - samples[i - 1]);
}

void difference(std::byte* strip, std::int64_t rows, std::int64_t width, int sample_bytes) {
  switch (sample_bytes) {
    case 1: difference_rows<std::uint8_t>(strip, rows, width); return;
    case 2: difference_rows<std::uint16_t>(strip, rows, width); return;
    case 4: difference_rows<std::uint32_t>(strip, rows, width); return;
    default: return;
  }
}

bool predicted(const TiffImage& image) {
  return image.format != SampleFormat::floating && image.format < SampleFormat::complex_integer &&
         image.sample_bytes <= 4;
}

void append_xml_text(std::string& out, const std::string& text) {
  for (char c : text) switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
}

std::string metadata_xml(const std::vector<std::pair<std::string, std::string>>& tags) {
  std::string xml = "<GDALMetadata>\n";
  for (const auto& [name, value] : tags) {
    xml += "  <Item name=\"";
    append_xml_text(xml, name);
    xml += "\" domain=\"fused\">";
    std::string escaped;
    append_xml_text(escaped, value);
    append_xml_text(xml, escaped);  // GDAL writes values escaped twice and so reads them
    xml += "</Item>\n";
  }
  return xml + "</GDALMetadata>\n";
}

void add_geo_keys(Directory& directory, const TiffImage& image) {
  const double minx = image.bounds[0], miny = image.bounds[1], maxx = image.bounds[2], maxy = image.bounds[3];
  directory.add<double>(
      33550, kDouble,
      {(maxx - minx) / static_cast<double>(image.width), (maxy - miny) / static_cast<double>(image.height), 0.0});
  directory.add<double>(33922, kDouble, {0, 0, 0, minx, maxy, 0});
  // Version 1.1.0; geographic model, pixel is area, EPSG:4326.
  directory.add<std::uint16_t>(34735, kShort, {1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326});
}

Status check(const TiffImage& image) {
  if (image.height < 1 || image.width < 1 || image.bands < 1)
    return fail(ErrorKind::not_acceptable, "TIFF cannot hold an array without elements");
  if (image.bands > 65'535)
    return fail(ErrorKind::not_acceptable,
                "TIFF holds at most 65535 bands; this array has " + std::to_string(image.bands));
  if (static_cast<std::int64_t>(image.samples.size()) != image.bands * image.height * image.width * image.sample_bytes)
    return fail(ErrorKind::invalid_argument, "the samples do not fill bands × height × width");
  if (static_cast<std::int64_t>(image.samples.size()) > kFileBytesMax)
    return fail(ErrorKind::too_large,
                "TIFF holds less than 4 GiB; this array has " + std::to_string(image.samples.size()) + " bytes");
  return {};
}

struct Strips {
  std::vector<std::uint32_t> offsets, sizes;
  std::int64_t rows_each = 1;
};

Result<Strips> append_strips(std::string& out, const TiffImage& image) {
  std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor(
      libdeflate_alloc_compressor(1), libdeflate_free_compressor);
  if (!compressor) return fail(ErrorKind::internal, "tiff: no memory for the compressor");
  Strips strips;
  const std::int64_t row_bytes = image.width * image.sample_bytes;
  strips.rows_each = std::clamp<std::int64_t>(kStripBytes / row_bytes, 1, image.height);
  std::vector<std::byte> strip(static_cast<std::size_t>(strips.rows_each * row_bytes));
  std::vector<char> packed(libdeflate_zlib_compress_bound(compressor.get(), strip.size()));
  for (std::int64_t band = 0; band < image.bands; ++band)
    for (std::int64_t row = 0; row < image.height; row += strips.rows_each) {
      const std::int64_t rows = std::min(strips.rows_each, image.height - row);
      const auto bytes = static_cast<std::size_t>(rows * row_bytes);
      std::memcpy(strip.data(), image.samples.data() + (band * image.height + row) * row_bytes, bytes);
      if (predicted(image)) difference(strip.data(), rows, image.width, image.sample_bytes);
      const std::size_t size =
          libdeflate_zlib_compress(compressor.get(), strip.data(), bytes, packed.data(), packed.size());
      if (size == 0) return fail(ErrorKind::internal, "tiff: compression failed");
      if (static_cast<std::int64_t>(out.size() + size) > kFileBytesMax)
        return fail(ErrorKind::too_large, "TIFF holds less than 4 GiB");
      strips.offsets.push_back(static_cast<std::uint32_t>(out.size()));
      strips.sizes.push_back(static_cast<std::uint32_t>(size));
      out.append(packed.data(), size);
      if (out.size() % 2 != 0) out += '\0';
    }
  return strips;
}

}  // namespace

Result<std::string> encode_tiff(const TiffImage& image) {
  static_assert(std::endian::native == std::endian::little, "the header below says so");
  FUSED_CHECK(check(image));
  std::string out("II*\0\0\0\0\0", 8);
  const Strips strips = FUSED_TRY(append_strips(out, image));
  const auto bands = static_cast<std::size_t>(image.bands);
  const bool rgb =
      (bands == 3 || bands == 4) && image.sample_bytes == 1 && image.format == SampleFormat::unsigned_integer;

  Directory directory;
  directory.add_long(256, static_cast<std::uint32_t>(image.width));
  directory.add_long(257, static_cast<std::uint32_t>(image.height));
  directory.add(258, kShort, std::vector<std::uint16_t>(bands, static_cast<std::uint16_t>(image.sample_bytes * 8)));
  directory.add_short(259, 8);  // deflate
  directory.add_short(262, rgb ? 2 : 1);
  directory.add(273, kLong, strips.offsets);
  directory.add_short(277, static_cast<std::uint16_t>(bands));
  directory.add_long(278, static_cast<std::uint32_t>(strips.rows_each));
  directory.add(279, kLong, strips.sizes);
  directory.add_short(284, 2);  // planar
  if (predicted(image)) directory.add_short(317, 2);
  if (const std::size_t extra = bands - (rgb ? 3 : 1); extra > 0)
    directory.add(338, kShort, std::vector<std::uint16_t>(extra, rgb ? 2 : 0));  // alpha, or nothing in particular
  directory.add(339, kShort, std::vector<std::uint16_t>(bands, static_cast<std::uint16_t>(image.format)));
  if (!image.tags.empty()) directory.add_text(42112, metadata_xml(image.tags));
  if (image.bounds.size() == 4) add_geo_keys(directory, image);
  const std::uint32_t at = directory.append_to(out);
  std::memcpy(out.data() + 4, &at, 4);
  return out;
}

}  // namespace fused::result
