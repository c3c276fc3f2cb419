// Names of requests: the caller's where it is fit to be one, else ours.
#pragma once
#include <string>
#include <string_view>

namespace fused {

// 1–64 of letters, digits, '.', '_', '-', not beginning with '.': fit for log lines and file names.
bool is_request_id(std::string_view text);
std::string new_request_id();  // a version 4 UUID, from randomness fetched 4 KiB at a time; one thread
// W3C trace context: "00-<32 hex>-<16 hex>-<2 hex>", ids not zero. Others are ignored, as the recommendation says.
bool is_traceparent(std::string_view text);

}  // namespace fused
