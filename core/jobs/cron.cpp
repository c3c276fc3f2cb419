#include "jobs/cron.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.hpp"

namespace fused {
namespace {

constexpr int kDaysAhead = 366 * 9;  // 29 February comes again within eight years, but for 1896–1904 and the like

struct Field {
  std::string_view name;
  int low, high;
  std::array<std::string_view, 12> words;
  int first_word;
};
constexpr Field kMinute{"minute", 0, 59, {}, 0};
constexpr Field kHour{"hour", 0, 23, {}, 0};
constexpr Field kDayOfMonth{"day of month", 1, 31, {}, 0};
constexpr Field kMonth{
    "month", 1, 12, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}, 1};
constexpr Field kDayOfWeek{"day of week", 0, 7, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, 0};

std::unexpected<Error> refused(const Field& field, std::string_view seen) {
  return fail(ErrorKind::invalid_argument,
              "cron " + std::string(field.name) + " is '" + printable(seen.substr(0, 60)) + "'; allowed are " +
                  std::to_string(field.low) + " to " + std::to_string(field.high) +
                  (field.words[0].empty() ? "" : " or names (" + std::string(field.words[0]) + ", …)") +
                  ", *, lists (1,2), ranges (1-5) and steps (*/15)");
}

std::optional<int> number_of(const Field& field, std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  for (std::size_t i = 0; i < field.words.size(); ++i)
    if (!field.words[i].empty() && field.words[i] == lower) return field.first_word + static_cast<int>(i);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < field.low || value > field.high)
    return std::nullopt;
  return value;
}

// One item of a list: "*", "5", "1-5", each with "/step" or not.
template <std::size_t N>
bool take_item(const Field& field, std::string_view item, std::bitset<N>& into) {
  int step = 1;
  if (const auto slash = item.find('/'); slash != std::string_view::npos) {
    const auto text = item.substr(slash + 1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
    if (error != std::errc{} || end != text.data() + text.size() || step < 1 || step > field.high) return false;
    item = item.substr(0, slash);
    if (item.find('-') == std::string_view::npos && item != "*") return false;
  }
  int low = field.low, high = field.high;
  if (item != "*") {
    const auto dash = item.find('-');
    const auto first = number_of(field, item.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number_of(field, item.substr(dash + 1));
    if (!first || !last || *first > *last) return false;
    low = *first;
    high = *last;
  }
  for (int value = low; value <= high; value += step) into.set(static_cast<std::size_t>(value) % (N == 7 ? 7 : N));
  return true;
}

template <std::size_t N>
Status take_field(const Field& field, std::string_view text, std::bitset<N>& into) {
  for (std::string_view left = text;;) {
    const auto comma = left.find(',');
    if (!take_item(field, left.substr(0, comma), into)) return refused(field, text);
    if (comma == std::string_view::npos) return {};
    left = left.substr(comma + 1);
  }
}

template <std::size_t N>
Status take_list(const Field& field, const std::vector<int>& values, std::bitset<N>& into) {
  for (const int value : values) {
    if (value < field.low || value > field.high) return refused(field, std::to_string(value));
    into.set(static_cast<std::size_t>(value) % (N == 7 ? 7 : N));
  }
  if (values.empty())
    for (int value = field.low; value <= std::min(field.high, static_cast<int>(N) - 1); ++value)
      into.set(static_cast<std::size_t>(value));
  return {};
}

template <std::size_t N>
std::vector<int> values_of(const std::bitset<N>& bits) {
  std::vector<int> values;
  for (std::size_t i = 0; i < N; ++i)
    if (bits[i]) values.push_back(static_cast<int>(i));
  return values;
}

std::string_view named(std::string_view text) {
  if (text == "@hourly") return "0 * * * *";
  if (text == "@daily" || text == "@midnight") return "0 0 * * *";
  if (text == "@weekly") return "0 0 * * 0";
  if (text == "@monthly") return "0 0 1 * *";
  if (text == "@yearly" || text == "@annually") return "0 0 1 1 *";
  return text;
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const auto begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) break;
    const auto end = text.find_first_of(" \t", begin);
    words.push_back(text.substr(begin, end - begin));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end);
  }
  return words;
}

bool is_due_on(const CronFields& fields, const cctz::civil_day& day) {
  if (!fields.month[static_cast<std::size_t>(day.month())]) return false;
  const bool of_month = fields.day_of_month[static_cast<std::size_t>(day.day())];
  // cctz: Monday is 0.
  const bool of_week = fields.day_of_week[(static_cast<std::size_t>(cctz::get_weekday(day)) + 1) % 7];
  if (fields.any_day_of_month || fields.any_day_of_week) return of_month && of_week;
  return of_month || of_week;
}

}  // namespace

Result<CronFields> parse_cron(std::string_view text) {
  const auto words = words_of(named(text));
  if (words.size() != 5)
    return fail(
        ErrorKind::invalid_argument,
        "cron '" + printable(text.substr(0, 80)) + "' has " + std::to_string(words.size()) +
            " fields; it needs five (minute hour day-of-month month day-of-week, as '0 6 * * mon-fri') or one of "
            "@hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually");
  CronFields fields;
  FUSED_CHECK(take_field(kMinute, words[0], fields.minute));
  FUSED_CHECK(take_field(kHour, words[1], fields.hour));
  FUSED_CHECK(take_field(kDayOfMonth, words[2], fields.day_of_month));
  FUSED_CHECK(take_field(kMonth, words[3], fields.month));
  FUSED_CHECK(take_field(kDayOfWeek, words[4], fields.day_of_week));
  fields.any_day_of_month = words[2].starts_with('*');
  fields.any_day_of_week = words[4].starts_with('*');
  return fields;
}

Result<CronFields> cron_of_lists(const CronLists& lists) {
  if (lists.minute.empty())
    return fail(ErrorKind::invalid_argument, "cron minute has no value; allowed are 0 to 59, at least one");
  CronFields fields;
  FUSED_CHECK(take_list(kMinute, lists.minute, fields.minute));
  FUSED_CHECK(take_list(kHour, lists.hour, fields.hour));
  FUSED_CHECK(take_list(kDayOfMonth, lists.day_of_month, fields.day_of_month));
  FUSED_CHECK(take_list(kMonth, lists.month, fields.month));
  FUSED_CHECK(take_list(kDayOfWeek, lists.day_of_week, fields.day_of_week));
  // The official client writes every day out where none was chosen.
  fields.any_day_of_month = lists.day_of_month.empty() || fields.day_of_month.count() == 31;
  fields.any_day_of_week = lists.day_of_week.empty() || fields.day_of_week.all();
  return fields;
}

CronLists lists_of(const CronFields& fields) {
  CronLists lists{values_of(fields.minute), values_of(fields.hour), values_of(fields.day_of_month),
                  values_of(fields.month), values_of(fields.day_of_week)};
  if (fields.hour.all()) lists.hour.clear();
  if (lists.day_of_month.size() == 31) lists.day_of_month.clear();
  if (lists.month.size() == 12) lists.month.clear();
  if (fields.day_of_week.all()) lists.day_of_week.clear();
  return lists;
}

std::string text_of(const CronLists& lists) {
  const auto field = [](const std::vector<int>& values) {
    std::string text;
    for (const int value : values) text += (text.empty() ? "" : ",") + std::to_string(value);
    return text.empty() ? std::string("*") : text;
  };
  return field(lists.minute) + ' ' + field(lists.hour) + ' ' + field(lists.day_of_month) + ' ' + field(lists.month) +
         ' ' + field(lists.day_of_week);
}

Result<cctz::time_zone> find_time_zone(const std::string& name) {
  cctz::time_zone zone;
  if (name.empty() || name.size() > 64 || !cctz::load_time_zone(name, &zone))
    return fail(ErrorKind::invalid_argument, "time zone '" + printable(name.substr(0, 64)) +
                                                 "' is not known here; allowed are names of the IANA database as "
                                                 "'UTC' and 'Europe/Zurich'");
  return zone;
}

std::optional<WallTime> next_due(const CronFields& fields, const cctz::time_zone& zone, WallTime after) {
  const bool every_hour = fields.hour.all();
  cctz::civil_day day(cctz::convert(after, zone));
  for (int ahead = 0; ahead < kDaysAhead; ++ahead, ++day) {
    if (!is_due_on(fields, day)) continue;
    std::optional<WallTime> first;
    const auto consider = [&](const auto& time) {
      const WallTime due = std::chrono::time_point_cast<WallTime::duration>(time);
      if (due > after && (!first || due < *first)) first = due;
    };
    for (std::size_t hour = 0; hour < 24; ++hour) {
      if (!fields.hour[hour]) continue;
      for (std::size_t minute = 0; minute < 60; ++minute) {
        if (!fields.minute[minute]) continue;
        const auto found =
            zone.lookup(cctz::civil_second(day.year(), day.month(), day.day(), int(hour), int(minute), 0));
        if (found.kind == cctz::time_zone::civil_lookup::SKIPPED) {
          if (!every_hour) consider(found.trans);
          continue;
        }
        consider(found.pre);
        if (found.kind == cctz::time_zone::civil_lookup::REPEATED && every_hour) consider(found.post);
      }
    }
    if (first) return first;
  }
  return std::nullopt;
}

}  // namespace fused
