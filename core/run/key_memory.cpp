#include "run/key_memory.hpp"

namespace fused {
namespace {

void add(std::string& out, std::string_view part) {
  const auto size = static_cast<std::uint32_t>(part.size());
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  out += part;
}

}  // namespace

std::string KeyMemory::text_of(const RunRequest& request, const Digest& environment) {
  if (!request.typed.empty() || !request.function) return {};
  std::string out;
  out.reserve(256);
  const FunctionSource* function = request.function.get();
  out.append(reinterpret_cast<const char*>(&function), sizeof function);
  out.append(reinterpret_cast<const char*>(environment.bytes.data()), environment.bytes.size());
  const auto count = static_cast<std::uint32_t>(request.format.preferences.size());
  out.append(reinterpret_cast<const char*>(&count), sizeof count);
  for (const auto& format : request.format.preferences) add(out, format);
  add(out, request.format.from);
  out += request.format.dtype_out ? 'd' : ' ';
  if (request.format.dtype_out) {
    add(out, request.format.dtype_out->vector);
    add(out, request.format.dtype_out->raster);
  }
  out += request.async_client ? 'a' : ' ';
  out += request.tile ? 't' : ' ';
  if (request.tile)
    for (const std::int64_t number : {std::int64_t{request.tile->z}, request.tile->x, request.tile->y})
      out.append(reinterpret_cast<const char*>(&number), sizeof number);
  for (const auto& [name, value] : request.query) {
    if (out.size() + name.size() + value.size() > kCallBytesMax) return {};
    add(out, name);
    add(out, value);
  }
  return out;
}

const KeyMemory::Known* KeyMemory::find(const std::string& text, const RunRequest& request) const {
  if (text.empty()) return nullptr;
  const auto found = known_.find(text);
  if (found == known_.end() || found->second.function.lock() != request.function) return nullptr;
  return &found->second;
}

void KeyMemory::put(std::string text, const RunRequest& request, SharedDescription code, const CacheKey& key) {
  if (text.empty() || code->sees_caller) return;
  if (known_.size() >= kCallsMax) known_.clear();
  known_.insert_or_assign(std::move(text), Known{request.function, std::move(code), key});
}

}  // namespace fused
