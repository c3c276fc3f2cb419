// Random identifiers and token hashing (libsodium). Call `init_random()` once before use.
#pragma once
#include <string>
#include <string_view>

namespace fused {

void init_random();                              // aborts the process when the system has no randomness
std::string new_uuid();                          // version 4, lower case, 36 characters
std::string uuid_of(std::string_view bytes);     // version 8 (RFC 9562), of their SHA-256: always the same
std::string new_token(std::string_view prefix);  // prefix + 64 hex digits: 256 bits
std::string sha256_hex(std::string_view bytes);  // 64 lower-case hex digits
bool is_uuid(std::string_view text);             // 8-4-4-4-12 hex, either case
bool equal_constant_time(std::string_view a, std::string_view b);

}  // namespace fused
