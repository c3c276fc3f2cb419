// The clock of the schedules: wakes the state thread when one is due. On the server's thread.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

#include "jobs/schedule_service.hpp"
#include "storage/state_thread.hpp"

namespace fused {

class ScheduleTicker {
 public:
  // All must outlive it. It begins at once; the service has begun.
  ScheduleTicker(boost::asio::io_context& io, StateThread& thread, ScheduleService& schedules, const Clock& clock);
  ~ScheduleTicker();
  void stop();  // before StateThread::finish()

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace fused
