#include "http/endpoints/query_number.hpp"

#include <charconv>

#include "base/text.hpp"

namespace fused {

Result<std::int64_t> whole_from_zero(const Request& request, std::string_view name, std::int64_t fallback) {
  const std::string* text = request.query.find(name);
  if (!text) return fallback;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size() || value < 0)
    return fail(ErrorKind::invalid_argument,
                std::string(name) + "='" + printable(text->substr(0, 40)) + "' is not a whole number from 0 up");
  return value;
}

}  // namespace fused
