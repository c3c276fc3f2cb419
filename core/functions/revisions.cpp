// What was saved under a function, from the index and the history files.
#include <algorithm>
#include <boost/json/parse.hpp>

#include "functions/function_json.hpp"
#include "functions/function_store.hpp"
#include "storage/path_resolver.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kHistoryFileBytesMax = 4 * FunctionStore::kBodyBytesMax;
constexpr std::size_t kNumberDigitsMax = 15;
constexpr std::string_view kColumns =
    "SELECT id, number, slug, code_hash, saved_by, saved_at, path, message FROM revision WHERE function_id = ?";

Revision revision_of(const Row& row) {
  return {row.text(0), row.integer(1), row.text(2), row.text(3), row.text(4), row.integer(5), row.text(6), row.text(7)};
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= kNumberDigitsMax &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::unexpected<Error> damaged(const Revision& revision, std::string_view how) {
  return fail(ErrorKind::internal, "revision " + std::to_string(revision.number) + " (" + revision.id +
                                       ") cannot be given: its history file " + revision.path + " " + std::string(how) +
                                       "; restore it from a backup");
}

// The function as it was saved: its body, which is the text that the client sent.
struct Saved {
  std::string body;
  FunctionSource source;
};

Result<Saved> saved_of(const Revision& revision, std::string_view file) {
  boost::system::error_code error;
  const json::value value = json::parse({file.data(), file.size()}, error);
  if (error || !value.is_object()) return damaged(revision, "is no JSON");
  std::string body = text(value.get_object(), "udf_body");
  auto source = function_of_text(body);
  if (!source) return damaged(revision, "holds no function (" + source.error().message + ")");
  if (source->code_hash != revision.code_hash) return damaged(revision, "holds other code than was saved");
  return Saved{std::move(body), *std::move(source)};
}

}  // namespace

Result<std::vector<Revision>> FunctionStore::revisions(std::string_view function_id, std::size_t skip,
                                                       std::size_t limit) {
  std::vector<Revision> found;
  FUSED_CHECK(database_.query(std::string(kColumns) + " ORDER BY number DESC LIMIT ? OFFSET ?",
                              {function_id, static_cast<std::int64_t>(limit), static_cast<std::int64_t>(skip)},
                              [&](const Row& row) { found.push_back(revision_of(row)); }));
  return found;
}

Result<Revision> FunctionStore::revision(std::string_view function_id, std::string_view id_or_number) {
  std::optional<Revision> found;
  const bool by_number = is_number(id_or_number);
  FUSED_CHECK(database_.query(std::string(kColumns) + (by_number ? " AND number = CAST(? AS INTEGER)" : " AND id = ?"),
                              {function_id, id_or_number}, [&](const Row& row) { found = revision_of(row); }));
  if (!found)
    return fail(ErrorKind::not_found, "this function has no revision '" + shown(id_or_number) +
                                          "'; GET /api/v1/functions/{id}/revisions lists them");
  return *std::move(found);
}

Result<std::string> FunctionStore::revision_text(std::string_view function_id, std::string_view id_or_number) {
  const Revision of = FUSED_TRY(revision(function_id, id_or_number));
  auto file = data_.files().read(of.path, kHistoryFileBytesMax);
  if (!file) return damaged(of, "cannot be read (" + file.error().message + ")");
  FUSED_CHECK(saved_of(of, *file));
  return file;
}

Result<SharedFunction> FunctionStore::revision_source(std::string_view function_id, std::string_view id_or_number) {
  const SharedSaved function = by_id(function_id);
  if (!function) return fail(ErrorKind::not_found, "there is no such function");
  const Revision of = FUSED_TRY(revision(function_id, id_or_number));
  const std::string file = FUSED_TRY(revision_text(function_id, of.id));
  FunctionSource source = FUSED_TRY(saved_of(of, file)).source;
  const FunctionSource& now = *function->source;
  source.name = now.name;
  source.id = now.id;
  source.revision = of.id;
  source.collection_name = now.collection_name;
  source.owner_id = now.owner_id;
  source.owner_email = now.owner_email;
  source.owner_username = now.owner_username;
  source.organisation = now.organisation;
  return std::make_shared<const FunctionSource>(std::move(source));
}

Result<FunctionDraft> FunctionStore::revision_draft(std::string_view function_id, std::string_view id_or_number) {
  const SharedSaved function = by_id(function_id);
  if (!function) return fail(ErrorKind::not_found, "there is no such function");
  const Revision of = FUSED_TRY(revision(function_id, id_or_number));
  const std::string file = FUSED_TRY(revision_text(function_id, of.id));
  FunctionDraft draft;
  draft.slug = function->slug;
  draft.collection_name = function->collection_name;
  draft.udf_type = function->udf_type;
  draft.udf_body = FUSED_TRY(saved_of(of, file)).body;
  draft.allow_public_read = function->allow_public_read;
  draft.allow_public_list = function->allow_public_list;
  draft.message = "back to revision " + std::to_string(of.number) + " (" + of.id + ")";
  return draft;
}

}  // namespace fused
