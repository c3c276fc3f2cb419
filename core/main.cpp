// Builds every part, hands each what it needs, serves until SIGTERM or SIGINT, drains and ends.
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <iostream>

#include "application.hpp"
#include "base/ids.hpp"
#include "base/log.hpp"
#include "main_settings.hpp"

namespace {

// Shells give 1,024 descriptors and allow more; workers get their own limit.
void take_descriptors() {
  constexpr rlim_t kWanted = 65'536;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kWanted) return;
  limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? kWanted : std::min(kWanted, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace fused;
  auto read = read_command(argc, argv);
  if (const int* exit_code = std::get_if<int>(&read)) return *exit_code;
  const Command& command = std::get<Command>(read);
  init_random();
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the shell's limit is an error to report, not the end
  ::prctl(PR_SET_DUMPABLE, 0);    // no other process of this user can read our memory, and no core file holds a token
  if (command.print_routes) {
    std::cout << Application::routes_text();
    return 0;
  }
  if (const auto started = start_log({command.settings.log_format, command.settings.log_level}); !started) {
    std::cerr << started.error().message << "\n";
    return 2;
  }
  take_descriptors();
  boost::asio::io_context io(1);
  auto application = Application::start(io, command.settings);
  if (!application) {
    std::cerr << "fused serve: " << application.error().message << "\n";
    return 1;
  }
  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](auto error, int) {
    if (!error) (*application)->begin_stop();
  });
  io.run();
  return (*application)->has_failed() ? 1 : 0;
}
