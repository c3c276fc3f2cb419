// What is answered about a run that went on as a job (docs/decisions/0012, B).
#pragma once
#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.hpp"
#include "jobs/job_service.hpp"

namespace fused {

// 202: where its job is to be looked at. Whoever polls goes on as with any run that is not done.
Reply goes_on_as_job(std::string_view run_id, std::string_view job_id, std::string_view message);

// Of a job that a run became: 202 while it is open, then its result as the polling routes give that of a run; waits for
// its end for at most `patience`. Nothing where there is no such job that the caller may see.
boost::asio::awaitable<std::optional<Reply>> answer_of_job(JobService& jobs, const Request& request, std::string job_id,
                                                           std::chrono::milliseconds patience);

}  // namespace fused
