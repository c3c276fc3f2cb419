#include "result/frame.hpp"

#include <arrow/array.h>
#include <arrow/compute/cast.h>

namespace fused::result {

Error from_arrow(const arrow::Status& status, std::string_view doing) {
  const ErrorKind kind = status.IsOutOfMemory() ? ErrorKind::too_large
                         : status.IsInvalid() || status.IsTypeError() || status.IsNotImplemented()
                             ? ErrorKind::unprocessable
                             : ErrorKind::internal;
  return {kind, std::string(doing) + ": " + status.message(), status.ToString()};
}

Result<std::shared_ptr<arrow::Array>> without_dictionary(const std::shared_ptr<arrow::Array>& values) {
  if (values->type_id() != arrow::Type::DICTIONARY) return values;
  const auto& type = static_cast<const arrow::DictionaryType&>(*values->type());
  return FUSED_ARROW_TRY("categories", arrow::compute::Cast(*values, type.value_type()));
}

}  // namespace fused::result
