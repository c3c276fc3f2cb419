// Jobs, joined to the rest of the server.
#pragma once
#include <boost/asio/io_context.hpp>
#include <memory>

#include "application_parts.hpp"
#include "application_ray.hpp"
#include "http/endpoints/jobs.hpp"
#include "jobs/job_service.hpp"

namespace fused {

struct Jobs {
  std::unique_ptr<JobService> service;
  JobParts parts;

  static Result<std::unique_ptr<Jobs>> open(boost::asio::io_context& io, State& state, const Settings& settings,
                                            RunService& runs, const RayJobs& ray, HistoryOutbox& outbox,
                                            const Clock& clock);
};

boost::json::object health_of(const JobFigures& figures);

}  // namespace fused
