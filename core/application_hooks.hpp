// What follows the end of a job, joined to the rest of the server.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

#include "application_parts.hpp"
#include "http/endpoints/jobs.hpp"
#include "jobs/hook_outbox.hpp"

namespace fused {

class Hooks {
 public:
  // Fills in what `jobs` needs of it. All that is handed in outlives it.
  Hooks(boost::asio::io_context& io, State& state, JobService& jobs, JobParts& parts, const Settings& settings,
        const Clock& clock);
  void stop();  // before the state thread's end; what is not told is told by the next life

 private:
  boost::asio::awaitable<void> live();
  boost::asio::awaitable<void> run_function(HookOrder order);
  Result<boost::json::array> read(const Actor& actor, const boost::json::value& on_finish) const;

  boost::asio::io_context& io_;
  State& state_;
  JobService& jobs_;
  bool has_mail_ = false;
  std::shared_ptr<bool> stopped_ = std::make_shared<bool>(false);
  boost::asio::steady_timer timer_;
  HookOutbox outbox_;
};

}  // namespace fused
