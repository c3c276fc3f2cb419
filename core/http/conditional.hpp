// ETag and If-None-Match.
#pragma once
#include <string>
#include <string_view>

namespace fused {

inline constexpr std::size_t kEtagBytesMax = 1 << 20;  // hashed in place: 0.1 ms

// A strong tag of the bytes: "\"" + 32 hexadecimal digits (XXH3-128) + "\"".
std::string etag_of(std::string_view bytes);
// The tag of the same representation under a content coding: "\"abc\"" → "\"abc-gzip\"".
std::string etag_with_coding(std::string_view etag, std::string_view coding);
// Does If-None-Match name this tag, or it under any coding? By weak comparison (RFC 9110 13.1.2).
bool none_match_hits(std::string_view if_none_match, std::string_view etag);

}  // namespace fused
