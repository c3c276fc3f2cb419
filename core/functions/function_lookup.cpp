// The reading side of the function store: from memory, under a shared lock.
#include <algorithm>
#include <filesystem>
#include <mutex>

#include "base/ids.hpp"
#include "base/text.hpp"
#include "functions/function_json.hpp"
#include "functions/function_store.hpp"

namespace fused {
namespace {

// Of several that fit: one of a folder first, then the one that was saved first.
bool goes_before(const SavedFunction& a, const SavedFunction& b) {
  if (a.is_from_folder() != b.is_from_folder()) return a.is_from_folder();
  return std::pair(a.created_at, std::string_view(a.id)) < std::pair(b.created_at, std::string_view(b.id));
}

bool same_email(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, [&](char x, char y) { return lower(x) == lower(y); });
}

bool is_wanted(const SavedFunction& function, const FunctionFilter& filter) {
  if (!filter.owner_id.empty() && function.owner.id != filter.owner_id) return false;
  if (!filter.organisation.empty() && function.owner.organisation != filter.organisation) return false;
  if (!filter.collection_name.empty() && function.collection_name != filter.collection_name) return false;
  return filter.udf_type.empty() || (filter.udf_type == "app") == (function.udf_type == "app");
}

// The same at every start, so that a share token can name the function; another file of that name, in another folder,
// is another function.
std::string id_of_file(const FunctionOwner& owner, const std::string& file, const std::string& name) {
  std::error_code error;
  const auto path = std::filesystem::weakly_canonical(file, error);
  const std::string h =
      sha256_hex("function of a folder\n" + owner.id + '\n' + (error ? file : path.string()) + '\n' + name);
  return h.substr(0, 8) + '-' + h.substr(8, 4) + "-8" + h.substr(13, 3) + "-a" + h.substr(17, 3) + '-' +
         h.substr(20, 12);
}

}  // namespace

template <class F>
SharedSaved FunctionStore::named(std::string_view collection, std::string_view slug, F&& owner_fits) const {
  SharedSaved best;
  const std::shared_lock lock(mutex_);
  const auto [begin, end] = by_slug_.equal_range(slug);
  for (auto entry = begin; entry != end; ++entry) {
    const SavedFunction& function = *entry->second;
    if (function.collection_name == collection && owner_fits(function.owner) && (!best || goes_before(function, *best)))
      best = entry->second;
  }
  return best;
}

SharedSaved FunctionStore::by_id(std::string_view id) const {
  const std::shared_lock lock(mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

SharedSaved FunctionStore::by_email(std::string_view email, std::string_view collection, std::string_view slug) const {
  return named(collection, slug, [&](const FunctionOwner& owner) { return same_email(owner.email, email); });
}

SharedSaved FunctionStore::by_handle(std::string_view organisation, std::string_view username,
                                     std::string_view collection, std::string_view slug) const {
  return named(collection, slug, [&](const FunctionOwner& owner) {
    return owner.organisation == organisation && owner.username == username;
  });
}

SharedSaved FunctionStore::in_organisation(std::string_view organisation, std::string_view collection,
                                           std::string_view slug) const {
  return named(collection, slug, [&](const FunctionOwner& owner) { return owner.organisation == organisation; });
}

std::vector<SharedSaved> FunctionStore::list(const FunctionFilter& filter) const {
  std::vector<SharedSaved> found;
  {
    const std::shared_lock lock(mutex_);
    for (const auto& [id, function] : by_id_)
      if (is_wanted(*function, filter)) found.push_back(function);
  }
  std::ranges::sort(found, [](const SharedSaved& a, const SharedSaved& b) {
    return std::tie(a->slug, a->id) < std::tie(b->slug, b->id);
  });
  const auto first = found.begin() + static_cast<std::ptrdiff_t>(std::min(filter.skip, found.size()));
  const auto count = std::min<std::size_t>(filter.limit, static_cast<std::size_t>(found.end() - first));
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

std::size_t FunctionStore::count() const {
  const std::shared_lock lock(mutex_);
  return by_id_.size();
}

Result<std::string> FunctionStore::put_folder_function(const FunctionOwner& owner, FunctionSource source,
                                                       std::string file) {
  FUSED_CHECK(check_function_name(source.name));
  if (source.code.size() > kBodyBytesMax)
    return fail(ErrorKind::too_large, file + " has " + std::to_string(source.code.size()) + " bytes, allowed are " +
                                          std::to_string(kBodyBytesMax));
  if (!is_utf8(source.code)) return fail(ErrorKind::unprocessable, file + " is not UTF-8 text");
  const SharedSaved before = by_email(owner.email, kCollection, source.name);
  const bool replaces = before && before->is_from_folder();
  if (replaces && before->file != file)
    return fail(ErrorKind::conflict,
                file + ": the name '" + source.name + "' is served from " + before->file + " already");
  auto function = std::make_shared<SavedFunction>();
  const std::int64_t now = std::chrono::floor<std::chrono::seconds>(clock_.now().time_since_epoch()).count();
  function->id = replaces ? before->id : id_of_file(owner, file, source.name);
  function->slug = source.name;
  function->owner = owner;
  function->revision = new_uuid();
  function->created_at = replaces ? before->created_at : now;
  function->updated_at = now;
  function->file = std::move(file);
  source.id = function->id;
  source.revision = function->revision;
  source.collection_name = kCollection;
  source.owner_id = owner.id;
  source.owner_email = owner.email;
  source.owner_username = owner.username;
  source.organisation = owner.organisation;
  source.code_hash = code_hash_of(source);
  function->udf_body = std::make_shared<const std::string>(json_of_function(source));
  function->source = std::make_shared<const FunctionSource>(std::move(source));
  const std::string id = function->id;
  keep(std::move(function));
  return id;
}

void FunctionStore::remove_folder_function(std::string_view owner_id, std::string_view slug) {
  const std::unique_lock lock(mutex_);
  const auto is_it = [&](const SavedFunction& function) {
    return function.is_from_folder() && function.owner.id == owner_id && function.slug == slug;
  };
  std::erase_if(by_slug_, [&](const auto& named) { return is_it(*named.second); });
  std::erase_if(by_id_, [&](const auto& entry) { return is_it(*entry.second); });
}

}  // namespace fused
