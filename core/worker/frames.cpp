#include "worker/frames.hpp"

#include <cstring>

namespace fused {
namespace {

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));  // both ends run on the same little-endian machine
  out.append(bytes, sizeof(T));
}

template <class T>
T take(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

bool is_kind(std::uint8_t kind) { return (kind >= 1 && kind <= 6) || (kind >= 16 && kind <= 22); }

}  // namespace

std::string encode_frame_head(const FrameHead& head) {
  std::string out;
  out.reserve(kFrameHeadBytes);
  out += "FUSD";
  put(out, kFrameVersion);
  put(out, static_cast<std::uint8_t>(head.kind));
  put(out, head.flags);
  put(out, head.header_length);
  put(out, head.body_length);
  put(out, head.nonce);
  return out;
}

Result<FrameHead> decode_frame_head(std::string_view bytes, std::uint64_t nonce) {
  const auto refuse = [](std::string what) { return fail(ErrorKind::internal, "not a frame: " + std::move(what)); };
  if (bytes.size() != kFrameHeadBytes) return refuse(std::to_string(bytes.size()) + " bytes instead of 24");
  if (bytes.substr(0, 4) != "FUSD") return refuse("wrong magic");
  if (take<std::uint8_t>(bytes, 4) != kFrameVersion)
    return refuse("version " + std::to_string(take<std::uint8_t>(bytes, 4)));
  const auto kind = take<std::uint8_t>(bytes, 5);
  if (!is_kind(kind)) return refuse("kind " + std::to_string(kind));
  FrameHead head{static_cast<FrameKind>(kind), take<std::uint16_t>(bytes, 6), take<std::uint32_t>(bytes, 8),
                 take<std::uint32_t>(bytes, 12), take<std::uint64_t>(bytes, 16)};
  if (head.nonce != nonce) return refuse("wrong nonce");
  if (head.header_length > kFrameHeaderBytesMax)
    return refuse("a header of " + std::to_string(head.header_length) + " bytes");
  return head;
}

}  // namespace fused
