// Sizes that only connections know, in bytes.
#pragma once
#include <cstddef>

namespace fused {

inline constexpr std::size_t kBufferBytes = 8 << 10;
inline constexpr std::size_t kBufferBytesKept = 64 << 10;   // a larger buffer is given back after its request
inline constexpr std::size_t kReadAheadBytes = 64 << 10;    // of further requests, while a handler runs
inline constexpr std::size_t kRefusedBodyBytes = 64 << 10;  // read and dropped, to keep the connection
inline constexpr std::size_t kSendTurnBytes = 4 << 20;      // written before others have their turn

}  // namespace fused
