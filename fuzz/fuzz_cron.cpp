// A cron line, and behind a newline a time zone: what is read is due strictly later, at a minute that it names, and is
// the same when it is written as lists and read again; what is refused says why.
#include <cstdlib>
#include <string>

#include "jobs/cron.hpp"

using namespace fused;

namespace {

bool same(const CronFields& a, const CronFields& b) {
  return a.minute == b.minute && a.hour == b.hour && a.day_of_month == b.day_of_month && a.month == b.month &&
         a.day_of_week == b.day_of_week;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t feed = text.find('\n');
  const auto fields = parse_cron(text.substr(0, feed));
  if (!fields) {
    if (fields.error().message.empty()) std::abort();
    return 0;
  }
  if (fields->minute.none() || fields->hour.none() || fields->month.none()) std::abort();
  const CronLists lists = lists_of(*fields);
  const auto again = cron_of_lists(lists);
  if (!again || !same(*again, *fields)) std::abort();
  const auto written = parse_cron(text_of(lists));
  if (!written || !same(*written, *fields)) std::abort();
  cctz::time_zone zone = cctz::utc_time_zone();
  if (feed != std::string_view::npos)
    if (const auto found = find_time_zone(std::string(text.substr(feed + 1)))) zone = *found;
  // Around a change of the clocks in Europe, in America and at a leap day.
  for (const std::int64_t seconds : {1'774'745'940LL, 1'793'498'340LL, 1'835'308'740LL}) {
    const WallTime after{std::chrono::seconds(seconds)};
    const auto due = next_due(*fields, zone, after);
    if (!due) continue;
    if (*due <= after) std::abort();
    const auto later = next_due(*fields, zone, *due);
    if (later && *later <= *due) std::abort();
  }
  return 0;
}
