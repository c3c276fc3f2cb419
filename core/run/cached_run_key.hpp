// From a run request to what stands in its key.
#pragma once
#include <string>

#include "cache/cache_key.hpp"
#include "cache/code_memory.hpp"
#include "run/run_request.hpp"

namespace fused {

// What the worker's answer is remembered by: the text, and whose it is.
Digest text_digest(const FunctionSource& function);
CacheKey key_of(const RunRequest& request, const CodeDescription& code, const Digest& environment);
std::string tile_text(const TileId& tile);  // "z/x/y"
// Seconds of a `stale-while-revalidate=N` in a Cache-Control value; 0 where there is none.
std::int64_t stale_seconds_of(std::string_view cache_control);

}  // namespace fused
