#include "run/run_lines.hpp"

#include <algorithm>

#include "logs/json_text.hpp"

namespace fused {
namespace {

constexpr std::int64_t kLineBytes = static_cast<std::int64_t>(sizeof(RunLine));  // beside its text

std::int64_t cost(const RunLine& line) { return kLineBytes + static_cast<std::int64_t>(line.text.size()); }

std::size_t older(const std::deque<RunLine>& lines, std::int64_t since_ms) {
  const auto at = std::ranges::lower_bound(lines, since_ms, {}, &RunLine::timestamp_ms);
  return static_cast<std::size_t>(at - lines.begin());
}

}  // namespace

void RunLines::feed(int stream, std::string_view bytes, std::int64_t now_ms) {
  last_ms_ = std::max(last_ms_, now_ms);
  const std::uint64_t before = total_;
  const auto take = [this, stream](std::string_view text) { add({last_ms_, stream, std::string(text)}); };
  (stream == 1 ? out_ : err_).feed(bytes, take);
  if (total_ == before) return;
  for (auto* waiter : waiters) waiter->cancel();
}

void RunLines::end(std::int64_t now_ms) {
  last_ms_ = std::max(last_ms_, now_ms);
  for (const int stream : {1, 2}) {
    const auto take = [this, stream](std::string_view text) { add({last_ms_, stream, std::string(text)}); };
    (stream == 1 ? out_ : err_).end(take);
  }
}

void RunLines::add(RunLine line) {
  ++total_;
  const std::int64_t bytes = cost(line);
  if (!head_is_full_ && head_bytes_ + bytes <= bytes_max_ / 2) {
    head_bytes_ += bytes;
    head_.push_back(std::move(line));
    return;
  }
  head_is_full_ = true;
  tail_bytes_ += bytes;
  tail_.push_back(std::move(line));
  lower(bytes_max_);
}

void RunLines::lower(std::int64_t bytes_max) {
  bytes_max_ = std::min(bytes_max_, bytes_max);
  while (head_bytes_ > bytes_max_ / 2) {
    head_is_full_ = true;
    head_bytes_ -= cost(head_.back());
    head_.pop_back();
  }
  while (tail_bytes_ > bytes_max_ / 2 && tail_.size() > 1) {
    tail_bytes_ -= cost(tail_.front());
    tail_.pop_front();
  }
}

RunLines::Part RunLines::read(std::uint64_t from, std::size_t bytes_max, std::size_t lines_max) const {
  Part part;
  part.next = std::min(from, total_);
  const std::uint64_t tail_begin = total_ - tail_.size();
  if (part.next >= head_.size() && part.next < tail_begin) {
    part.left_out = tail_begin - part.next;
    part.next = tail_begin;
  }
  std::size_t bytes = 0;
  while (part.next < total_ && bytes < bytes_max && part.lines.size() < lines_max) {
    const bool in_head = part.next < head_.size();
    if (!in_head && part.next < tail_begin) break;
    const RunLine& line = in_head ? head_[part.next] : tail_[part.next - tail_begin];
    bytes += line.text.size() + static_cast<std::size_t>(kLineBytes);
    part.lines.push_back({++part.next, &line});
  }
  return part;
}

std::uint64_t RunLines::number_since(std::int64_t since_ms) const {
  if (const std::size_t in_head = older(head_, since_ms); in_head < head_.size()) return in_head;
  return total_ - tail_.size() + older(tail_, since_ms);
}

std::string json_of(const RunLine& line) {
  std::string text = "{\"timestamp\":" + std::to_string(line.timestamp_ms) + ",\"stream\":\"";
  text += line.stream == 1 ? "stdout" : "stderr";
  text += "\",\"message\":";
  append_json_string(text, line.text);
  return text + '}';
}

}  // namespace fused
