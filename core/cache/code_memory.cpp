#include "cache/code_memory.hpp"

#include <sodium.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstring>
#include <fstream>
#include <iterator>

#include "cache/entry.hpp"

namespace fused {
namespace json = boost::json;
namespace {

// u32 length of the JSON | 32 bytes digest | JSON | XXH3-128 of all before
constexpr std::size_t kOverhead = 4 + 32 + 16;
constexpr std::uint32_t kJsonBytesMax = 1 << 20;

std::string record_of(const Digest& text, const CodeDescription& description) {
  const std::string body = description.json();
  const auto size = static_cast<std::uint32_t>(body.size());
  std::string out(4, '\0');
  std::memcpy(out.data(), &size, 4);
  out.append(reinterpret_cast<const char*>(text.bytes.data()), text.bytes.size());
  out += body;
  const Check check = check_of(out);
  return out.append(reinterpret_cast<const char*>(check.data()), check.size());
}

std::optional<std::int64_t> seconds_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (!value || !value->is_int64() || value->get_int64() < 0) return std::nullopt;
  return value->get_int64();
}

}  // namespace

Result<CodeDescription> CodeDescription::of_json(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse({text.data(), text.size()}, error);
  if (error || !value.is_object()) return fail(ErrorKind::internal, "a worker described a text in no JSON object");
  const json::object& object = value.get_object();
  CodeDescription out;
  const auto* tree = object.if_contains("tree");
  std::size_t length = 0;
  if (!tree || !tree->is_string() || tree->get_string().size() != 64 ||
      sodium_hex2bin(out.tree.bytes.data(), 32, tree->get_string().data(), 64, nullptr, &length, nullptr) != 0 ||
      length != 32)
    return fail(ErrorKind::internal, "a worker described a text without its tree");
  if (const auto* list = object.if_contains("parameters"); list && list->is_array())
    out.signature = FUSED_TRY(Signature::of_json(object));
  const auto* sees = object.if_contains("sees_caller");
  out.sees_caller = !sees || !sees->is_bool() || sees->get_bool();
  out.cache_max_age_seconds = seconds_of(object, "cache_max_age");
  out.stale_while_revalidate_seconds = seconds_of(object, "stale_while_revalidate");
  out.cache_errors_seconds = seconds_of(object, "cache_errors");
  return out;
}

std::string CodeDescription::json() const {
  json::object out{{"tree", tree.hex()}, {"sees_caller", sees_caller}};
  if (signature.known)
    for (auto& item : signature.json()) out[item.key()] = item.value();
  if (cache_max_age_seconds) out["cache_max_age"] = *cache_max_age_seconds;
  if (stale_while_revalidate_seconds) out["stale_while_revalidate"] = *stale_while_revalidate_seconds;
  if (cache_errors_seconds) out["cache_errors"] = *cache_errors_seconds;
  return json::serialize(out);
}

CodeMemory::CodeMemory(std::filesystem::path file, std::function<void(std::string)> write)
    : file_(std::move(file)), write_(std::move(write)) {
  std::ifstream in(file_, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (std::size_t at = 0; at + kOverhead <= bytes.size();) {
    std::uint32_t size = 0;
    std::memcpy(&size, bytes.data() + at, 4);
    const std::size_t checked = 4 + 32 + std::size_t{size};
    const bool fits = size <= kJsonBytesMax && at + checked + 16 <= bytes.size();
    if (!fits || std::memcmp(check_of(std::string_view(bytes).substr(at, checked)).data(), bytes.data() + at + checked,
                             16) != 0) {
      ++at;  // a torn or damaged one: look for the next
      continue;
    }
    Digest text;
    std::memcpy(text.bytes.data(), bytes.data() + at + 4, 32);
    if (auto described = CodeDescription::of_json(std::string_view(bytes).substr(at + 36, size)))
      known_[text] = std::make_shared<const CodeDescription>(*std::move(described));
    at += checked + 16;
  }
}

SharedDescription CodeMemory::find(const Digest& text) const {
  const auto found = known_.find(text);
  return found == known_.end() ? nullptr : found->second;
}

void CodeMemory::put(const Digest& text, SharedDescription description) {
  if (known_.size() >= kTextsMax) known_.clear();  // they are made again; the file is cut by its writer
  if (write_) write_(record_of(text, *description));
  known_[text] = std::move(description);
}

}  // namespace fused
