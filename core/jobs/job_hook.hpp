// Who is told when a job has ended: an address, a saved function, a mailbox. Kept in the job's options; a trigger of
// the state database notes them with the job's end, in the same transaction (storage/migrations.cpp, step 9).
#pragma once
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace fused {

inline constexpr std::size_t kJobHooksMax = 8;

struct JobHook {
  std::string kind;    // "url", "function", "email"
  std::string target;  // https://…, a function's id or name, an address of mail
};

// A text or a list of texts: "https://…", "mailto:ann@example.org", else a function. invalid_argument names the item.
Result<std::vector<JobHook>> read_hooks(const boost::json::value& on_finish);
boost::json::array hooks_json(const std::vector<JobHook>& hooks);
std::vector<JobHook> hooks_of_json(const boost::json::value* hooks);  // our own writing

}  // namespace fused
