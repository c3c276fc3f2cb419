// The records of runs that have no folder yet: files DIR/journal/{number}.journal (journal_format.hpp). One thread
// appends, one other thread reads them in the same order; the files are the queue between the two, so that it costs no
// memory and what a killed server left is read at the next start like anything else. Nothing is fsynced.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "logs/journal_format.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {

struct JournalOptions {
  std::filesystem::path folder;
  std::int64_t segment_bytes = 4 << 20;  // a segment that has grown over it is followed by a new one; at most a 4th of:
  std::int64_t bytes_max = 1LL << 30;    // of all segments; beyond it append refuses
};

struct JournalPosition {
  std::uint64_t segment = 0;
  std::uint64_t offset = 0;
  auto operator<=>(const JournalPosition&) const = default;
};

struct JournalEntry {
  JournalRun run;
  std::shared_ptr<const JournalCode> code;  // null when its frame was damaged
  JournalPosition end;                      // behind it
  std::uint64_t bytes = 0;                  // with the code's before it
  bool replayed = false;                    // written by an earlier server
};

struct JournalCounts {
  std::uint64_t bytes_on_disk = 0;
  std::uint64_t damaged = 0;          // parts that could not be read, a torn end among them
  std::uint64_t replay_segments = 0;  // of an earlier server, not yet read
};

class Journal {
 public:
  // Makes the folder where it is missing. What lies in it is read first.
  static Result<std::unique_ptr<Journal>> open(JournalOptions options);

  // Segments get higher numbers than this, so that a position means the same for ever. Before the first append.
  void number_above(std::uint64_t number) { next_number_ = std::max(next_number_, number + 1); }

  // ── the writing thread ──
  // One write(2). Gives the bytes appended. storage_full or internal when they are not in the journal; nothing of them
  // is.
  Result<std::uint64_t> append(const RunRecord& record, WallTime now);

  // ── the reading thread ──
  // The next record, or null when everything appended has been read.
  std::unique_ptr<JournalEntry> next();
  // Deletes the segments that have been read to their end, and the one being written when all of it has been read and
  // `writer_is_gone`. Call it when what must outlive them is saved.
  void delete_read(bool writer_is_gone = false);
  bool has_read_segments() const { return !read_segments_.empty(); }
  JournalPosition read_up_to() const;

  JournalCounts counts() const;  // any thread

 private:
  struct Segment {
    std::uint64_t number = 0;
    std::uint64_t end = 0;  // complete frames up to here
    bool closed = false;
    bool replayed = false;
  };
  explicit Journal(JournalOptions options);
  Status list_segments();
  Status begin_segment();
  Status write_all(std::string_view first, std::string_view second);
  std::uint32_t code_number(const RunRecord& record);
  std::filesystem::path path_of(std::uint64_t number) const;
  bool begin_reading(const Segment& segment);
  bool fill(const Segment& segment, std::size_t bytes);
  std::string_view unread() const { return std::string_view(buffer_).substr(reading_.offset - buffer_from_); }
  std::unique_ptr<JournalEntry> read_frame(const Segment& segment);
  void skip_damage(const Segment& segment);

  JournalOptions options_;
  FileDescriptor folder_;

  mutable std::mutex mutex_;
  std::deque<Segment> segments_;  // not yet read to their end, oldest first

  // the writing thread's
  FileDescriptor writing_;
  std::uint64_t next_number_ = 1;
  std::uint64_t writing_end_ = 0;
  JournalKey writing_key_{};
  std::unordered_map<std::string, std::uint32_t> written_codes_;  // of this segment
  std::string code_frame_, run_frame_, new_code_key_;

  // the reading thread's
  FileDescriptor reading_file_;
  JournalPosition reading_;
  JournalKey reading_key_{};
  std::string buffer_;
  std::uint64_t buffer_from_ = 0, entry_from_ = 0;
  std::unordered_map<std::uint32_t, std::shared_ptr<const JournalCode>> codes_;
  std::vector<std::uint64_t> read_segments_;

  std::atomic<std::uint64_t> bytes_on_disk_{0}, damaged_{0}, replay_segments_{0};
};

}  // namespace fused
