#include "base/result.hpp"

#include <array>
#include <cstring>

namespace fused {
namespace {

struct KindRow {
  ErrorKind kind;
  int status;
  std::string_view type;
};

constexpr std::array kKinds{
    KindRow{ErrorKind::invalid_argument, 400, "invalid_argument"},
    KindRow{ErrorKind::unauthenticated, 401, "unauthenticated"},
    KindRow{ErrorKind::forbidden, 403, "forbidden"},
    KindRow{ErrorKind::not_found, 404, "not_found"},
    KindRow{ErrorKind::method_not_allowed, 405, "method_not_allowed"},
    KindRow{ErrorKind::not_acceptable, 406, "not_acceptable"},
    KindRow{ErrorKind::conflict, 409, "conflict"},
    KindRow{ErrorKind::gone, 410, "gone"},
    KindRow{ErrorKind::too_large, 413, "too_large"},
    KindRow{ErrorKind::uri_too_long, 414, "uri_too_long"},
    KindRow{ErrorKind::unprocessable, 422, "unprocessable"},
    KindRow{ErrorKind::too_many_requests, 429, "too_many_requests"},
    KindRow{ErrorKind::header_too_large, 431, "header_too_large"},
    KindRow{ErrorKind::internal, 500, "internal"},
    KindRow{ErrorKind::unavailable, 503, "unavailable"},
    KindRow{ErrorKind::timeout, 504, "timeout"},
    KindRow{ErrorKind::storage_full, 507, "storage_full"},
};

const KindRow& row_of(ErrorKind kind) {
  for (const auto& row : kKinds)
    if (row.kind == kind) return row;
  return kKinds[13];
}

}  // namespace

int http_status(ErrorKind kind) { return row_of(kind).status; }
std::string_view error_type(ErrorKind kind) { return row_of(kind).type; }

std::unexpected<Error> fail_errno(std::string_view call, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT;
  return fail(full ? ErrorKind::storage_full : ErrorKind::internal,
              std::string(call) + ": " + std::strerror(error_number));
}

}  // namespace fused
