// How the result cache's index and its start grow: cache_index DIR [rows_max] [restart_entries]
// Prints ns a lookup (of random keys that are there, and of keys that are not) and bytes of memory a row at 10^3, 10^4,
// … rows_max (10^7) rows; then how long SegmentStore::open takes with restart_entries (10^6), after a clean end and
// after kill -9. DIR must not exist and is removed.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "cache/segments.hpp"

namespace {

using namespace fused;
using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point begin) { return std::chrono::duration<double>(Steady::now() - begin).count(); }

Digest digest_of(std::uint64_t number) {
  Hasher hasher;
  return hasher.add(std::to_string(number)).finish();
}

// Digests are made beforehand where they are looked up: what is measured is the lookup.
std::uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::uint64_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void curve(std::uint64_t rows_max) {
  constexpr std::size_t kLookups = 1'000'000;
  std::mt19937_64 random(1);
  SegmentIndex index;
  auto segment = std::make_shared<Segment>();
  segment->number = 1;
  index.add_segment(segment);
  const std::uint64_t before = resident_bytes();
  std::uint64_t filled = 0;
  std::printf("%12s %14s %14s %14s\n", "rows", "hit ns", "miss ns", "bytes a row");
  for (std::uint64_t rows = 1'000; rows <= rows_max; rows *= 10) {
    for (; filled < rows; ++filled) {
      IndexRow row;
      row.position = {1, static_cast<std::uint32_t>(filled)};
      row.record_bytes = 600;
      row.expires = 0xffffffff;
      index.insert(digest_of(filled), row);
    }
    std::vector<Digest> there, missing;
    for (std::size_t i = 0; i < kLookups; ++i) there.push_back(digest_of(random() % rows));
    for (std::size_t i = 0; i < kLookups; ++i) missing.push_back(digest_of(rows_max + random()));
    std::size_t found = 0;
    auto begin = Steady::now();
    for (const auto& key : there) found += index.find(key, 1).has_value();
    const double hit = seconds_since(begin);
    begin = Steady::now();
    for (const auto& key : missing) found += index.find(key, 1).has_value();
    const double miss = seconds_since(begin);
    if (found != kLookups) std::printf("WRONG: %zu found\n", found);
    const std::uint64_t held = 2 * kLookups * sizeof(Digest);
    const double bytes = static_cast<double>(resident_bytes() - before - held) / static_cast<double>(rows);
    std::printf("%12llu %14.1f %14.1f %14.1f\n", static_cast<unsigned long long>(rows), hit * 1e9 / kLookups,
                miss * 1e9 / kLookups, rows < 1'000'000 ? 0.0 : bytes);
    std::fflush(stdout);
  }
}

std::shared_ptr<CacheEntry> entry_of(std::uint64_t number) {
  KeyInput input;
  input.organisation = "default";
  input.owner_id = "u";
  input.function = "f";
  const std::string value = "i" + std::to_string(number);
  input.parameters = {{"n", value}};
  auto entry = std::make_shared<CacheEntry>();
  entry->key = make_key(input);
  entry->created_ms = 1'800'000'000'000;
  entry->expires_ms = entry->created_ms + 86'400'000;
  entry->cost_seconds = 0.1;
  entry->run_id = "11111111-2222-3333-4444-555555555555";
  entry->content_type = "application/json";
  entry->metadata = R"({"stdout":"","stderr":"","has_exception":false})";
  entry->body = Bytes::of("[{\"x\":1,\"y\":2}]");
  return entry;
}

void restart(const std::filesystem::path& folder, std::uint64_t entries, bool clean) {
  const SegmentOptions options{.folder = folder, .free_bytes_min = 0, .entries_max = entries + 1};
  const Clock clock;
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = SegmentStore::open(options, clock);
    for (std::uint64_t i = 0; i < entries; ++i)
      if (!(*store)->append(*entry_of(i))) ::_exit(1);
    if (clean) (*store)->close();
    ::_exit(0);  // no destructor: as kill -9 where it is not clean
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const auto begin = Steady::now();
  const auto store = SegmentStore::open(options, clock);
  const double took = seconds_since(begin);
  std::printf("start with %llu entries after %s: %.3f s (%llu there)\n", static_cast<unsigned long long>(entries),
              clean ? "a clean end" : "a kill", took,
              static_cast<unsigned long long>(store ? (*store)->figures().entries : 0));
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** words) {
  if (count < 2 || std::filesystem::exists(words[1])) {
    std::fprintf(stderr, "cache_index DIR [rows_max] [restart_entries]; DIR must not exist\n");
    return 2;
  }
  const std::filesystem::path folder(words[1]);
  curve(count > 2 ? std::strtoull(words[2], nullptr, 10) : 10'000'000);
  for (const bool clean : {true, false}) {
    restart(folder, count > 3 ? std::strtoull(words[3], nullptr, 10) : 1'000'000, clean);
    std::filesystem::remove_all(folder);
  }
  return 0;
}
