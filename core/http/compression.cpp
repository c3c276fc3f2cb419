#include "http/compression.hpp"

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <charconv>
#include <memory>

namespace fused {
namespace {

constexpr int kGzipLevel = 4, kBrotliQuality = 4, kBrotliWindowBits = 20, kZstdLevel = 3;
constexpr int kGzipWindowBits = 15 + 16;  // zlib's way to say: with a gzip header

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Thousandths of the q-value of one item; 1000 where none stands, 0 where it cannot be read.
int quality_of(std::string_view parameters) {
  while (!parameters.empty()) {
    const auto end = parameters.find(';');
    const auto parameter = trimmed(parameters.substr(0, end));
    parameters = end == std::string_view::npos ? std::string_view{} : parameters.substr(end + 1);
    if (!parameter.starts_with("q=") && !parameter.starts_with("Q=")) continue;
    double q = 0;
    const auto number = parameter.substr(2);
    const auto read = std::from_chars(number.data(), number.data() + number.size(), q);
    return read.ec == std::errc{} && q >= 0 && q <= 1 ? static_cast<int>(q * 1000) : 0;
  }
  return 1000;
}

bool gzip(std::string_view bytes, std::string& out) {
  z_stream stream{};
  if (deflateInit2(&stream, kGzipLevel, Z_DEFLATED, kGzipWindowBits, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const bool whole = deflate(&stream, Z_FINISH) == Z_STREAM_END;
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return whole;
}

bool brotli(std::string_view bytes, std::string& out) {
  std::size_t size = out.size();
  const bool whole = BrotliEncoderCompress(kBrotliQuality, kBrotliWindowBits, BROTLI_MODE_TEXT, bytes.size(),
                                           reinterpret_cast<const std::uint8_t*>(bytes.data()), &size,
                                           reinterpret_cast<std::uint8_t*>(out.data())) == BROTLI_TRUE;
  out.resize(whole ? size : 0);
  return whole;
}

bool zstd(std::string_view bytes, std::string& out) {
  const auto size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), kZstdLevel);
  const bool whole = !ZSTD_isError(size);
  out.resize(whole ? size : 0);
  return whole;
}

}  // namespace

std::string_view coding_name(Coding coding) {
  switch (coding) {
    case Coding::gzip: return "gzip";
    case Coding::br: return "br";
    case Coding::zstd: return "zstd";
  }
  return "gzip";
}

std::optional<Coding> negotiate(std::string_view accept_encoding) {
  constexpr std::array kCodings{Coding::zstd, Coding::br, Coding::gzip};  // the best first
  std::array<int, 3> qualities{-1, -1, -1};
  int any = -1;
  while (!accept_encoding.empty()) {
    const auto end = accept_encoding.find(',');
    const auto item = accept_encoding.substr(0, end);
    accept_encoding = end == std::string_view::npos ? std::string_view{} : accept_encoding.substr(end + 1);
    const auto semicolon = item.find(';');
    const auto name = trimmed(item.substr(0, semicolon));
    const int quality = semicolon == std::string_view::npos ? 1000 : quality_of(item.substr(semicolon + 1));
    if (name == "*") any = quality;
    for (std::size_t i = 0; i < kCodings.size(); ++i)
      if (name == coding_name(kCodings[i])) qualities[i] = quality;
  }
  std::optional<Coding> best;
  int best_quality = 0;
  for (std::size_t i = 0; i < kCodings.size(); ++i) {
    const int quality = qualities[i] < 0 ? any : qualities[i];
    if (quality > best_quality) {
      best = kCodings[i];
      best_quality = quality;
    }
  }
  return best;
}

bool is_compressible(std::string_view content_type) {
  auto type = trimmed(content_type.substr(0, content_type.find(';')));
  if (type.starts_with("text/")) return type != "text/event-stream";
  constexpr std::array<std::string_view, 9> kTypes{
      "application/json",       "application/geo+json",   "application/xml",
      "application/javascript", "application/x-protobuf", "application/vnd.mapbox-vector-tile",
      "application/yaml",       "application/x-ndjson",   "image/svg+xml"};
  for (const auto known : kTypes)
    if (type == known) return true;
  return type.ends_with("+json") || type.ends_with("+xml");
}

std::optional<std::string> compress(std::string_view bytes, Coding coding) {
  // One byte less than the input is all the room: what does not fit is not worth sending.
  std::string out(bytes.size() > 1 ? bytes.size() - 1 : 0, '\0');
  if (out.empty()) return std::nullopt;
  const bool whole = coding == Coding::gzip ? gzip(bytes, out)
                     : coding == Coding::br ? brotli(bytes, out)
                                            : zstd(bytes, out);
  if (!whole) return std::nullopt;
  return out;
}

}  // namespace fused
