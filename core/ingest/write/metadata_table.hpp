// The `fused` table of the seed: one row a chunk, with the columns of `_sample` and the chunk's box as geometry.
#pragma once
#include <span>
#include <string>

#include "base/result.hpp"
#include "table/sample.hpp"

namespace fused::ingest {

// Bytes of a GeoParquet file. A chunk without geometry has a null box.
Result<std::string> metadata_table(std::span<const ChunkRow> chunks);

}  // namespace fused::ingest
