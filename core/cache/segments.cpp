#include "cache/segments.hpp"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cache/entry_file.hpp"

namespace fused {
namespace {

std::uint64_t random_number() {
  std::uint64_t number = 0;
  while (number == 0) randombytes_buf(&number, sizeof number);
  return number;
}

CheckBytes entry_check(const Check& check) {
  CheckBytes out{};
  std::ranges::copy(check, out.begin());
  return out;
}

// Without the file's name, which a compaction changes. What a listing shows of it is in the note.
EntryFileHead large_head(const RecordHead& head, const CacheEntry& entry) {
  EntryFileHead out;
  out.writer = EntryWriter::result_cache;
  out.check = EntryCheck::xxh3;
  out.created_ns = entry.created_ms * 1'000'000;
  out.max_age_s = static_cast<std::uint64_t>(std::max<std::int64_t>(0, entry.expires_ms - entry.created_ms)) / 1000;
  out.computing_ns = static_cast<std::uint64_t>(std::max(0.0, entry.cost_seconds) * 1e9);
  out.key = head.key;
  out.body_check = entry_check(head.body_check);
  return out;
}

std::string large_note(const CacheEntry& entry) {
  const boost::json::object note{{"content_type", entry.content_type}, {"format", entry.format},
                                 {"owner", entry.owner_email},         {"run_id", entry.run_id},
                                 {"revision", entry.revision},         {"status", entry.status}};
  return boost::json::serialize(note);
}

IndexRow index_row(const TableRow& row, std::uint32_t segment) {
  IndexRow out;
  out.position = {segment, row.offset};
  out.record_bytes = row.record_bytes;
  out.created = row.created;
  out.expires = row.expires;
  out.group = row.group;
  out.tile_group = row.tile_group;
  out.last_used = row.created;
  out.cost_seconds = row.cost_seconds;
  out.large_kib = row.large_kib;
  out.flags = static_cast<std::uint16_t>(row.flags);
  return out;
}

}  // namespace

std::uint32_t SegmentStore::now() const {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(clock_.now().time_since_epoch()).count());
}

std::string SegmentStore::segment_name(std::uint32_t number) const {
  char name[32];
  std::snprintf(name, sizeof name, "%010u.seg", number);
  return name;
}

std::filesystem::path SegmentStore::large_path(std::uint64_t file) const {
  char name[40];
  std::snprintf(name, sizeof name, "%02x/%016llx", static_cast<unsigned>(file & 255),
                static_cast<unsigned long long>(file));
  return options_.folder / "large" / name;
}

Result<std::unique_ptr<SegmentStore>> SegmentStore::open(SegmentOptions options, const Clock& clock) {
  auto store = std::unique_ptr<SegmentStore>(new SegmentStore(std::move(options), clock));
  const auto& folder = store->options_.folder;
  for (const auto& path : {folder, folder / "segments", folder / "large"}) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("cannot make " + path.string(), errno);
    struct stat is{};
    if (::lstat(path.c_str(), &is) != 0) return fail_errno("cannot look at " + path.string(), errno);
    if (!S_ISDIR(is.st_mode))
      return fail(ErrorKind::conflict, path.string() + " is no folder (a file or a link); move it away");
    if (is.st_uid != ::geteuid()) return fail(ErrorKind::conflict, path.string() + " belongs to another user");
    if (::access(path.c_str(), W_OK) != 0) return fail_errno("cannot write in " + path.string(), errno);
  }
  store->folder_.reset(::open((folder / "segments").c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!store->folder_) return fail_errno("cannot open " + (folder / "segments").string(), errno);
  FUSED_CHECK(store->recover());
  return store;
}

// ── reading ──

std::shared_ptr<CacheEntry> SegmentStore::read(const Digest& key, const SegmentIndex::Found& found,
                                               std::string& record) {
  record = read_at(found.segment->file.get(), found.row.position.offset, found.row.record_bytes);
  const auto head = decode_head(record, found.segment->nonce);
  if (head && head->key == key && !head->is_mark() && head->record_bytes() == record.size())
    if (auto entry = decode_meta(*head, std::string_view(record).substr(kRecordHeadBytes, head->meta_bytes)))
      return entry;
  ++damaged_;
  index_.erase(key, found.row.position);
  return nullptr;
}

SegmentStore::Lookup SegmentStore::find(const Digest& key) {
  const auto found = index_.find(key, now());
  if (!found) return {};
  if (found->row.flags & kBodyInFile) return {Answer::in_file, nullptr};
  auto record = std::make_shared<std::string>();
  auto entry = read(key, *found, *record);
  if (!entry) return {};
  const auto head = decode_head(*record, found->segment->nonce);
  const std::string_view body = std::string_view(*record).substr(kRecordHeadBytes + head->meta_bytes, head->body_bytes);
  if (check_of(body) != head->body_check) {
    ++damaged_;
    index_.erase(key, found->row.position);
    return {};
  }
  entry->body = {std::shared_ptr<const void>(record, record.get()), body};
  return {Answer::here, std::move(entry)};
}

SharedCacheEntry SegmentStore::load(const Digest& key) {
  const auto found = index_.find(key, now());
  if (!found) return nullptr;
  if (!(found->row.flags & kBodyInFile)) return find(key).entry;
  std::string record;
  auto entry = read(key, *found, record);
  if (!entry) return nullptr;
  const auto head = decode_head(record, found->segment->nonce);
  EntryReading how;
  how.key = &head->key;
  how.check = EntryCheck::xxh3;
  how.read_whole_max = 0;
  how.writable = false;
  auto file = read_entry_file(large_path(head->file).string(), how);
  const bool older = !file && file.error().kind == EntryError::Kind::older;
  if (!file || file->head.body_check != entry_check(head->body_check)) {
    if (!older) ++damaged_;  // one of an earlier version is a miss and no damage
    index_.erase(key, found->row.position);
    return nullptr;
  }
  entry->body = {file->owner, {file->body.data(), file->body.size()}};
  return entry;
}

// ── writing ──

Status SegmentStore::begin_segment() {
  auto segment = std::make_shared<Segment>();
  segment->number = next_number_;
  segment->nonce = random_number();
  const std::string name = segment_name(segment->number);
  segment->file.reset(::openat(folder_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  ++next_number_;
  if (!segment->file) {
    if (errno == ENOSPC || errno == EDQUOT) return fail(ErrorKind::storage_full, "no room to make segment " + name);
    return fail_errno("cannot make segment " + name, errno);
  }
  const std::string head = encode_segment_head(segment->number, segment->nonce);
  if (const auto written = write_at(segment->file.get(), head, 0, name); !written) {
    ::unlinkat(folder_.get(), name.c_str(), 0);
    return written;
  }
  segment->file_bytes = head.size();
  writing_ = segment;
  writing_rows_.clear();
  index_.add_segment(std::move(segment));
  return {};
}

Status SegmentStore::seal() {
  if (!writing_) return {};
  const SharedSegment segment = std::exchange(writing_, nullptr);
  const std::string table = encode_table(writing_rows_, segment->number, segment->nonce, segment->file_bytes);
  const std::string name = segment_name(segment->number);
  segment->sealed = true;
  if (const auto written = write_at(segment->file.get(), table, segment->file_bytes, name); !written) {
    // Without its table it is walked at the next start.
    (void)!::ftruncate(segment->file.get(), static_cast<off_t>(segment->file_bytes));
    return written;
  }
  index_.grow(*segment, table.size(), 0);
  writing_rows_.clear();
  return {};
}

Result<Position> SegmentStore::write_record(RecordHead head, std::string_view meta, std::string_view body) {
  head.meta_bytes = static_cast<std::uint32_t>(meta.size());
  const std::uint64_t bytes = head.record_bytes();
  if (writing_ && writing_->file_bytes + bytes > options_.segment_bytes && !writing_rows_.empty()) FUSED_CHECK(seal());
  if (!writing_) FUSED_CHECK(begin_segment());
  std::string record = encode_head(head, meta, writing_->nonce);
  record.reserve(bytes);
  record += meta;
  if (!(head.flags & kBodyInFile)) record += body;
  record.resize(bytes, '\0');
  const std::uint64_t at = writing_->file_bytes;
  if (const auto written = write_at(writing_->file.get(), record, at, segment_name(writing_->number)); !written) {
    if (::ftruncate(writing_->file.get(), static_cast<off_t>(at)) != 0) (void)seal();
    return std::unexpected(written.error());
  }
  const auto offset = static_cast<std::uint32_t>(at);
  writing_rows_.push_back(table_row(head, offset));
  index_.grow(*writing_, bytes, std::uint64_t{writing_rows_.back().large_kib} * 1024);
  return Position{writing_->number, offset};
}

Status SegmentStore::write_large(const RecordHead& head, const CacheEntry& entry) {
  EntryWriting to;
  to.path = large_path(head.file).string();
  to.has_body_check = true;
  const std::string note = large_note(entry);
  const std::string_view body[] = {entry.body.view};
  auto written = write_entry_file(to, large_head(head, entry), note, body);
  if (!written && written.error().error_number == ENOENT) {
    const std::filesystem::path folder = large_path(head.file).parent_path();
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
      return fail_errno("cannot make " + folder.string(), errno);
    written = write_entry_file(to, large_head(head, entry), note, body);
  }
  if (written) return {};
  const int error = written.error().error_number;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG)
    return fail(ErrorKind::storage_full, "no room to write " + to.path + ": " + std::strerror(error));
  return fail_errno("cannot write " + to.path, error);
}

void SegmentStore::remove_large(std::uint64_t file) { ::unlink(large_path(file).c_str()); }

Status SegmentStore::append(const CacheEntry& entry) {
  RecordHead head = head_of(entry);
  const std::string meta = encode_meta(entry);
  if (meta.size() > kMetaBytesMax)
    return fail(ErrorKind::too_large, "an entry's headers have " + std::to_string(meta.size()) + " bytes");
  if (entry.body.view.size() > options_.inline_body_bytes_max) {
    if (entry.body.view.size() > static_cast<std::size_t>(options_.bytes_max) / 4)
      return fail(ErrorKind::too_large,
                  "a result of " + std::to_string(entry.body.view.size()) + " bytes is over a quarter of the cache");
    head.flags |= kBodyInFile;
    head.file = random_number();
    FUSED_CHECK(write_large(head, entry));
  }
  const auto position = write_record(head, meta, entry.body.view);
  if (!position) {
    if (head.file != 0) remove_large(head.file);
    return std::unexpected(position.error());
  }
  head.meta_bytes = static_cast<std::uint32_t>(meta.size());
  IndexRow row = index_row(table_row(head, position->offset), position->segment);
  row.last_used = now();
  index_.insert(head.key, row);
  return {};
}

Status SegmentStore::mark_group(std::uint32_t group) {
  RecordHead head;
  head.flags = kGroupMark;
  head.group = group;
  const auto position = write_record(head, {}, {});
  // Without its record it holds until the next start only.
  index_.show_group_after(group, position ? *position
                                 : writing_
                                     ? Position{writing_->number, static_cast<std::uint32_t>(writing_->file_bytes)}
                                     : Position{next_number_, 0});
  if (!position) return std::unexpected(position.error());
  return {};
}

Status SegmentStore::mark_key(const Digest& key) {
  RecordHead head;
  head.flags = kKeyMark;
  head.key = key;
  const Position position = FUSED_TRY(write_record(head, {}, {}));
  index_.mark_key(key, position);
  return {};
}

void SegmentStore::close() { (void)seal(); }

SegmentFigures SegmentStore::figures() const {
  return {index_.size(), index_.totals().bytes, damaged_, evicted_, compacted_};
}

}  // namespace fused
