#include "result/frame.hpp"

namespace fused::result {

Error from_arrow(const arrow::Status& status, std::string_view doing) {
  const ErrorKind kind = status.IsOutOfMemory()                                               ? ErrorKind::too_large
                         : status.IsInvalid() || status.IsTypeError() || status.IsNotImplemented() ? ErrorKind::unprocessable
                                                                                                   : ErrorKind::internal;
  return {kind, std::string(doing) + ": " + status.message(), status.ToString()};
}

}  // namespace fused::result
