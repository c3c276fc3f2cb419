#include "jobs/usage_lines.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <unordered_map>
#include <vector>

namespace fused {
namespace json = boost::json;
namespace {

struct Line {
  std::string_view text;  // with its line feed
  std::int64_t task = -1;
  std::int64_t memory_bytes = 0;
};

std::int64_t number_behind(std::string_view line, std::string_view name) {
  std::int64_t number = 0;
  if (const auto at = line.find(name); at != std::string_view::npos)
    std::from_chars(line.data() + at + name.size(), line.data() + line.size(), number);
  return number;
}

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t feed = text.find('\n', at);
    if (feed == std::string_view::npos) break;  // cut by a kill
    const std::string_view line = text.substr(at, feed + 1 - at);
    lines.push_back({line, number_behind(line, "\"task\":"), number_behind(line, "\"memory_bytes\":")});
    at = feed + 1;
  }
  return lines;
}

std::vector<Line> halved(const std::vector<Line>& lines) {
  std::vector<bool> goes(lines.size());
  std::unordered_map<std::int64_t, std::size_t> alone;  // by task
  bool any = false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto [at, is_first] = alone.emplace(lines[i].task, i);
    if (is_first) continue;
    goes[lines[i].memory_bytes > lines[at->second].memory_bytes ? at->second : i] = true;
    alone.erase(at);
    any = true;
  }
  std::vector<Line> left;
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (any ? !goes[i] : i % 2 == 0) left.push_back(lines[i]);
  return left;
}

}  // namespace

std::string usage_line(std::int64_t timestamp_ms, std::int64_t task, std::int64_t memory_bytes, double cpu_seconds) {
  return json::serialize(json::object{{"timestamp", timestamp_ms},
                                      {"task", task},
                                      {"memory_bytes", memory_bytes},
                                      {"cpu_seconds", cpu_seconds}}) +
         '\n';
}

std::string thinned_usage(std::string_view text, std::int64_t bytes_max) {
  std::vector<Line> lines = lines_of(text);
  const auto bytes = [&lines] {
    std::size_t sum = 0;
    for (const Line& line : lines) sum += line.text.size();
    return static_cast<std::int64_t>(sum);
  };
  while (!lines.empty() && bytes() > bytes_max) {
    if (lines.size() == 1) lines.clear();
    lines = halved(lines);
  }
  std::string left;
  for (const Line& line : lines) left += line.text;
  return left;
}

}  // namespace fused
