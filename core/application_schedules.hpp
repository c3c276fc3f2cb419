// Schedules joined with jobs: what a due time submits.
#pragma once
#include <boost/asio/io_context.hpp>
#include <memory>

#include "application_parts.hpp"
#include "http/endpoints/schedules.hpp"
#include "jobs/job_service.hpp"
#include "jobs/schedule_ticker.hpp"

namespace fused {

class Schedules {
 public:
  // Opened when the jobs have started; all that is handed in outlives it.
  static Result<std::unique_ptr<Schedules>> open(boost::asio::io_context& io, State& state, JobService& jobs,
                                                 const Clock& clock);
  Schedules(boost::asio::io_context& io, State& state, JobService& jobs, const Clock& clock);
  void stop() { ticker_->stop(); }  // before the state thread's end

  ScheduleParts parts;

 private:
  boost::asio::io_context& io_;
  State& state_;
  JobService& jobs_;
  ScheduleStore store_;
  ScheduleService service_;
  std::unique_ptr<ScheduleTicker> ticker_;
};

// Submits a job that runs a saved function: `job.arguments_json` is an object, its parameters, or a list of such, a
// task for each. conflict when a job of that id is there; not_found when the function is gone; forbidden when the user
// is.
boost::asio::awaitable<Status> submit_function(State& state, JobService& jobs, ScheduledJob job,
                                               boost::json::object metadata);

}  // namespace fused
