// Limits of connections that are not settings, each with its unit; server.cpp copies the settings into the rest.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace fused {

struct HttpLimits {
  // Of Settings.
  std::size_t header_bytes_max = 32 << 10;   // all fields of one request, without its first line: 431
  std::size_t uri_bytes_max = 12 << 20;      // 414
  std::int64_t body_bytes_max = 64LL << 20;  // 413; a row of the route list may allow more or less
  // A body beyond it goes to a file of the data folder, in pieces, while it arrives.
  std::size_t body_in_memory_bytes_max = 1 << 20;
  std::size_t body_piece_bytes = 256 << 10;
  std::size_t header_fields_max = 256;  // 431

  // A peer must be this fast; the deadline of a transfer is its grace plus what its bytes take at the minimum rate.
  std::chrono::milliseconds header_grace{10'000};  // from the first byte of a request to the end of its header
  std::chrono::milliseconds body_grace{20'000};    // from the end of the header
  std::chrono::milliseconds write_grace{30'000};   // from the first byte of a reply
  std::int64_t bytes_per_second_min = 4 << 10;
  std::chrono::milliseconds idle{75'000};   // of a kept-alive connection without a request
  std::chrono::milliseconds linger{2'000};  // reading on after a refusal, so that the peer sees the answer
  std::size_t linger_bytes_max = 32 << 20;

  std::size_t connections_max = 16'384;
  std::size_t connections_per_ip_max = 2'048;     // a proxy in front is one address
  std::size_t inbound_bytes_max = 1UL << 30;      // held by unfinished requests of all connections: then 503
  std::size_t chunk_framing_bytes_max = 1 << 20;  // beside a chunked body's own bytes and 8 for each of them
  std::size_t chunk_header_bytes_max = 16 << 10;  // of one chunk's size line, and of all trailers
  int requests_in_a_row = 4;                      // of one connection before others have their turn
};

}  // namespace fused
