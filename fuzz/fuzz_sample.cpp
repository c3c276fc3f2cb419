// Any bytes as a `_sample`: an error or rows that are sound, and what was read can be written and read again.
#include <cmath>
#include <cstdlib>

#include "table/sample.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto rows = fused::parse_sample(bytes);
  if (!rows) return 0;
  for (const auto& row : *rows)
    if (!fused::is_file_id(row.file_id) || row.chunk_id < 0 || row.box.minx > row.box.maxx) std::abort();
  const auto written = fused::sample_bytes(*rows);
  if (!written) std::abort();
  const auto again = fused::parse_sample(*written);
  if (!again || again->size() != rows->size()) std::abort();
  return 0;
}
