// What is read as a duration is written and read again as the same one; nothing that is refused names no reason.
#include <cstdlib>

#include "base/duration.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto duration = fused::parse_duration(text);
  if (!duration) {
    if (duration.error().message.empty()) std::abort();
    return 0;
  }
  if (duration->count() < 0 || *duration > std::chrono::hours(24) * 36'500) std::abort();
  const auto again = fused::parse_duration(fused::format_duration(*duration));
  if (!again || *again != *duration) std::abort();
  return 0;
}
