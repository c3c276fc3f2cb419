// Revisions of saved functions, below /api/v1/functions/{id}/revisions. {revision} is an id or a number. Running one:
// endpoints/run.hpp.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <string>

#include "http/endpoints/state_parts.hpp"

namespace fused {

// What a save came to: the saved function, or, where it is outdated, the one that is there and was not touched.
struct CheckedSave {
  SharedSaved function;
  bool outdated = false;
};
// `if_match`: the header's value; "" and "*" match every revision. On the state thread, where all saves are made:
// nothing comes between the look and the save.
Result<CheckedSave> save_if_current(FunctionStore& functions, const std::string& id, const FunctionDraft& draft,
                                    const std::string& by, const std::string& if_match);
// The function's record with its revision as ETag; 412 that names the current revision (detail, ETag) when outdated.
Reply reply_of_save(const Result<CheckedSave>& saved, const Request& request);

// GET: newest first; skip, limit (300, at most 1,000)
struct ListRevisions {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET …/{revision}: the history file of one
struct GetRevision {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// POST …/{revision}/revert {"message"}: saves it again, as the newest. If-Match as for a save.
struct RevertFunction {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

}  // namespace fused
