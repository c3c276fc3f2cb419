// Jobs: the official client's routes (client-protocol.md §2.3) and our own below /api/v1/jobs. docs/reference/jobs.md
// says what each answers.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>
#include <vector>

#include "http/message.hpp"
#include "http/router.hpp"
#include "jobs/job_service.hpp"

namespace fused {

struct JobParts {
  JobService* jobs = nullptr;
  const Clock* clock = nullptr;
  // `on_finish` of a submission as JobOptions::hooks keeps it; an error names what is wrong. Empty: none are taken.
  std::function<Result<boost::json::array>(const Actor& actor, const boost::json::value& on_finish)> read_hooks;
  // The hook that writes to the actor (send_status_email); nothing where there is no mail server.
  std::function<std::optional<boost::json::object>(const Actor& actor)> mail_hook;
  // How telling the hooks of a job goes.
  std::function<boost::asio::awaitable<boost::json::array>(std::string job_id)> hooks_of;
};

struct SubmitJob {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct GetJobStatus {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct CancelJob {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct IncrementJobProgress {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct ListJobResults {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct GetJobLogs {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct ListOwnJobs {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct GetJobConfig {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET /server/v1/job-files/{token}/{name}: the link is the right.
struct GetJobFile {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct ListJobs {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct ShowJob {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct RemoveJob {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// Server-Sent Events; Last-Event-ID goes on behind that line.
struct FollowJobLog {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct GetJobUsage {
  JobParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct RepeatJob {
  JobParts& parts;
  bool only_what_is_not_done = false;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// The record that the client calls RunResponse, and what we add to it.
boost::json::object job_record(const ShownJob& job);

// Lines of JSON as one array.
std::string array_of_lines(std::string_view lines);

std::vector<Route> job_routes(JobParts& parts);  // `parts` must outlive the rows

}  // namespace fused
