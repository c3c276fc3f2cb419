// From a run's outcome to its reply.
#pragma once
#include "http/message.hpp"
#include "run/outcome.hpp"

namespace fused {

enum class ReplyForm {
  direct,   // each outcome has its own status
  polling,  // start and get: the official client reads x-fused-metadata from 200 and 422 only
  tile,     // as direct, with caching and empty answers as map clients expect
};
// Who could be given a kept copy of a reply: whoever has its address, or only who sent the token.
enum class ReplyFor { anybody_with_the_address, the_caller };

Reply reply_of(const Result<RunOutcome>& outcome, ReplyForm form, ReplyFor reply_for, const Request& request);
// A refusal without x-fused-metadata: its text stands in x-fused-error as well, where the official client looks.
Reply run_refusal(const Error& error, const Request& request);
// May a function's own Response set this header (lower case)? Only what speaks of the result itself, and names of its
// own beginning with x-.
bool is_header_of_functions(std::string_view name);
// A function's Cache-Control for a reply that only its caller may keep: `public` and `s-maxage` become `private`.
std::string private_cache_control(std::string_view value);
// 202: still running; ask again. `log_dir`: where its log folder will be, "" when it was not begun yet.
Reply still_running(const std::string& run_id, std::string_view log_dir);

}  // namespace fused
