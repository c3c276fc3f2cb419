#include "http/endpoints/revisions.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "http/endpoints/functions.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kPage = 300;
constexpr std::size_t kPageMax = 1'000;

// By strong comparison (RFC 9110 13.1.1); the quotes may be left out. A compressed reply's tag is "<revision>-gzip".
bool names(std::string_view if_match, std::string_view revision) {
  if (if_match.empty()) return true;
  while (!if_match.empty()) {
    const std::size_t comma = std::min(if_match.find(','), if_match.size());
    std::string_view one = if_match.substr(0, comma);
    if_match.remove_prefix(std::min(comma + 1, if_match.size()));
    while (one.starts_with(' ') || one.starts_with('\t')) one.remove_prefix(1);
    while (one.ends_with(' ') || one.ends_with('\t')) one.remove_suffix(1);
    if (one.size() >= 2 && one.front() == '"' && one.back() == '"') one = one.substr(1, one.size() - 2);
    if (one == "*" || one == revision) return true;
    if (one.starts_with(revision) && one.substr(revision.size()).starts_with('-')) return true;
  }
  return false;
}

json::object revision_record(const Revision& revision, std::string_view current) {
  return {{"id", revision.id},
          {"number", revision.number},
          {"slug", revision.slug},
          {"code_hash", revision.code_hash},
          {"saved_by", revision.saved_by},
          {"saved_at", utc_text(revision.saved_at)},
          {"message", revision.message},
          {"is_current", revision.id == current},
          {"path", revision.path}};
}

}  // namespace

Result<CheckedSave> save_if_current(FunctionStore& functions, const std::string& id, const FunctionDraft& draft,
                                    const std::string& by, const std::string& if_match) {
  if (const SharedSaved now = functions.by_id(id); now && !names(if_match, now->revision))
    return CheckedSave{now, true};
  return CheckedSave{FUSED_TRY(functions.save_over(id, draft, by)), false};
}

Reply reply_of_save(const Result<CheckedSave>& saved, const Request& request) {
  if (!saved) return error_reply(saved.error(), request);
  const SavedFunction& function = *saved->function;
  const std::string tag = '"' + function.revision + '"';
  if (!saved->outdated) return json_reply(function_record(function)).with("etag", tag);
  const std::string message = "'" + function.slug + "' was saved meanwhile: its revision is " + function.revision +
                              ", not the one of If-Match; load it, compare, and save over that, or leave If-Match out";
  return json_reply(json::object{{"error_type", "precondition_failed"},
                                 {"message", message},
                                 {"detail", function.revision},
                                 {"request_id", request.request_id}},
                    412)
      .with("etag", tag);
}

asio::awaitable<Reply> ListRevisions::operator()(Request& request) const {
  const auto function = visible_function(parts, request);
  if (!function) co_return error_reply(function.error(), request);
  const auto skip = whole_number_of(request, "skip", 0, FunctionStore::kRevisionsMax);
  if (!skip) co_return error_reply(skip.error(), request);
  const auto limit = whole_number_of(request, "limit", kPage, kPageMax);
  if (!limit) co_return error_reply(limit.error(), request);
  auto work = [functions = parts.functions, id = (*function)->id, skip = *skip, limit = *limit] {
    return functions->revisions(id, skip, limit);
  };
  const auto revisions = co_await parts.thread->run(std::move(work));
  const SharedSaved now = parts.functions->by_id((*function)->id);
  const std::string current = now ? now->revision : std::string();
  co_return reply_of_result(revisions, request, [&current](const std::vector<Revision>& all) {
    json::array records;
    for (const Revision& revision : all) records.push_back(revision_record(revision, current));
    return records;
  });
}

asio::awaitable<Reply> GetRevision::operator()(Request& request) const {
  const auto function = visible_function(parts, request);
  if (!function) co_return error_reply(function.error(), request);
  auto work = [functions = parts.functions, id = (*function)->id, revision = path_value_of(request, "revision")] {
    return functions->revision_text(id, revision);
  };
  auto text = co_await parts.thread->run(std::move(work));
  if (!text) co_return error_reply(text.error(), request);
  co_return Reply::json(*std::move(text)).with("cache-control", "no-store");
}

asio::awaitable<Reply> RevertFunction::operator()(Request& request) const {
  const auto function = writable_function(parts, request);
  if (!function) co_return error_reply(function.error(), request);
  const auto body = BodyObject::of(request);
  if (!body) co_return error_reply(body.error(), request);
  auto message = body->optional_text("message");
  if (!message) co_return error_reply(message.error(), request);
  auto work = [functions = parts.functions, id = (*function)->id, revision = path_value_of(request, "revision"),
               message = *std::move(message), by = request.actor.email,
               if_match = std::string(request.header("if-match"))]() -> Result<CheckedSave> {
    FunctionDraft draft = FUSED_TRY(functions->revision_draft(id, revision));
    if (message) draft.message = *message;
    return save_if_current(*functions, id, draft, by, if_match);
  };
  const auto saved = co_await parts.thread->run(std::move(work));
  co_return reply_of_save(saved, request);
}

}  // namespace fused
