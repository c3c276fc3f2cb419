// What the tasks of a job run, read from its config: the functions, and each item of an input as JSON text of its own,
// so that a config of 64 MB takes 64 MB while its job is open, and a task of it costs nothing to find.
#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "auth/people.hpp"
#include "base/result.hpp"
#include "functions/function_source.hpp"
#include "jobs/job_config.hpp"

namespace fused {

struct StepContent {
  SharedFunction function;         // of a partition step: one that runs the SDK's own ingest
  boost::json::object parameters;  // beneath the item
  bool has_items = false;
  std::string items;  // one JSON text behind the other
  std::vector<std::size_t> ends;

  std::string_view item(std::int64_t number) const;  // "" where there is none
};

struct JobContent {
  std::vector<StepContent> steps;
  std::size_t bytes = 0;
};
using SharedContent = std::shared_ptr<const JobContent>;

// `owner`: whose code it is from now on. unprocessable names the step and what its function lacks.
Result<SharedContent> content_of(const JobConfig& config, const User& owner);

// The contents of jobs that were looked at last. One thread.
class JobContents {
 public:
  static constexpr std::size_t kBytesMax = 256UL << 20;  // the newest stays, whatever it takes

  SharedContent find(const std::string& job_id);
  void keep(const std::string& job_id, SharedContent content);
  void forget(const std::string& job_id);

 private:
  struct Kept {
    std::string job_id;
    SharedContent content;
  };
  std::list<Kept> kept_;  // the last one used first
  std::unordered_map<std::string, std::list<Kept>::iterator> by_id_;
  std::size_t bytes_ = 0;
};

}  // namespace fused
