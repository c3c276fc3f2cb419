// Any text as the "geo" entry of a Parquet footer: an error or columns that can be relied on.
#include <arrow/util/key_value_metadata.h>

#include <cstdlib>

#include "table/geo_metadata.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const arrow::KeyValueMetadata metadata({"geo"}, {std::string(reinterpret_cast<const char*>(data), size)});
  const auto geo = fused::read_geo_metadata(&metadata);
  if (!geo) return 0;
  const auto* primary = geo->primary_column();
  if (primary && primary->name.size() > size) std::abort();
  return 0;
}
