#include "http/endpoints/runnable_function.hpp"

#include "auth/permissions.hpp"
#include "base/text.hpp"

namespace fused {

Result<SharedSaved> runnable_function(const FunctionStore& functions, const Actor& actor, const std::string& named) {
  SharedSaved found = functions.by_id(named);
  if (!found) found = functions.by_email(actor.email, FunctionStore::kCollection, named);
  if (!found) found = functions.in_organisation(actor.organisation, FunctionStore::kCollection, named);
  if (!found || !may_see(actor, found->owner.organisation))
    return fail(ErrorKind::not_found, "there is no function '" + printable(named.substr(0, 80)) +
                                          "' that you may run; save it first, or name it by its id "
                                          "(GET /server/v1/udf/self lists yours)");
  return found;
}

}  // namespace fused
