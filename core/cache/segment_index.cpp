#include "cache/segment_index.hpp"

#include <cmath>

namespace fused {
namespace {

constexpr double kHalfLifeSeconds = 7 * 86'400.0;  // a use counts half after a week

double decayed(double value, std::uint32_t last_used, std::uint32_t now) {
  return last_used >= now ? value : value * std::exp2(-static_cast<double>(now - last_used) / kHalfLifeSeconds);
}

}  // namespace

bool SegmentIndex::is_hidden(const IndexRow& row) const {
  if (marks_.empty() && hidden_.empty()) return false;
  for (const std::uint32_t group : {row.group, row.tile_group}) {
    if (!hidden_.empty() && hidden_.contains(group)) return true;
    const auto mark = group == 0 ? marks_.end() : marks_.find(group);
    if (mark != marks_.end() && row.position < mark->second) return true;
  }
  return false;
}

std::optional<SegmentIndex::Found> SegmentIndex::find(const Digest& key, std::uint32_t now) {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(of(key));
  if (found == rows_.end() || is_hidden(found->second)) return std::nullopt;
  IndexRow& row = found->second;
  const auto segment = segments_.find(row.position.segment);
  if (segment == segments_.end()) return std::nullopt;
  if (row.hits < 0xffff) ++row.hits;
  row.last_used = std::max(row.last_used, now);
  segment->second->value += static_cast<double>(row.cost_seconds);
  segment->second->last_used = std::max(segment->second->last_used, now);
  return Found{row, segment->second};
}

std::optional<IndexRow> SegmentIndex::row(const Digest& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(of(key));
  if (found == rows_.end() || is_hidden(found->second)) return std::nullopt;
  return found->second;
}

bool SegmentIndex::is_current(const Digest& key, Position position) const {
  const auto found = row(key);
  return found && found->position == position;
}

void SegmentIndex::add_segment(SharedSegment segment) {
  const std::lock_guard lock(mutex_);
  segments_[segment->number] = std::move(segment);
}

void SegmentIndex::remove_segment(std::uint32_t number) {
  const std::lock_guard lock(mutex_);
  segments_.erase(number);
}

void SegmentIndex::grow(Segment& segment, std::uint64_t file_bytes, std::uint64_t large_bytes) {
  const std::lock_guard lock(mutex_);
  segment.file_bytes += file_bytes;
  segment.large_bytes += large_bytes;
}

std::vector<SharedSegment> SegmentIndex::segments() const {
  const std::lock_guard lock(mutex_);
  std::vector<SharedSegment> all;
  for (const auto& [number, segment] : segments_) all.push_back(segment);
  return all;
}

SharedSegment SegmentIndex::segment(std::uint32_t number) const {
  const std::lock_guard lock(mutex_);
  const auto found = segments_.find(number);
  return found == segments_.end() ? nullptr : found->second;
}

void SegmentIndex::count_out(const IndexRow& row) {
  const auto segment = segments_.find(row.position.segment);
  if (segment == segments_.end()) return;
  Segment& of = *segment->second;
  of.live_bytes -= std::min(of.live_bytes, row.bytes());
  of.value = std::max(0.0, of.value - static_cast<double>(row.cost_seconds) * (1.0 + row.hits));
}

void SegmentIndex::insert(const Digest& key, const IndexRow& row) {
  const std::lock_guard lock(mutex_);
  const auto [at, is_new] = rows_.try_emplace(of(key), row);
  if (!is_new) {
    if (row.position < at->second.position) return;
    count_out(at->second);
    at->second = row;
  }
  const auto segment = segments_.find(row.position.segment);
  if (segment == segments_.end()) return;
  segment->second->live_bytes += row.bytes();
  segment->second->value += static_cast<double>(row.cost_seconds);
  segment->second->last_used = std::max(segment->second->last_used, row.last_used);
}

void SegmentIndex::move(const Digest& key, Position from, Position to) {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(of(key));
  if (found == rows_.end() || found->second.position != from) return;
  IndexRow& row = found->second;
  count_out(row);
  row.position = to;
  const auto segment = segments_.find(to.segment);
  if (segment == segments_.end()) return;
  segment->second->live_bytes += row.bytes();
  segment->second->value += static_cast<double>(row.cost_seconds) * (1.0 + row.hits);
  segment->second->last_used = std::max(segment->second->last_used, row.last_used);
}

void SegmentIndex::erase(const Digest& key, Position position) {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(of(key));
  if (found == rows_.end() || found->second.position != position) return;
  count_out(found->second);
  rows_.erase(found);
}

void SegmentIndex::mark_group(std::uint32_t group, Position position) {
  const std::lock_guard lock(mutex_);
  Position& mark = marks_[group];
  mark = std::max(mark, position);
}

void SegmentIndex::hide_group(std::uint32_t group) {
  const std::lock_guard lock(mutex_);
  ++hidden_[group];
}

void SegmentIndex::show_group_after(std::uint32_t group, Position position) {
  const std::lock_guard lock(mutex_);
  Position& mark = marks_[group];
  mark = std::max(mark, position);
  if (const auto hidden = hidden_.find(group); hidden != hidden_.end() && --hidden->second == 0) hidden_.erase(hidden);
}

bool SegmentIndex::erase(const Digest& key) {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(of(key));
  if (found == rows_.end()) return false;
  count_out(found->second);
  rows_.erase(found);
  return true;
}

double SegmentIndex::live_share(const Segment& segment) const {
  const std::lock_guard lock(mutex_);
  return static_cast<double>(segment.live_bytes) / static_cast<double>(std::max<std::uint64_t>(1, segment.bytes()));
}

void SegmentIndex::mark_key(const Digest& key, Position position) {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(of(key));
  if (found == rows_.end() || found->second.position >= position) return;
  count_out(found->second);
  rows_.erase(found);
}

std::vector<std::pair<std::uint32_t, Position>> SegmentIndex::group_marks(std::uint32_t oldest_segment) {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::uint32_t, Position>> left;
  for (auto at = marks_.begin(); at != marks_.end();) {
    if (at->second.segment < oldest_segment) {
      marks_.erase(at++);
      continue;
    }
    left.emplace_back(at->first, at->second);
    ++at;
  }
  return left;
}

std::size_t SegmentIndex::size() const {
  const std::lock_guard lock(mutex_);
  return rows_.size();
}

void SegmentIndex::reserve(std::size_t rows) {
  const std::lock_guard lock(mutex_);
  rows_.reserve(rows);
}

SegmentIndex::Totals SegmentIndex::totals() const {
  const std::lock_guard lock(mutex_);
  Totals totals;
  for (const auto& [number, segment] : segments_) {
    totals.bytes += segment->bytes();
    totals.value += segment->value;
  }
  return totals;
}

double SegmentIndex::density(const Segment& segment, std::uint32_t now) const {
  const std::lock_guard lock(mutex_);
  return decayed(segment.value, segment.last_used, now) /
         static_cast<double>(std::max<std::uint64_t>(1, segment.bytes()));
}

double SegmentIndex::density(const IndexRow& row, std::uint32_t now) const {
  return decayed(static_cast<double>(row.cost_seconds) * (1.0 + row.hits), row.last_used, now) /
         static_cast<double>(std::max<std::uint64_t>(1, row.bytes()));
}

}  // namespace fused
