// Expected failures are values: Result<T> is a T or an Error. Nothing in core/ throws for what input can cause;
// exceptions of libraries are caught in the room that calls the library.
#pragma once
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace fused {

// What went wrong, as far as a caller must tell cases apart. `http_status` and `error_type` map each to the wire.
enum class ErrorKind {
  invalid_argument,    // 400: the request cannot be understood
  unauthenticated,     // 401: no token, or a token nobody knows
  forbidden,           // 403: known, but may not
  not_found,           // 404
  method_not_allowed,  // 405
  not_acceptable,      // 406: no requested format can carry the value
  conflict,            // 409: the name is taken, the state does not allow it
  gone,                // 410
  too_large,           // 413
  uri_too_long,        // 414
  unprocessable,       // 422: understood, but the function or a parameter is wrong
  too_many_requests,   // 429: the queue is full
  header_too_large,    // 431
  internal,            // 500: our fault
  unavailable,         // 503: draining, or no worker can be had
  timeout,             // 504
  storage_full,        // 507
};

struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string message;  // for people: the value seen, the values allowed, what to do next
  std::string detail;   // for logs and bug reports; may be empty

  // `message` with a context in front: "cannot save 'tiles': <message>".
  Error within(std::string_view context) const { return {kind, std::string(context) + ": " + message, detail}; }
};

int http_status(ErrorKind kind);              // 400 … 507
std::string_view error_type(ErrorKind kind);  // the "error_type" of the JSON shape, e.g. "not_found"

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(ErrorKind kind, std::string message, std::string detail = {}) {
  return std::unexpected(Error{kind, std::move(message), std::move(detail)});
}
// An Error of kind internal that names the failed call and errno's text.
std::unexpected<Error> fail_errno(std::string_view call, int error_number);

}  // namespace fused

// Value of a Result, or return its Error from the enclosing function. In coroutines use FUSED_CO_TRY.
#define FUSED_TRY(expression)                                                     \
  __extension__({                                                                 \
    auto fused_result_ = (expression);                                            \
    if (!fused_result_) return std::unexpected(std::move(fused_result_).error()); \
    std::move(fused_result_).value();                                             \
  })
#define FUSED_CHECK(expression)                                                                                      \
  do {                                                                                                               \
    if (auto fused_status_ = (expression); !fused_status_) return std::unexpected(std::move(fused_status_).error()); \
  } while (0)
