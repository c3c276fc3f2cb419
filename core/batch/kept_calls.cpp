#include "batch/kept_calls.hpp"

#include <cstring>

#include "batch/call_record.hpp"

namespace fused {
namespace {

constexpr std::size_t kHeadBytes = 8;
constexpr std::size_t kRowBytes = 32 + 8 + 8 + 4 + 4;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

std::optional<KeptCalls> KeptCalls::of(Bytes body) {
  const std::string_view bytes = body.view;
  if (bytes.size() < kHeadBytes || !bytes.starts_with("FBC1")) return std::nullopt;
  KeptCalls kept;
  kept.calls_ = number_in<std::uint32_t>(bytes.data() + 4);
  if (kHeadBytes + kept.calls_ * kRowBytes > bytes.size()) return std::nullopt;
  kept.body_ = std::move(body);
  return kept;
}

const char* KeptCalls::row(std::size_t position) const { return body_.view.data() + kHeadBytes + position * kRowBytes; }

KeptCalls::Found KeptCalls::at(std::size_t position, ArgumentDigest& arguments) const {
  const char* found = row(position);
  std::memcpy(arguments.data(), found, arguments.size());
  const auto offset = number_in<std::uint64_t>(found + 40);
  const auto bytes = number_in<std::uint32_t>(found + 48);
  if (offset > body_.view.size() || bytes > body_.view.size() - offset) return {};
  return {number_in<std::int64_t>(found + 32), body_.view.substr(offset, bytes)};
}

std::optional<KeptCalls::Found> KeptCalls::find(const ArgumentDigest& arguments) const {
  std::size_t from = 0, to = calls_;
  while (from < to) {
    const std::size_t middle = from + (to - from) / 2;
    const int order = std::memcmp(row(middle), arguments.data(), arguments.size());
    if (order == 0) {
      ArgumentDigest same;
      return at(middle, same);
    }
    if (order < 0)
      from = middle + 1;
    else
      to = middle;
  }
  return std::nullopt;
}

void CallsToKeep::add(const ArgumentDigest& arguments, std::int64_t made_ms, std::string_view record) {
  if (is_too_large()) return;
  bytes_ += kRowBytes + record.size();
  if (is_too_large()) return;
  if (!calls_.try_emplace(arguments, Call{made_ms, std::string(record)}).second) bytes_ -= kRowBytes + record.size();
}

std::string CallsToKeep::bytes() const {
  std::string out = "FBC1";
  out.reserve(bytes_);
  put(out, static_cast<std::uint32_t>(calls_.size()));
  std::uint64_t offset = kHeadBytes + calls_.size() * kRowBytes;
  for (const auto& [arguments, call] : calls_) {
    out.append(reinterpret_cast<const char*>(arguments.data()), arguments.size());
    put(out, call.made_ms);
    put(out, offset);
    put(out, static_cast<std::uint32_t>(call.record.size()));
    put(out, std::uint32_t{0});
    offset += call.record.size();
  }
  for (const auto& [arguments, call] : calls_) out += call.record;
  return out;
}

}  // namespace fused
