// Entries on disk (docs/decisions/0004-result-cache.md). One thread writes (append, mark, tidy, close); any thread
// reads. Nothing is fsynced. What is torn, flipped, foreign or under another key is a miss.
#pragma once
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <unordered_set>
#include <vector>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "cache/entry.hpp"
#include "cache/segment_file.hpp"
#include "cache/segment_index.hpp"

namespace fused {

struct SegmentOptions {
  std::filesystem::path folder;             // DIR/cache
  std::int64_t bytes_max = 10LL << 30;      // segments and large bodies
  std::int64_t free_bytes_min = 1LL << 30;  // of the disk (or a 20th of it, if that is less): below, entries go
  std::size_t entries_max = 2'000'000;      // 80 bytes of memory each
  std::uint64_t segment_bytes = 32 << 20;
  std::size_t inline_body_bytes_max = 64 << 10;
};

struct SegmentFigures {
  std::size_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t damaged = 0;  // entries that did not prove whole
  std::uint64_t evicted = 0;
  std::uint64_t compacted = 0;  // segments
};

class SegmentStore {
 public:
  // Makes the folders and reads the index. Fails where the folder cannot be used: not a folder of our own, read-only.
  static Result<std::unique_ptr<SegmentStore>> open(SegmentOptions options, const Clock& clock);

  enum class Answer { missing, here, in_file };
  struct Lookup {
    Answer answer = Answer::missing;
    SharedCacheEntry entry;  // here
  };
  // One pread for a small body; `in_file` says that `load` has to be asked, on a thread that may wait.
  Lookup find(const Digest& key);
  SharedCacheEntry load(const Digest& key);

  // ── the writing thread ──
  Status append(const CacheEntry& entry);
  Status mark_group(std::uint32_t group);  // the index has hidden it already
  Status mark_key(const Digest& key);
  // One step of eviction or compaction; true when there is more to do at once.
  Result<bool> tidy();
  void close();  // seals what is open, so that the next start is quick

  SegmentFigures figures() const;
  SegmentIndex& index() { return index_; }

 private:
  SegmentStore(SegmentOptions options, const Clock& clock) : options_(std::move(options)), clock_(clock) {}
  std::uint32_t now() const;
  std::string segment_name(std::uint32_t number) const;
  std::filesystem::path large_path(std::uint64_t file) const;
  std::shared_ptr<CacheEntry> read(const Digest& key, const SegmentIndex::Found& found, std::string& record);

  Status recover();  // segment_recovery.cpp
  Status recover_one(std::uint32_t number, std::unordered_set<std::uint64_t>& files);
  void take_rows(Segment& segment, const std::vector<TableRow>& rows, std::unordered_set<std::uint64_t>& files);
  void sweep_large(const std::unordered_set<std::uint64_t>& files);

  Status begin_segment();
  Status seal();
  Result<Position> write_record(RecordHead head, std::string_view meta, std::string_view body);
  Status write_large(const RecordHead& head, const CacheEntry& entry);
  void remove_large(std::uint64_t file);

  bool is_pressed(const SegmentIndex::Totals& totals) const;  // segment_compaction.cpp
  SharedSegment victim(bool pressed) const;
  struct Contents;
  Contents sort_out(const Segment& segment, std::string_view bytes, bool pressed, bool keep_none);
  Status carry_marks(const Segment& segment, const Contents& contents);
  Result<bool> compact(const SharedSegment& segment, bool pressed, bool keep_none);
  Status keep(const RecordHead& head, std::string_view record, Position from);

  SegmentOptions options_;
  const Clock& clock_;
  FileDescriptor folder_;  // segments/
  SegmentIndex index_;
  SharedSegment writing_;
  std::vector<TableRow> writing_rows_;
  std::uint32_t next_number_ = 1;
  mutable std::atomic<std::uint64_t> damaged_{0};
  std::atomic<std::uint64_t> evicted_{0}, compacted_{0};
};

}  // namespace fused
