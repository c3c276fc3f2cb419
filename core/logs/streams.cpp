#include "logs/streams.hpp"

#include <algorithm>

#include "base/text.hpp"
#include "logs/json_text.hpp"

namespace fused {
namespace {

constexpr std::string_view kStderrMark = "[stderr] ";

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// How many bytes at the end are the beginning of a character whose rest was cut (at most 3).
std::size_t broken_end(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const char c = text[text.size() - back];
    if (continues(c)) continue;
    const bool lead = static_cast<unsigned char>(c) >= 0xC2;
    return lead && !is_utf8(text.substr(text.size() - back)) ? back : 0;
  }
  return 0;
}
std::size_t broken_begin(std::string_view text) {
  std::size_t count = 0;
  while (count < std::min<std::size_t>(3, text.size()) && continues(text[count])) ++count;
  return count;
}

// A cut never leaves half a character behind: its bytes are counted as cut.
std::string join_cut(std::string_view head, std::uint64_t cut, std::string_view tail, std::uint64_t kept) {
  const std::size_t end = broken_end(head), begin = broken_begin(tail);
  head.remove_suffix(end);
  tail.remove_prefix(begin);
  std::string text(head);
  if (!text.empty() && text.back() != '\n') text += '\n';
  text += "[… " + with_thousands(static_cast<long long>(cut + end + begin)) +
          " bytes cut: " + with_thousands(static_cast<long long>(kept)) + " are kept …]\n";
  text += tail;
  return text;
}

std::string as_utf8(std::string text) { return is_utf8(text) ? std::move(text) : valid_utf8(text); }

// Adds the lines of a stderr part, marked; it may go on where the last one stopped.
void append_marked(std::string& out, std::string_view part, bool& inside_stderr_line) {
  while (!part.empty()) {
    if (!inside_stderr_line) {
      if (!out.empty() && out.back() != '\n') out += '\n';
      out += kStderrMark;
    }
    const std::size_t end = part.find('\n');
    const std::size_t length = end == std::string_view::npos ? part.size() : end + 1;
    out += part.substr(0, length);
    inside_stderr_line = end == std::string_view::npos;
    part.remove_prefix(length);
  }
}

}  // namespace

CapturedStream::CapturedStream(std::int64_t bytes_max) {
  const auto limit = static_cast<std::uint64_t>(std::max<std::int64_t>(bytes_max, 2));
  head_max_ = limit / 2;
  tail_max_ = limit - head_max_;
}

void CapturedStream::feed(std::string_view bytes) {
  total_ += bytes.size();
  if (head_.size() < head_max_) {
    const std::size_t length = std::min<std::uint64_t>(bytes.size(), head_max_ - head_.size());
    head_ += bytes.substr(0, length);
    bytes.remove_prefix(length);
  }
  if (bytes.size() > tail_max_) bytes.remove_prefix(bytes.size() - tail_max_);
  const std::size_t growth = std::min<std::uint64_t>(bytes.size(), tail_max_ - tail_.size());
  tail_ += bytes.substr(0, growth);
  bytes.remove_prefix(growth);
  while (!bytes.empty()) {
    const std::size_t length = std::min(bytes.size(), tail_.size() - tail_begin_);
    bytes.copy(tail_.data() + tail_begin_, length);
    tail_begin_ = (tail_begin_ + length) % tail_.size();
    bytes.remove_prefix(length);
  }
}

void CapturedStream::lower(std::int64_t bytes_max) {
  const CapturedStream lower(bytes_max);
  if (lower.head_max_ >= head_max_) return;
  std::rotate(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(tail_begin_), tail_.end());
  tail_begin_ = 0;
  const bool nothing_cut = cut_bytes() == 0;
  head_max_ = lower.head_max_;
  tail_max_ = lower.tail_max_;
  if (head_.size() > head_max_) {
    if (nothing_cut) tail_.insert(0, head_, head_max_);
    head_.resize(head_max_);
  }
  if (tail_.size() > tail_max_) tail_.erase(0, tail_.size() - tail_max_);
}

std::uint64_t CapturedStream::cut_bytes() const { return total_ - head_.size() - tail_.size(); }

std::string CapturedStream::tail_between(std::uint64_t from, std::uint64_t to) const {
  const std::uint64_t first = total_ - tail_.size();
  from = std::max(from, first);
  if (from >= to) return {};
  const std::size_t length = to - from, begin = (tail_begin_ + (from - first)) % tail_.size();
  std::string text = tail_.substr(begin, length);
  return text + tail_.substr(0, length - text.size());
}

std::string CapturedStream::render() const { return render(0, total_); }

std::string CapturedStream::render(std::uint64_t from, std::uint64_t to) const {
  to = std::min(to, total_);
  if (from >= to) return {};
  const std::uint64_t cut_from = head_.size(), cut_to = total_ - tail_.size();
  std::string text = from < cut_from ? head_.substr(from, to - from) : std::string();
  std::string tail = tail_between(from, to);
  // The line of the cut stands where the first cut byte stood, so that several parts of one stream say it once.
  if (cut_to > cut_from && from <= cut_from && cut_from < to)
    return as_utf8(join_cut(text, cut_to - cut_from, tail, head_.size() + tail_.size()));
  text += tail;
  return as_utf8(std::move(text));
}

std::string keep_ends(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  const std::size_t half = bytes_max / 2;
  return join_cut(text.substr(0, half), text.size() - 2 * half, text.substr(text.size() - half), 2 * half);
}

std::string merge_streams(const CapturedStream& out, const CapturedStream& err, StreamOrder order) {
  if (err.total_bytes() == 0) return out.render();
  std::string text;
  std::uint64_t out_at = 0, err_at = 0;
  bool inside_stderr_line = false;
  const auto take_out = [&](std::uint64_t to) {
    const std::string part = out.render(out_at, to);
    out_at = to;
    if (part.empty()) return;
    if (inside_stderr_line) text += '\n';
    inside_stderr_line = false;
    text += part;
  };
  const auto take_err = [&](std::uint64_t to) {
    append_marked(text, err.render(err_at, to), inside_stderr_line);
    err_at = to;
  };
  for (std::size_t at = 0; at < order.size();) {
    const int stream = order[at].first;
    const CapturedStream* source = stream == 1 ? &out : stream == 2 ? &err : nullptr;
    const std::uint64_t left = source ? source->total_bytes() - (stream == 1 ? out_at : err_at) : 0;
    std::uint64_t bytes = 0;
    // Neighbours belong together: a character may have been written in two parts.
    for (; at < order.size() && order[at].first == stream; ++at) bytes += std::min(order[at].second, left - bytes);
    if (stream == 1) take_out(out_at + bytes);
    if (stream == 2) take_err(err_at + bytes);
  }
  take_out(out.total_bytes());
  take_err(err.total_bytes());
  return text;
}

}  // namespace fused
