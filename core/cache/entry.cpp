#include "cache/entry.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <cstring>

namespace fused {
namespace {

constexpr std::string_view kMagic = "FCE1";
constexpr unsigned char kMetaVersion = 1;
constexpr std::size_t kCheckAt = 112;

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  out.append(text);
}

template <class T>
T get_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// Reads fields one after the other; once something is missing, all that follows is empty and `ok` is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  bool ok = true;

  template <class T>
  T number() {
    if (rest_.size() < sizeof(T)) {
      ok = false;
      return {};
    }
    const T value = get_at<T>(rest_, 0);
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  std::string text() {
    const auto size = number<std::uint32_t>();
    if (!ok || size > rest_.size()) {
      ok = false;
      return {};
    }
    std::string value(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return value;
  }
  // How many follow, each of at least `bytes_min`.
  std::uint32_t count(std::size_t bytes_min) {
    const auto value = number<std::uint32_t>();
    if (value > rest_.size() / bytes_min) ok = false;
    return ok ? value : 0;
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

Check canonical(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  Check check;
  std::memcpy(check.data(), canonical.digest, check.size());
  return check;
}

Check head_check(std::string_view head, std::string_view meta, std::uint64_t nonce) {
  XXH3_state_t state;
  XXH3_INITSTATE(&state);  // reset_withSeed looks at the seed that stands there
  XXH3_128bits_reset_withSeed(&state, nonce);
  XXH3_128bits_update(&state, head.data(), kCheckAt);
  XXH3_128bits_update(&state, meta.data(), meta.size());
  return canonical(XXH3_128bits_digest(&state));
}

static_assert(std::endian::native == std::endian::little, "entries are written as they lie in memory");

}  // namespace

Check check_of(std::string_view bytes, std::uint64_t seed) {
  return canonical(XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed));
}

std::string etag_of_check(const Check& check) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string tag(34, '"');
  for (std::size_t i = 0; i < check.size(); ++i) {
    tag[1 + 2 * i] = kDigits[check[i] >> 4];
    tag[2 + 2 * i] = kDigits[check[i] & 15];
  }
  return tag;
}

std::uint64_t RecordHead::record_bytes() const {
  const std::uint64_t bytes = kRecordHeadBytes + meta_bytes + (flags & kBodyInFile ? 0 : body_bytes);
  return (bytes + 7) & ~std::uint64_t{7};
}

RecordHead head_of(const CacheEntry& entry) {
  RecordHead head;
  head.group = entry.key.group;
  head.tile_group = entry.key.tile_group;
  head.cost_seconds = static_cast<float>(entry.cost_seconds);
  head.body_bytes = entry.body.view.size();
  head.created_ms = entry.created_ms;
  head.expires_ms = entry.expires_ms;
  head.key = entry.key.digest;
  head.body_check = check_of(entry.body.view);
  return head;
}

std::string encode_head(const RecordHead& head, std::string_view meta, std::uint64_t nonce) {
  std::string out(kMagic);
  out.reserve(kRecordHeadBytes);
  put(out, static_cast<std::uint32_t>(meta.size()));
  put(out, head.flags);
  put(out, head.group);
  put(out, head.tile_group);
  put(out, head.cost_seconds);
  put(out, head.body_bytes);
  put(out, head.created_ms);
  put(out, head.expires_ms);
  put(out, head.file);
  put(out, std::uint64_t{0});
  out.append(reinterpret_cast<const char*>(head.key.bytes.data()), head.key.bytes.size());
  out.append(reinterpret_cast<const char*>(head.body_check.data()), head.body_check.size());
  const Check check = head_check(out, meta, nonce);
  out.append(reinterpret_cast<const char*>(check.data()), check.size());
  return out;
}

std::optional<RecordHead> decode_head(std::string_view bytes, std::uint64_t nonce) {
  if (bytes.size() < kRecordHeadBytes || !bytes.starts_with(kMagic)) return std::nullopt;
  RecordHead head;
  head.meta_bytes = get_at<std::uint32_t>(bytes, 4);
  if (head.meta_bytes > kMetaBytesMax || bytes.size() < kRecordHeadBytes + head.meta_bytes) return std::nullopt;
  const Check check = head_check(bytes, bytes.substr(kRecordHeadBytes, head.meta_bytes), nonce);
  if (std::memcmp(check.data(), bytes.data() + kCheckAt, check.size()) != 0) return std::nullopt;
  head.flags = get_at<std::uint32_t>(bytes, 8);
  head.group = get_at<std::uint32_t>(bytes, 12);
  head.tile_group = get_at<std::uint32_t>(bytes, 16);
  head.cost_seconds = get_at<float>(bytes, 20);
  head.body_bytes = get_at<std::uint64_t>(bytes, 24);
  head.created_ms = get_at<std::int64_t>(bytes, 32);
  head.expires_ms = get_at<std::int64_t>(bytes, 40);
  head.file = get_at<std::uint64_t>(bytes, 48);
  std::memcpy(head.key.bytes.data(), bytes.data() + 64, head.key.bytes.size());
  std::memcpy(head.body_check.data(), bytes.data() + 96, head.body_check.size());
  if (head.body_bytes > kBodyBytesMax) return std::nullopt;
  return head;
}

std::string encode_meta(const CacheEntry& entry) {
  std::string out;
  out.reserve(512 + entry.metadata.size());
  put(out, kMetaVersion);
  put(out, static_cast<std::int32_t>(entry.status));
  put(out, entry.cost_seconds);
  for (const std::string* text : {&entry.organisation, &entry.owner_email, &entry.run_id, &entry.revision,
                                  &entry.content_type, &entry.format, &entry.metadata, &entry.note})
    put_text(out, *text);
  for (const auto part : entry.key.parts) put(out, part);
  put(out, static_cast<std::uint32_t>(entry.key.parameters.size()));
  for (const auto& [name, value] : entry.key.parameters) {
    put_text(out, name);
    put(out, value);
  }
  put(out, static_cast<std::uint32_t>(entry.headers.size()));
  for (const auto& [name, value] : entry.headers) {
    put_text(out, name);
    put_text(out, value);
  }
  put(out, static_cast<std::uint32_t>(entry.functions.size()));
  for (const auto& use : entry.functions) {
    put_text(out, use.id);
    put_text(out, use.revision);
  }
  put(out, static_cast<std::uint32_t>(entry.files.size()));
  for (const auto& use : entry.files) {
    put_text(out, use.path);
    put(out, use.size);
    put(out, use.mtime_ns);
    put(out, use.inode);
  }
  return out;
}

std::shared_ptr<CacheEntry> decode_meta(const RecordHead& head, std::string_view meta) {
  Reader in(meta);
  if (in.number<unsigned char>() != kMetaVersion) return nullptr;
  auto entry = std::make_shared<CacheEntry>();
  CacheEntry& e = *entry;
  e.status = in.number<std::int32_t>();
  e.cost_seconds = in.number<double>();
  for (std::string* text :
       {&e.organisation, &e.owner_email, &e.run_id, &e.revision, &e.content_type, &e.format, &e.metadata, &e.note})
    *text = in.text();
  for (auto& part : e.key.parts) part = in.number<std::uint64_t>();
  for (auto left = in.count(12); left > 0 && in.ok; --left) {
    std::string name = in.text();
    e.key.parameters.emplace_back(std::move(name), in.number<std::uint64_t>());
  }
  for (auto left = in.count(8); left > 0 && in.ok; --left) {
    std::string name = in.text();
    e.headers.emplace_back(std::move(name), in.text());
  }
  for (auto left = in.count(8); left > 0 && in.ok; --left) {
    FunctionUse use;
    use.id = in.text();
    use.revision = in.text();
    e.functions.push_back(std::move(use));
  }
  for (auto left = in.count(28); left > 0 && in.ok; --left) {
    FileUse use;
    use.path = in.text();
    use.size = in.number<std::int64_t>();
    use.mtime_ns = in.number<std::int64_t>();
    use.inode = in.number<std::uint64_t>();
    e.files.push_back(std::move(use));
  }
  if (!in.ok || !in.at_end()) return nullptr;
  e.key.digest = head.key;
  e.key.group = head.group;
  e.key.tile_group = head.tile_group;
  e.created_ms = head.created_ms;
  e.expires_ms = head.expires_ms;
  e.etag = etag_of_check(head.body_check);
  return entry;
}

}  // namespace fused
