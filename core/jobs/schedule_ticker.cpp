#include "jobs/schedule_ticker.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace fused {
namespace asio = boost::asio;

namespace {
// Also where nothing is due: the wall clock may be set, and jobs of schedules end.
constexpr std::chrono::milliseconds kLongest{1'000};
constexpr std::chrono::milliseconds kShortest{5};
}  // namespace

struct ScheduleTicker::Shared {
  explicit Shared(asio::io_context& io) : timer(io) {}
  asio::steady_timer timer;
  bool stopped = false;
};

ScheduleTicker::ScheduleTicker(asio::io_context& io, StateThread& thread, ScheduleService& schedules,
                               const Clock& clock)
    : shared_(std::make_shared<Shared>(io)) {
  auto life = [shared = shared_, &thread, &schedules, &clock]() -> asio::awaitable<void> {
    const auto tick = [&schedules] {
      schedules.tick();
      return schedules.next();
    };
    while (!shared->stopped) {
      const std::optional<WallTime> next = co_await thread.run(tick);
      if (shared->stopped) co_return;
      auto pause = kLongest;
      if (next) {
        const auto until = std::chrono::ceil<std::chrono::milliseconds>(*next - clock.now());
        pause = std::clamp(until, kShortest, kLongest);
      }
      shared->timer.expires_after(pause);
      boost::system::error_code error;
      co_await shared->timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  };
  asio::co_spawn(io, std::move(life), asio::detached);
}

ScheduleTicker::~ScheduleTicker() { stop(); }

void ScheduleTicker::stop() {
  shared_->stopped = true;
  shared_->timer.cancel();
}

}  // namespace fused
